"""How a weight file becomes a segmenter: the network it holds, its class names, and how images go through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import torch

from smoothseg import ConfigError, WeightsError, networks
from smoothseg.data import class_names
from smoothseg.weights import Weights, digest, load_state, own_classes
from smoothseg.weights import load as load_weights
from smoothseg_hrnet import layouts
from smoothseg_hrnet.config import WIDTHS, channels, named
from smoothseg_hrnet.network import HRNet

__all__ = ["Fit", "HRNetSegmenter", "Precision", "load"]

Fit = Literal["auto", "pad", "none"]

Precision = Literal["float32", "bfloat16"]

_PACKAGE = "smoothseg_hrnet"
_NETWORK = "hrnet"
_CLASSIFIER = "last_layer.3.weight"


@final
class HRNetSegmenter:
    """An HRNetV2 with its weights; see `smoothseg.Segmenter`.

    The network is taken over: put into eval mode, its batch norms folded into the convolutions before them, moved
    to `device` in `precision`.
    """

    def __init__(
        self,
        network: HRNet,
        *,
        classes: tuple[str, ...],
        digests: Mapping[str, str],
        precision: Precision,
        device: torch.device | str,
        fit: Fit = "auto",
    ) -> None:
        self._fit = fit
        self._dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        # every batch norm of this network stands right behind the convolution that feeds it, and nothing else
        networks.fold_batch_norms(network.eval())
        network = network.to(device, self._dtype).to(memory_format=torch.channels_last)
        self._network = network.requires_grad_(False)
        self._classes = classes
        self._digests = dict(digests)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return self._classes

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, and of the files of width and class names that were read, by name."""
        return self._digests

    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 scores at a quarter of the resolution; see `smoothseg.Segmenter.segment`."""
        return networks.in_rows(lambda rows: self._scores(images[rows]), len(images))

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        normalised = networks.normalised(images, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        fitted = normalised.to(self._dtype).contiguous(memory_format=torch.channels_last)
        scores = self._network.scores(fitted) if self._fit == "none" else self._network.aligned(fitted)
        return scores.float()


def load(
    reference: str,
    *,
    width: str,
    classes: str | None,
    precision: Precision,
    device: torch.device | str,
    fit: Fit = "auto",
) -> HRNetSegmenter:
    """Return the segmenter of the weight file `reference`, on `device`; see `read`."""
    network, read_weights, sides = read(reference, width=width, classes=classes)
    assert read_weights.classes is not None
    return HRNetSegmenter(
        network,
        classes=read_weights.classes,
        digests={read_weights.path.name: read_weights.digest, **{side.name: digest(side) for side in sides}},
        precision=precision,
        device=device,
        fit=read_weights.options.get("fit", "pad") if fit == "auto" else fit,
    )


def read(reference: str, *, width: str, classes: str | None) -> tuple[HRNet, Weights, list[Path]]:
    """Return the network of the weight file `reference`, strictly loaded, and the file as `smoothseg` writes one.

    width, classes: size and file of class names for a checkpoint that was not written by smoothseg; one that was
    carries both. The files that these two name, and that were read, come last.

    Raises `WeightsError` if the file is not an HRNet's, or not one of that size, and `ConfigError` if the class
    names are missing or too many.
    """
    weights = load_weights(reference, package=_PACKAGE)
    width = str(weights.options.get("width", width))
    if weights.network is None:
        network, names = _foreign(weights, width, classes)
        # what the network and its classes were made of besides the weights
        sides = [Path(side).expanduser() for side in (None if width in WIDTHS else width, classes) if side]
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
        network = HRNet(weights.config)
    except ConfigError as error:
        raise WeightsError(f"{weights.path}: {error}") from None
    if network.config["num_classes"] != len(names):
        raise WeightsError(
            f"{weights.path} scores {network.config['num_classes']} classes but names {len(names)}"
        )
    load_state(network, weights)
    return network, names


def _foreign(weights: Weights, width: str, classes: str | None) -> tuple[HRNet, tuple[str, ...]]:
    weights = dataclasses.replace(weights, state=layouts.renamed(weights.state, origin=str(weights.path)))
    if _CLASSIFIER not in weights.state:
        raise WeightsError(
            f"{weights.path} holds no HRNetV2 segmenter: there is no {_CLASSIFIER} among {len(weights.state)} keys "
            f"({', '.join(list(weights.state)[:3])}, ...)"
        )
    count = len(weights.state[_CLASSIFIER])
    network = HRNet(named(width, count))
    try:
        load_state(network, weights)
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
        own = HRNet(config).state_dict()
    return {key: tensor.shape for key, tensor in own.items()} == {
        key: tensor.shape for key, tensor in weights.state.items()
    }
