"""How a weight file becomes a segmenter: the network it holds, its class names, and how images go through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

import torch

from smoothseg import ConfigError, WeightsError, networks
from smoothseg.data import class_names
from smoothseg.weights import Weights, check_class_count, digests, filled, own_classes
from smoothseg.weights import load as load_weights
from smoothseg_vit_adapter import checkpoint, pipeline
from smoothseg_vit_adapter.architecture import PRESETS, Architecture, Pipeline, named
from smoothseg_vit_adapter.network import ViTAdapterNetwork

if TYPE_CHECKING:
    from smoothseg_vit_adapter import VitAdapterRecipe

__all__ = ["VitAdapterSegmenter", "load"]

_PACKAGE = "smoothseg_vit_adapter"
_NETWORK = "vit-adapter"


@final
class VitAdapterSegmenter(networks.ImageSegmenter):
    """A ViT-Adapter with its weights; see `networks.ImageSegmenter`.

    The network is taken over: put into eval mode, its batch norms folded into the convolutions before them, moved to
    `device` in the recipe's precision. Of the recipe, only what decides how an image goes through it is read.
    """

    def __init__(
        self,
        network: ViTAdapterNetwork,
        recipe: VitAdapterRecipe,
        *,
        classes: tuple[str, ...],
        digests: Mapping[str, str],
        device: torch.device | str,
    ) -> None:
        super().__init__(classes=classes, digests=digests)
        published = network.architecture.pipeline
        if recipe.resize == "published" and published.short is None:
            raise ConfigError("resize=published: no rule was published for this architecture")
        # those of the spatial prior and of UPerNet; the ones after the sums of the backbone stay
        networks.fold_batch_norms(network.eval())
        self._network = networks.frozen(network, precision=recipe.precision, device=device)
        self._dtype = networks.DTYPES[recipe.precision]
        self._rule = published if recipe.resize == "published" else None
        self._windows = _windows(recipe, published)

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return float32 scores, of windows at full resolution, else at a quarter; see `networks.ImageSegmenter`."""
        if self._rule is not None:
            image = pipeline.fitted(image, self._rule)
        normalised = networks.normalised(image, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        network: Callable[[torch.Tensor], torch.Tensor] = self._network.scores
        if self._windows.mode == "slide":
            return pipeline.slide(
                lambda window: network(window.to(self._dtype)),
                normalised,
                crop=self._windows.crop,
                stride=self._windows.stride,
            )
        return network(normalised.to(self._dtype)).float()


def _windows(recipe: VitAdapterRecipe, published: Pipeline) -> Pipeline:
    """Return the pipeline of the architecture with what the recipe says of windows, or refuse the two together."""
    mode = published.mode if recipe.mode == "auto" else recipe.mode
    if mode == "whole":
        for name, value in (("crop", recipe.crop), ("stride", recipe.stride)):
            if value is not None:
                raise ConfigError(
                    f"{name}={value} has no use: mode={recipe.mode} is the whole image for this architecture; "
                    "say mode=slide for windows"
                )
    return dataclasses.replace(
        published,
        mode=mode,
        crop=published.crop if recipe.crop is None else recipe.crop,
        stride=published.stride if recipe.stride is None else recipe.stride,
    )


def load(recipe: VitAdapterRecipe, device: torch.device | str) -> VitAdapterSegmenter:
    """Return the segmenter of `recipe.weights`, strictly loaded, on `device`; see `read`."""
    network, weights, sides = read(recipe)
    assert weights.classes is not None
    return VitAdapterSegmenter(
        network,
        recipe,
        classes=weights.classes,
        digests=digests(weights, *sides),
        device=device,
    )


def read(recipe: VitAdapterRecipe) -> tuple[ViTAdapterNetwork, Weights, list[str | None]]:
    """Return the network of `recipe.weights`, strictly loaded, and the file as smoothseg writes one.

    The paths of the files of architecture and class names, where any were read, come last.

    Raises `WeightsError` if the file is not a ViT-Adapter's, or not one of the recipe's architecture, and
    `ConfigError` if the class names are missing or too many.
    """
    weights = load_weights(recipe.weights, package=_PACKAGE)
    if weights.network is None:
        architecture = str(weights.options.get("architecture", recipe.architecture))
        network, names = _foreign(weights, architecture, recipe.classes)
        # what the network and its classes were made from besides the weights
        sides = [None if architecture in PRESETS else architecture, recipe.classes]
    else:
        network, names = _native(weights, recipe.classes)
        sides = []
    own = dataclasses.replace(
        weights, state=network.state_dict(), network=_NETWORK, config=network.config, classes=names
    )
    return network, own, sides


def _native(weights: Weights, classes: str | None) -> tuple[ViTAdapterNetwork, tuple[str, ...]]:
    names = own_classes(weights, _NETWORK, given=classes)
    architecture = Architecture.from_config(weights.config, origin=str(weights.path))
    check_class_count(weights, architecture.classes)
    return _filled(architecture, weights), names


def _foreign(
    weights: Weights, architecture: str, classes: str | None
) -> tuple[ViTAdapterNetwork, tuple[str, ...]]:
    origin = str(weights.path)
    count = checkpoint.classes(weights.state, origin=origin)
    sizes = named(architecture, count)
    names = class_names.from_count(count) if classes is None else class_names.from_file(classes, count)
    try:
        state = checkpoint.own(weights.state, sizes, origin=origin)
        network = _filled(sizes, dataclasses.replace(weights, state=state))
    except WeightsError as error:
        raise WeightsError(f"{error}, as architecture={architecture}") from None
    return network, names


def _filled(sizes: Architecture, weights: Weights) -> ViTAdapterNetwork:
    # Half a billion random numbers would take long to draw, only to be overwritten.
    return filled(lambda: ViTAdapterNetwork(sizes), weights, computed=False)
