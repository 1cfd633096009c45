"""HRNetV2 segmentation, on timm's layers, for its authors' checkpoints and for networks trained here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg.weights import Weights
    from smoothseg_hrnet.network import HRNet
    from smoothseg_hrnet.segmenter import HRNetSegmenter

__all__ = ["HRNetRecipe"]


@dataclasses.dataclass(frozen=True)
class HRNetRecipe:
    """HRNetV2: keeps high resolution throughout; published checkpoints or networks trained here."""

    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: by the dataset",
    )
    width: str = smoothseg.option(
        "w18-small",
        "size of a network to train or of a checkpoint without one: w18-small, w48, ... or a .json file",
    )
    classes: str | None = smoothseg.option(
        None,
        "text file of class names, one a line, for a checkpoint of neither Cityscapes nor Pascal-Context",
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")
    fit: Literal["auto", "pad", "none"] = smoothseg.option(
        "auto",
        "sides that are no multiple of 32: pad, reflected at the border until they are; none, as in published code; "
        "auto: pad, but none for published weights by name",
    )

    def load(self, device: torch.device | str) -> HRNetSegmenter:
        """Return the segmenter with its weights on `device`; nothing is loaded partially."""
        from smoothseg_hrnet import segmenter

        return segmenter.load(
            self.weights,
            width=self.width,
            classes=self.classes,
            precision=self.precision,
            device=device,
            fit=self.fit,
        )

    def converted(self) -> Weights:
        """Return the weight file in this network's own keys, with its size and its classes."""
        from smoothseg_hrnet import segmenter

        return segmenter.read(self.weights, width=self.width, classes=self.classes)[1]

    def network(self, classes: Sequence[str] | None) -> HRNet:
        """Return an untrained network of size `width` that scores `classes`."""
        from smoothseg_hrnet import config, network

        if not classes:
            raise smoothseg.ConfigError("an HRNet to train needs the class names of its dataset")
        return network.HRNet(config.named(self.width, len(classes)))


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `hrnet`."""
    register("hrnet", HRNetRecipe)
