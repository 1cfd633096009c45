"""How much light an object's surfaces return, what shadow it throws, and the polygons it is made of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from smoothseg_streets.scene import Colour, Floats, Light, Part, Point, Shadow

__all__ = ["Lighting", "Triple", "billboard", "disc", "shadows", "vertices"]

Triple: TypeAlias = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Lighting:
    """How much light reaches an object: its surroundings' sky and, 0 to 1, the sun."""

    light: Light
    sunlit: float

    def on(self, albedo: Colour, normal: Triple = (0.0, 0.0, -1.0), gloss: float = 0.0) -> Colour:
        """Return the colour of a surface with this normal; `gloss` mirrors the sky where it faces up."""
        light = self.light
        nx, up, nz = normal
        sx, sy, sz = light.sun
        sun = self.sunlit * max(nx * sx + up * sy + nz * sz, 0.0)
        open_sky = 0.55 + (0.4 if up >= 0 else 0.35) * up
        shine = gloss * (0.35 + 0.65 * max(up, 0.0))
        ambient, direct, low = light.ambient, light.direct, light.low
        return (
            albedo[0] * (ambient[0] * open_sky + direct[0] * sun) + shine * low[0],
            albedo[1] * (ambient[1] * open_sky + direct[1] * sun) + shine * low[1],
            albedo[2] * (ambient[2] * open_sky + direct[2] * sun) + shine * low[2],
        )


def vertices(rows: Sequence[Triple]) -> Floats:
    """Return points (n, 3)."""
    return np.array(rows, dtype=np.float32)


def billboard(
    label: int, x: float, z: float, points: Sequence[Point], colour: Colour, width: float = 0.0
) -> Part:
    """Return a polygon, or with a width a line, of points (across, up) that stands at (x, z) facing the camera."""
    return Part(label, vertices([(x + a, b, z) for a, b in points]), colour, width)


def disc(cx: float, cy: float, rx: float, ry: float, count: int = 10) -> list[Point]:
    """Return the corners of an ellipse."""
    return [
        (cx + rx * math.cos(2 * math.pi * k / count), cy + ry * math.sin(2 * math.pi * k / count))
        for k in range(count)
    ]


def shadows(lamp: Lighting, foot: Floats, height: float, strength: float = 0.75) -> tuple[Shadow, ...]:
    """Return the dark of contact under a footprint (n, 2) and, in the sun, the shadow of its height."""
    found = [Shadow(foot, -strength)]
    across, up, along = lamp.light.sun
    if lamp.sunlit > 0.3 and up > 0.05:
        throw = np.array([-across, -along], dtype=np.float32) * np.float32(min(height / up, 12.0))
        for k in range(len(foot)):
            p, q = foot[k], foot[(k + 1) % len(foot)]
            found.append(Shadow(np.stack([p, q, q + throw, p + throw]), 0.9))
        found.append(Shadow(foot + throw, 0.9))
    return tuple(found)
