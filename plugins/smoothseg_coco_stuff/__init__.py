"""COCO-Stuff 164k, as the dataset `coco-stuff`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["CocoStuffRecipe"]


@dataclasses.dataclass(frozen=True)
class CocoStuffRecipe:
    """COCO-Stuff 164k: 171 classes (80 things, 91 kinds of stuff), 118287 / 5000 images of many sizes.

    Caesar, Uijlings, Ferrari, "COCO-Stuff: thing and stuff classes in context", CVPR 2018, on the images of COCO 2017
    (Lin et al., ECCV 2014).
    """

    root: str | None = smoothseg.option(None, "folder that holds images/ and annotations/")
    split: Literal["train", "val"] = smoothseg.option("val", "train (train2017/) or val (val2017/)")
    labels: Literal["auto", "ids", "train-ids"] = smoothseg.option(
        "auto",
        "annotation files: the published *.png, *_labelTrainIds.png, or the first of them that is there",
    )

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_coco_stuff import dataset

        return dataset.load(self.root, self.split, labels=self.labels)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer COCO-Stuff."""
    register("coco-stuff", CocoStuffRecipe)
