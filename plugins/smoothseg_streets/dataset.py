"""Which scene stands at which position: the dataset as a pure function of seed, split, index and size."""

from __future__ import annotations

import hashlib

import numpy as np

from smoothseg import Sample
from smoothseg_streets.labels import CLASSES, PALETTE, VOID
from smoothseg_streets.layout import draw_scene
from smoothseg_streets.rendering import render

__all__ = ["Streets"]


class Streets:
    """Street scenes drawn on demand.

    Scene `index` is drawn from a Philox generator keyed by the sha256 of seed, split and index, so that splits,
    seeds and positions never share one, and no sample depends on another having been drawn. The scene is laid
    out in metres; the size only decides how it is rendered.
    """

    def __init__(self, *, split: str, count: int, height: int, width: int, seed: int) -> None:
        self._split = split
        self._count = count
        self._height = height
        self._width = width
        self._seed = seed

    @property
    def classes(self) -> tuple[str, ...]:
        """CamVid's 11 classes in CamVid's order."""
        return CLASSES

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """CamVid's colours."""
        return PALETTE

    @property
    def ignore(self) -> int:
        """The label of what belongs to no class, for instance the bonnet of the camera's own car."""
        return VOID

    @property
    def keys(self) -> tuple[str, ...]:
        """`streets-SPLIT-NNNN`, in order."""
        return tuple(self._key(index) for index in range(self._count))

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """Return scene `index`: image uint8 (height, width, 3) and labels uint8 (height, width)."""
        if not -self._count <= index < self._count:
            raise IndexError(f"expected an index below {self._count}, got {index}")
        index %= self._count
        name = f"{self._seed}/{self._split}/{index}"
        scene = draw_scene(_generator(f"scene/{name}"))
        sensor = _generator(f"sensor/{name}/{self._height}x{self._width}")
        image, labels = render(scene, height=self._height, width=self._width, sensor=sensor)
        return Sample(key=self._key(index), image=image, labels=labels)

    def _key(self, index: int) -> str:
        return f"streets-{self._split}-{index:04d}"


def _generator(name: str) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(f"smoothseg_streets/1/{name}".encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))
