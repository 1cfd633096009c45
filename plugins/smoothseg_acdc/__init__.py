"""ACDC, as the dataset `acdc`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg.data import Paired

__all__ = ["AcdcRecipe"]


@dataclasses.dataclass(frozen=True)
class AcdcRecipe:
    """ACDC street scenes in fog, at night, in rain and snow: Cityscapes' 19 classes, 1920 x 1080.

    Sakaridis, Dai, Van Gool, "ACDC: the adverse conditions dataset with correspondences for semantic driving scene
    understanding", ICCV 2021; registration and terms at acdc.vision.ee.ethz.ch. The annotation of the test split is
    withheld: its images come without labels.
    """

    root: str | None = smoothseg.option(None, "folder that holds rgb_anon/ and gt/")
    split: Literal["train", "val", "test"] = smoothseg.option("val", "train, val or test (without labels)")
    condition: Literal["all", "fog", "night", "rain", "snow"] = smoothseg.option(
        "all", "fog, night, rain, snow, or all four"
    )
    labels: Literal["auto", "ids", "train-ids"] = smoothseg.option(
        "auto", "annotation files: labelIds, labelTrainIds, or the first of them that is there"
    )

    def load(self) -> Paired:
        """Return the dataset; `DataError` says what is missing and where to get it."""
        from smoothseg_acdc import dataset

        return dataset.load(self.root, self.split, condition=self.condition, labels=self.labels)


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer ACDC."""
    register("acdc", AcdcRecipe)
