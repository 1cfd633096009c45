"""ViT-Adapter segmentation (BEiT, UPerNet and Mask2Former), for published checkpoints and networks trained here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg.weights import Weights
    from smoothseg_vit_adapter.network import ViTAdapterNetwork
    from smoothseg_vit_adapter.segmenter import VitAdapterSegmenter

__all__ = ["VitAdapterRecipe"]


@dataclasses.dataclass(frozen=True)
class VitAdapterRecipe:
    """ViT-Adapter on BEiT with UPerNet or Mask2Former; published checkpoints or networks trained here.

    The published pipeline is `resize=published` with the windows of the architecture (`mode=auto`): Pascal-Context
    images are scaled to a short side of 520 and seen in windows of 480, Cityscapes images in windows of 896.
    """

    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: by the dataset",
    )
    architecture: str = smoothseg.option(
        "small",
        "sizes to train, or of a checkpoint without them: small, large-480-upernet, large-480-mask2former, "
        "large-896-mask2former or a .json file",
    )
    classes: str | None = smoothseg.option(
        None,
        "text file of class names, one a line, for a checkpoint of neither Cityscapes nor Pascal-Context",
    )
    mode: Literal["auto", "whole", "slide"] = smoothseg.option(
        "auto", "the whole image at once, or windows, averaged; auto is the architecture's own"
    )
    resize: Literal["none", "published"] = smoothseg.option(
        "none", "scale images as published for the architecture's dataset before the network sees them"
    )
    crop: int | None = smoothseg.option(None, "side of a window in pixels; none is the architecture's own")
    stride: int | None = smoothseg.option(
        None, "pixels from a window to the next; none is the architecture's own"
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")

    def __post_init__(self) -> None:
        for name, value in (("crop", self.crop), ("stride", self.stride)):
            if value is not None and value < 1:
                raise smoothseg.ConfigError(f"{name}={value} must be at least 1 pixel")
            if value is not None and self.mode == "whole":
                raise smoothseg.ConfigError(f"{name}={value} has no use with mode=whole")
        if self.crop is not None and self.stride is not None and self.stride > self.crop:
            raise smoothseg.ConfigError(
                f"windows of crop={self.crop} every stride={self.stride} pixels do not see all of them: stride must "
                "be at most crop"
            )

    def load(self, device: torch.device | str) -> VitAdapterSegmenter:
        """Return the segmenter with its weights on `device`; nothing is loaded partially."""
        from smoothseg_vit_adapter import segmenter

        return segmenter.load(self, device)

    def converted(self) -> Weights:
        """Return the weight file in this network's own keys, with its sizes and its classes."""
        from smoothseg_vit_adapter import segmenter

        return segmenter.read(self)[1]

    def network(self, classes: Sequence[str] | None) -> ViTAdapterNetwork:
        """Return an untrained network of `architecture` that scores `classes`."""
        from smoothseg_vit_adapter import architecture, network

        if not classes:
            raise smoothseg.ConfigError("a ViT-Adapter to train needs the class names of its dataset")
        sizes = architecture.named(self.architecture, len(classes))
        return network.ViTAdapterNetwork(sizes).start_training()


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `vit-adapter`."""
    register("vit-adapter", VitAdapterRecipe)
