"""Cityscapes, as the dataset `cityscapes`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["CityscapesRecipe"]


@dataclasses.dataclass(frozen=True)
class CityscapesRecipe:
    """Cityscapes street scenes: 19 classes, 2975 / 500 / 1525 images of 2048 x 1024.

    Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016; registration and terms at
    cityscapes-dataset.com. The annotation of the test split is withheld: its images come without labels. `subset=paper`
    is every 5th image of val, 100 images (Fischer et al., ICML 2021; Laousy et al., UAI 2023).
    """

    root: str | None = smoothseg.option(None, "folder that holds leftImg8bit/ and gtFine/")
    split: Literal["train", "val", "test"] = smoothseg.option("val", "train, val or test (without labels)")
    subset: Literal["all", "paper"] = smoothseg.option(
        "all", "all images, or the 100 of val that the papers certify"
    )
    labels: Literal["auto", "ids", "train-ids"] = smoothseg.option(
        "auto", "annotation files: labelIds, labelTrainIds, or the first of them that is there"
    )

    def __post_init__(self) -> None:
        if self.subset == "paper" and self.split != "val":
            raise ValueError(f"subset=paper is a part of split=val, got split={self.split}")

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_cityscapes import dataset

        return dataset.load(self.root, self.split, subset=self.subset, labels=self.labels)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer Cityscapes."""
    register("cityscapes", CityscapesRecipe)
