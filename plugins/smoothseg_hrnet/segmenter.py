"""How a weight file becomes a segmenter: the network it holds, its class names, and how images go through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, final

import torch

from smoothseg import ConfigError, WeightsError, networks
from smoothseg.data import class_names
from smoothseg.weights import (
    Weights,
    check_class_count,
    digests,
    filled,
    fits,
    own_classes,
    scored_classes,
)
from smoothseg.weights import load as load_weights
from smoothseg_hrnet import layouts
from smoothseg_hrnet.config import WIDTHS, channels, named
from smoothseg_hrnet.network import HRNet

__all__ = ["Fit", "HRNetSegmenter", "load"]

Fit = Literal["auto", "pad", "none"]

_PACKAGE = "smoothseg_hrnet"
_NETWORK = "hrnet"
_CLASSIFIER = "last_layer.3.weight"


@final
class HRNetSegmenter(networks.ImageSegmenter):
    """An HRNetV2 with its weights; see `networks.ImageSegmenter`.

    The network is taken over: put into eval mode, its batch norms folded into the convolutions before them, moved
    to `device` in `precision`.
    """

    def __init__(
        self,
        network: HRNet,
        *,
        classes: tuple[str, ...],
        digests: Mapping[str, str],
        precision: networks.Precision,
        device: torch.device | str,
        fit: Fit = "auto",
    ) -> None:
        super().__init__(classes=classes, digests=digests)
        # every batch norm of this network comes right after the convolution that feeds it, and nothing else
        networks.fold_batch_norms(network.eval())
        self._network = networks.frozen(network, precision=precision, device=device)
        self._dtype = networks.DTYPES[precision]
        self._fit = fit

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return float32 scores at a quarter of the resolution; see `networks.ImageSegmenter.scores`."""
        normalised = networks.normalised(image, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        seen = normalised.to(self._dtype).contiguous(memory_format=torch.channels_last)
        scores = self._network.scores(seen) if self._fit == "none" else self._network.aligned(seen)
        return scores.float()


def load(
    reference: str,
    *,
    width: str,
    classes: str | None,
    precision: networks.Precision,
    device: torch.device | str,
    fit: Fit = "auto",
) -> HRNetSegmenter:
    """Return the segmenter of the weight file `reference`, on `device`; see `read`."""
    network, read_weights, sides = read(reference, width=width, classes=classes)
    assert read_weights.classes is not None
    return HRNetSegmenter(
        network,
        classes=read_weights.classes,
        digests=digests(read_weights, *sides),
        precision=precision,
        device=device,
        fit=read_weights.options.get("fit", "pad") if fit == "auto" else fit,
    )


def read(reference: str, *, width: str, classes: str | None) -> tuple[HRNet, Weights, list[str | None]]:
    """Return the network of the weight file `reference`, strictly loaded, and the file as `smoothseg` writes one.

    width, classes: size and file of class names for a checkpoint that was not written by smoothseg; one that was
    carries both. The paths of the files that these two name, and that were read, come last.

    Raises `WeightsError` if the file is not an HRNet's, or not one of that size, and `ConfigError` if the class
    names are missing or too many.
    """
    weights = load_weights(reference, package=_PACKAGE)
    width = str(weights.options.get("width", width))
    if weights.network is None:
        network, names = _foreign(weights, width, classes)
        # what the network and its classes were made from besides the weights
        sides = [None if width in WIDTHS else width, classes]
    else:
        network, names = _native(weights, classes)
        sides = []
    own = dataclasses.replace(
        weights, state=network.state_dict(), network=_NETWORK, config=network.config, classes=names
    )
    return network, own, sides


def _native(weights: Weights, classes: str | None) -> tuple[HRNet, tuple[str, ...]]:
    names = own_classes(weights, _NETWORK, given=classes)
    try:
        network = filled(lambda: HRNet(weights.config), weights)
    except ConfigError as error:
        raise WeightsError(f"{weights.path}: {error}") from None
    check_class_count(weights, network.config["num_classes"])
    return network, names


def _foreign(weights: Weights, width: str, classes: str | None) -> tuple[HRNet, tuple[str, ...]]:
    weights = dataclasses.replace(weights, state=layouts.renamed(weights.state, origin=str(weights.path)))
    count = scored_classes(weights, _CLASSIFIER, what="HRNetV2 segmenter")
    config = named(width, count)
    try:
        network = filled(lambda: HRNet(config), weights)
    except WeightsError as error:
        fitting = next((other for other in WIDTHS if _fits(named(other, count), weights)), None)
        hint = "" if fitting is None else f"; the file is a {fitting}: give width={fitting}"
        raise WeightsError(f"{error}, as width={width}{hint}") from None
    names = class_names.from_count(count) if classes is None else class_names.from_file(classes, count)
    return network, names


def _fits(config: Mapping[str, Any], weights: Weights) -> bool:
    if len(weights.state.get("last_layer.0.weight", ())) != channels(config):
        return False
    with torch.device("meta"):
        return fits(HRNet(config), weights)
