"""How images go through the network, and scores come back."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from smoothseg import networks
from smoothseg_own_model import CLASSES, MEAN, STD
from smoothseg_own_model.network import STRIDE


class OwnModel:
    """The network in eval mode, one image at a time, on normalised images; see `smoothseg.Segmenter`."""

    def __init__(
        self, network: torch.nn.Module, digests: Mapping[str, str], device: torch.device | str
    ) -> None:
        self._network = network.eval().to(device).requires_grad_(False)
        self._digests = dict(digests)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return CLASSES

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, by its name."""
        return self._digests

    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (B, C, h, w) at the network's stride, for images (B, 3, H, W) of any size."""
        # A row of its own for every image: libraries round differently at another batch size.
        return networks.in_rows(lambda rows: self._scores(images[rows]), len(images))

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        padded = networks.pad(networks.normalised(images, mean=MEAN, std=STD), STRIDE)
        return networks.cropped(self._network(padded), padded.shape[2:], images.shape[2:])
