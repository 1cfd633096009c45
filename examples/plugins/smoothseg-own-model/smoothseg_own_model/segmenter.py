"""How images go through the network, and scores come back."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from smoothseg import networks
from smoothseg_own_model import CLASSES, MEAN, STD
from smoothseg_own_model.network import STRIDE


class OwnModel(networks.ImageSegmenter):
    """The network in eval mode, one image at a time, on normalised images; see `smoothseg.Segmenter`."""

    def __init__(
        self, network: torch.nn.Module, digests: Mapping[str, str], device: torch.device | str
    ) -> None:
        super().__init__(classes=CLASSES, digests=digests)
        self._network = networks.frozen(network, precision="float32", device=device)

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (1, C, h, w) at the network's stride, for an image (1, 3, H, W) of any size."""
        padded = networks.pad(networks.normalised(image, mean=MEAN, std=STD), STRIDE)
        return networks.cropped(self._network(padded), padded.shape[2:], image.shape[2:])
