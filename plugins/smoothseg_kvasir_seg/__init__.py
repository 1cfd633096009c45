"""Kvasir-SEG, as the dataset `kvasir-seg`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["KvasirSegRecipe"]


@dataclasses.dataclass(frozen=True)
class KvasirSegRecipe:
    """Kvasir-SEG colonoscopy images: polyp and background, 1000 images of many sizes.

    Jha et al., "Kvasir-SEG: a segmented polyp dataset", MMM 2020. There is no official split; where a list of image
    names lies beside the folders, `train.txt` for instance, it can be named.
    """

    root: str | None = smoothseg.option(None, "folder that holds images/ and masks/")
    split: Literal["all", "train", "val", "test"] = smoothseg.option(
        "all", "all images, or those that train.txt, val.txt or test.txt in root names"
    )

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_kvasir_seg import dataset

        return dataset.load(self.root, self.split)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer Kvasir-SEG."""
    register("kvasir-seg", KvasirSegRecipe)
