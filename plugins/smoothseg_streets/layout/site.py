"""Where things stand along a street, and what has been put there so far."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy.typing as npt

from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.scene import (
    BIN_LENGTH,
    BINS,
    Colour,
    Light,
    Point,
    Shadow,
    Solid,
    Street,
    Thing,
)
from smoothseg_streets.shapes.lighting import Lighting

__all__ = ["FAR", "WIDEST", "Site"]

FAR: Final = 130.0
"""Metres up to which the sides of a street are laid out."""

WIDEST: Final = 0.5 / 0.7
"""Tangent of half the widest angle of view that a camera may have."""


@dataclasses.dataclass
class Site:
    """A street while it is being laid out.

    character: urban, mixed, suburb or open; winter: whether most trees are bare; left_hand: the side one drives on.
    wall: the colour that houses on the side being laid out tend to share.
    things, shadows, side_streets (side, near, far): what has been put there; `street`'s tables fill with it.

    Sides are 0 (left) and 1 (right); lengths are metres.
    """

    dice: Dice
    character: str
    winter: bool
    left_hand: bool
    light: Light
    street: Street
    wall: Colour = (0.3, 0.2, 0.12)
    things: list[Thing] = dataclasses.field(default_factory=list)
    shadows: list[Shadow] = dataclasses.field(default_factory=list)
    side_streets: list[tuple[int, float, float]] = dataclasses.field(default_factory=list)

    def put(self, solid: Solid, shadows: tuple[Shadow, ...] = ()) -> None:
        """Add an object and its shadows."""
        self.things.append(solid)
        self.shadows.extend(shadows)

    def edge(self, side: int, z: float, setback: float = 0.0) -> Point:
        """Return the point (x, z) so far behind the pavement's outer edge."""
        away = self.street.half + self.street.pavements[side] + setback
        return float(self.street.centre(z)) + (away if side else -away), z

    def kerb(self, side: int, z: float, inward: float) -> float:
        """Return the x that lies `inward` metres from the kerb onto the pavement (negative: onto the road)."""
        away = self.street.half + inward
        return float(self.street.centre(z)) + (away if side else -away)

    def fill(self, table: npt.NDArray[Any], side: int, z0: float, z1: float, value: float) -> None:
        """Set a table of the street between two depths, on side 0 (left) or 1 (right)."""
        table[side, max(int(z0 / BIN_LENGTH), 0) : max(int(z1 / BIN_LENGTH), 0)] = value

    def lighting(self, x: float, z: float) -> Lighting:
        """Return the light at (x, z)."""
        return Lighting(self.light, self.sunlit(x, z))

    def sunlit(self, x: float, z: float) -> float:
        """Return whether the sun reaches (x, z) at knee height over the houses drawn so far."""
        across, up, along = self.light.sun
        if abs(across) < 0.1:
            return 1.0
        side = 1 if across > 0 else 0
        edge = self.edge(side, z)[0]
        steps = max((edge - x) if side else (x - edge), 0.0) / abs(across)
        at = min(max(int((z + along * steps) / BIN_LENGTH), 0), BINS - 1)
        return 1.0 if 0.6 + up * steps > float(self.street.roofs[side, at]) else 0.0

    def in_view(self, x: float, z: float, reach: float) -> bool:
        """Return whether something at (x, z), `reach` metres to either side, can be in a picture at all."""
        return abs(x) - reach < z * WIDEST

    def bearing(self, z: float) -> float:
        """Return the direction of the street at a depth, radians right of straight ahead."""
        ahead = float(self.street.centre(z + 1.0)) - float(self.street.centre(z))
        return math.atan(ahead)

    def beside_opening(self, side: int, z: float) -> bool:
        """Return whether a side street opens at a depth."""
        return any(s == side and z0 - 2.0 < z < z1 + 2.0 for s, z0, z1 in self.side_streets)
