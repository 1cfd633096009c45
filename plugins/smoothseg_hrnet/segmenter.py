"""How a weight file becomes a segmenter: the network it holds, its class names, and the batch it sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch

from smoothseg import WeightsError
from smoothseg.weights import Weights, load_state
from smoothseg.weights import load as load_weights
from smoothseg_hrnet.network import HRNet, normalise

__all__ = ["HRNetSegmenter", "load"]

_PACKAGE = "smoothseg_hrnet"
_NETWORK = "hrnet"


@final
class HRNetSegmenter:
    """An HRNetV2 with its weights, in eval mode; see `smoothseg.Segmenter`."""

    def __init__(
        self, network: HRNet, *, classes: tuple[str, ...], digests: Mapping[str, str], precision: torch.dtype
    ) -> None:
        network = network.to(precision).to(memory_format=torch.channels_last)
        self._network = network.eval().requires_grad_(False)
        self._precision = precision
        self._classes = classes
        self._digests = dict(digests)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return self._classes

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, by its name."""
        return self._digests

    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores at a quarter of the resolution; see `smoothseg.Segmenter.segment`."""
        normalised = normalise(images).to(dtype=self._precision, memory_format=torch.channels_last)
        return self._network.scores(normalised)


def load(reference: str, *, width: str, precision: str, device: torch.device | str) -> HRNetSegmenter:
    """Return the segmenter of the weight file `reference`, strictly loaded, on `device`."""
    weights = load_weights(reference, package=_PACKAGE)
    network, classes = _build(weights, width)
    return HRNetSegmenter(
        network.to(device),
        classes=classes,
        digests={weights.path.name: weights.digest},
        precision={"float32": torch.float32, "bfloat16": torch.bfloat16}[precision],
    )


def _build(weights: Weights, width: str) -> tuple[HRNet, tuple[str, ...]]:
    if weights.network != _NETWORK:
        raise WeightsError(f"{weights.path} holds the network '{weights.network}'; expected '{_NETWORK}'")
    if weights.classes is None:
        raise WeightsError(f"{weights.path} does not name its classes")
    network = HRNet(weights.config)
    load_state(network, weights)
    return network, weights.classes
