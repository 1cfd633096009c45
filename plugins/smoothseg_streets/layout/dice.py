"""How a layout draws: plain Python numbers, choices and colours from one random generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from smoothseg_streets.scene import Colour, Point

__all__ = ["Dice"]

_T = TypeVar("_T")


class Dice:
    """Draws of the kinds a layout needs, as plain Python numbers."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self._drawn: list[float] = []

    def share(self) -> float:
        """Return a number from 0 to 1; they are drawn in blocks, which is several times faster."""
        if not self._drawn:
            self._drawn = self.random.random(512).tolist()
        return self._drawn.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.share()

    def chance(self, probability: float) -> bool:
        return self.share() < probability

    def count(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self.share() * (high + 1 - low))

    def mean(self, expected: float) -> int:
        return int(self.random.poisson(expected))

    def pick(self, options: Sequence[_T], weights: Sequence[float] | None = None) -> _T:
        if weights is None:
            return options[int(self.share() * len(options))]
        edge = self.share() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            edge -= weight
            if edge < 0:
                return option
        return options[-1]

    def log(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def place(self) -> Point:
        return self.uniform(0.0, 100.0), self.uniform(0.0, 100.0)

    def grey(self, low: float, high: float, tint: float = 0.06) -> Colour:
        level = self.log(low, high)
        warm = self.uniform(-tint, tint)
        return level * (1 + warm), level * (1 + self.uniform(-tint, tint) / 3), level * (1 - warm)

    def paint(self, low: float = 0.03, high: float = 0.6) -> Colour:
        """Return any colour of any saturation."""
        level, hue, grip = self.log(low, high), self.uniform(0.0, 2 * math.pi), self.uniform(0.0, 0.95)
        red, green, blue = (
            level * (1 - grip * (0.5 - 0.5 * math.cos(hue + k * 2 * math.pi / 3))) for k in range(3)
        )
        return red, green, blue
