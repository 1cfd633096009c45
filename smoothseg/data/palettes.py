"""Colours for classes without their own, and published palettes that several datasets share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["CITYSCAPES", "Colour", "palette"]

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

# fmt: off
CITYSCAPES: tuple[Colour, ...] = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
    (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)
"""The colours of the Cityscapes authors for `smoothseg.data.class_names.CITYSCAPES`."""
# fmt: on


@functools.cache
def palette(count: int) -> tuple[Colour, ...]:
    """Return `count` RGB colours (0..255), all different, far from each other and from black and white.

    Each colour is the one farthest from all before it, on a lattice of 9 levels per channel, in a distance that
    weights green and blue more than red. A shorter palette is the beginning of a longer one. Black and white
    are reserved for ignored and abstaining pixels. count: 0..727.
    """
    levels = np.linspace(0, 255, 9).round().astype(np.int64)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    if not 0 <= count <= len(lattice) - 2:
        raise ValueError(f"expected 0 to {len(lattice) - 2} colours, got {count}")
    weights = np.array([2, 4, 3])

    def distances(colour: Any) -> Any:
        return ((lattice - colour) ** 2 * weights).sum(axis=1)

    nearest = np.minimum(distances(lattice[0]), distances(lattice[-1]))
    colours: list[Colour] = []
    for _ in range(count):
        r, g, b = (int(level) for level in lattice[nearest.argmax()])
        colours.append((r, g, b))
        nearest = np.minimum(nearest, distances(np.array((r, g, b))))
    return tuple(colours)
