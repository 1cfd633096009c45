"""ADE20K, as the dataset `ade20k`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["Ade20kRecipe"]


@dataclasses.dataclass(frozen=True)
class Ade20kRecipe:
    """ADE20K scene parsing: 150 classes, 20210 / 2000 images of many sizes.

    Zhou et al., "Scene parsing through ADE20K dataset", CVPR 2017; the benchmark of 2016 (`ADEChallengeData2016`), not
    the full dataset with its thousands of classes. What is none of the 150 classes is ignored.
    """

    root: str | None = smoothseg.option(None, "folder that holds images/ and annotations/")
    split: Literal["train", "val"] = smoothseg.option("val", "train (training/) or val (validation/)")

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_ade20k import dataset

        return dataset.load(self.root, self.split)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer ADE20K."""
    register("ade20k", Ade20kRecipe)
