"""torchvision's segmentation networks: DeepLabV3, FCN and LR-ASPP, with their published weights or your own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg_torchvision.segmenter import TorchvisionSegmenter

__all__ = ["Model", "TorchvisionRecipe"]

Model = Literal[
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
]
"""torchvision's names of its segmentation networks."""


@dataclasses.dataclass(frozen=True)
class TorchvisionRecipe:
    """DeepLabV3, FCN and LR-ASPP of torchvision; the published weights score the 21 classes of Pascal VOC."""

    model: Model = smoothseg.option("deeplabv3_resnet50", "torchvision's name of the network")
    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: the model's published ones",
    )
    classes: str | None = smoothseg.option(
        None, "text file of class names, one a line, for a checkpoint of other than the 21 VOC classes"
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")

    def load(self, device: torch.device | str) -> TorchvisionSegmenter:
        """Return the segmenter with its weights on `device`; nothing is loaded partially."""
        from smoothseg import weights
        from smoothseg_torchvision import segmenter

        recipe = weights.pinned(self, component="torchvision")
        return segmenter.load(
            recipe.weights,
            model=recipe.model,
            classes=recipe.classes,
            precision=recipe.precision,
            device=device,
        )


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `torchvision`."""
    register("torchvision", TorchvisionRecipe)
