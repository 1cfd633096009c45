"""Pascal-Context, as the dataset `pascal-context`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["PascalContextRecipe"]


@dataclasses.dataclass(frozen=True)
class PascalContextRecipe:
    """Pascal-Context: 59 classes with or without background, 4998 / 5105 images of PASCAL VOC 2010.

    Mottaghi et al., "The role of context for object detection and semantic segmentation in the wild", CVPR 2014.
    Annotations are label maps as mmsegmentation writes them, or the file `trainval_merged.json` of PASCAL in Detail as
    HRNet reads it. `subset=paper` is every 51st image of val, 100 images (Fischer et al., ICML 2021; Laousy et al.,
    UAI 2023).
    """

    root: str | None = smoothseg.option(None, "folder that holds VOCdevkit/VOC2010/, or VOC2010 itself")
    split: Literal["train", "val"] = smoothseg.option("val", "train or val")
    subset: Literal["all", "paper"] = smoothseg.option(
        "all", "all images, or the 100 of val that the papers certify"
    )
    classes: int = smoothseg.option(59, "59: background is ignored; 60: it is the first class")

    def __post_init__(self) -> None:
        if self.classes not in (59, 60):
            raise ValueError(f"classes must be 59 or 60, got {self.classes}")
        if self.subset == "paper" and self.split != "val":
            raise ValueError(f"subset=paper is a part of split=val, got split={self.split}")

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_pascal_context import dataset

        return dataset.load(self.root, self.split, subset=self.subset, classes=self.classes)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer Pascal-Context."""
    register("pascal-context", PascalContextRecipe)
