"""Which samples of an image are still open, what closed them, and what a pixel of them is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg_streets.labels import (
    BICYCLIST,
    BUILDING,
    CAR,
    FENCE,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    VOID,
)
from smoothseg_streets.scene import Floats

__all__ = ["Canvas", "vote"]

# The order that settles ties: thin and rare classes last, which wins.
_ORDER = np.array(
    [SKY, ROAD, BUILDING, PAVEMENT, TREE, VOID, FENCE, CAR, PEDESTRIAN, BICYCLIST, SIGN, POLE], dtype=np.uint8
)
_RANK = np.argsort(_ORDER).astype(np.uint8)


class Canvas:
    """Samples, and which of them are still open."""

    def __init__(self, height: int, width: int) -> None:
        self.width = width
        self.colours = np.zeros((height, width, 3), dtype=np.float32)
        self.labels = np.full((height, width), VOID, dtype=np.uint8)
        self.colour_open = np.ones((height, width), dtype=bool)
        self.label_open = np.ones((height, width), dtype=bool)
        self._over: list[tuple[npt.NDArray[np.intp], Floats, Floats]] = []

    def put(self, at: npt.NDArray[np.intp], colours: Floats, labels: Any) -> None:
        """Close the samples at the flat indices `at`, all of them open, with colours (n, 3) and labels."""
        self.colours.reshape(-1, 3)[at] = colours
        self.colour_open.reshape(-1)[at] = False
        self.label(at, labels)

    def label(self, at: npt.NDArray[np.intp], labels: Any) -> None:
        """Give the samples at `at` their label unless something in front has."""
        unlabelled = self.label_open.reshape(-1)[at]
        chosen = at[unlabelled]
        self.labels.reshape(-1)[chosen] = labels[unlabelled] if isinstance(labels, np.ndarray) else labels
        self.label_open.reshape(-1)[chosen] = False

    def lay_over(self, at: npt.NDArray[np.intp], colours: Floats, cover: Floats) -> None:
        """Remember colours (n, 3) that hide only the share `cover` (n,) of what will lie behind."""
        self._over.append((at, colours, cover[:, None]))

    def close(self) -> None:
        """Lay what can be seen through over what lies behind, the farthest first."""
        flat = self.colours.reshape(-1, 3)
        for at, colours, cover in reversed(self._over):
            flat[at] += (colours - flat[at]) * cover


def vote(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the label most of each pixel's 2 x 2 samples have, the one later in `_ORDER` on a tie."""
    ranks = _RANK[labels]
    a, b, c, d = ranks[0::2, 0::2], ranks[0::2, 1::2], ranks[1::2, 0::2], ranks[1::2, 1::2]
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    lowest, highest = np.minimum(a, c), np.maximum(b, d)
    p, q = np.maximum(a, c), np.minimum(b, d)
    lower, upper = np.minimum(p, q), np.maximum(p, q)
    winner = np.where(
        lower == upper, lower, np.where(upper == highest, highest, np.where(lowest == lower, lowest, highest))
    )
    return _ORDER[winner]
