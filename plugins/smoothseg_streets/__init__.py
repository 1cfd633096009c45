"""A dataset that needs no download: street scenes drawn from a seed, with CamVid's classes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from smoothseg import ConfigError, Register, hookimpl, option

if TYPE_CHECKING:
    from smoothseg_streets.dataset import Streets

__all__ = ["StreetsRecipe"]

_SMALLEST = 16
_LARGEST = 4096


@dataclasses.dataclass(frozen=True)
class StreetsRecipe:
    """Street scenes drawn from a seed, any size and number, with CamVid's 11 classes.

    The same `seed`, `split` and position give the same scene at every size. The two splits never share a scene.
    """

    split: Literal["train", "val"] = option("val", "train or val: scenes of one are never in the other")
    count: int = option(100, "number of scenes")
    height: int = option(192, "height of an image in pixels")
    width: int = option(256, "width of an image in pixels")
    seed: int = option(0, "seed of the scenes, 0 or more")

    def load(self) -> Streets:
        """Return the dataset; a value out of range raises `ConfigError`."""
        if self.split not in ("train", "val"):
            raise ConfigError(f"dataset 'streets': expected split train or val, got {self.split!r}")
        if self.count < 1:
            raise ConfigError(f"dataset 'streets': expected a count of at least 1, got {self.count}")
        for name, value in (("height", self.height), ("width", self.width)):
            if not _SMALLEST <= value <= _LARGEST:
                raise ConfigError(
                    f"dataset 'streets': expected a {name} of {_SMALLEST} to {_LARGEST} pixels, got {value}"
                )
        if self.seed < 0:
            raise ConfigError(f"dataset 'streets': expected a seed of 0 or more, got {self.seed}")
        from smoothseg_streets.dataset import Streets

        return Streets(
            split=self.split, count=self.count, height=self.height, width=self.width, seed=self.seed
        )


@hookimpl
def register_datasets(register: Register) -> None:
    """Offer `streets`."""
    register("streets", StreetsRecipe)
