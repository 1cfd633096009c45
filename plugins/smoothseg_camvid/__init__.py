"""CamVid in the SegNet layout, as the dataset `camvid`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["CamVidRecipe"]


@dataclasses.dataclass(frozen=True)
class CamVidRecipe:
    """CamVid street scenes, SegNet layout: 11 classes, 367 / 101 / 233 images of 480 x 360.

    Brostow, Fauqueur, Cipolla, "Semantic object classes in video", 2009; the layout and the 11 classes are the
    SegNet tutorial's (Kendall, Badrinarayanan, Cipolla; CC BY-NC 4.0).
    """

    root: str | None = smoothseg.option(None, "folder that holds train/, trainannot/, val/, valannot/, ...")
    split: Literal["train", "val", "test"] = smoothseg.option("val", "train, val or test")

    def load(self) -> Paired:
        """Return the split; `DataError` says what is missing and where to get it."""
        from smoothseg_camvid import dataset

        return dataset.load(self.root, self.split)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer CamVid."""
    register("camvid", CamVidRecipe)
