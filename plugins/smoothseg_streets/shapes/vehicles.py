"""What a vehicle looks like: a side profile drawn out to its width, with glass, wheels and lights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from smoothseg_streets.colours import scaled
from smoothseg_streets.labels import CAR
from smoothseg_streets.scene import Colour, Part, Point, Shadow, Solid
from smoothseg_streets.shapes.lighting import Lighting, Triple, shadows, vertices

__all__ = ["vehicle"]

_GLASS: Final[Colour] = (0.02, 0.022, 0.025)
_DARK: Final[Colour] = (0.025, 0.025, 0.027)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A kind of vehicle.

    size: length, width and height in metres.
    profile: (along, up) in fractions of length and height, from the rear foot over the roof to the front foot.
    belt: indices of the profile's rear and front point between which the cabin stands.
    taper: share of the width that the roof lacks; posts: places of pillars in the side glass; wheel: radius.
    """

    size: Triple
    profile: tuple[Point, ...]
    belt: tuple[int, int] = (2, 6)
    taper: float = 0.17
    posts: tuple[float, ...] = (-0.12,)
    wheel: float = 0.31


# fmt: off
_MODELS: Final = {
    "hatch": _Model(
        (3.9, 1.68, 1.48),
        ((-0.5, 0.17), (-0.5, 0.5), (-0.475, 0.62), (-0.42, 0.97), (-0.3, 1.0), (0.02, 0.98), (0.2, 0.64),
         (0.43, 0.52), (0.49, 0.4), (0.5, 0.17)),
    ),
    "saloon": _Model(
        (4.5, 1.76, 1.44),
        ((-0.5, 0.18), (-0.5, 0.58), (-0.47, 0.66), (-0.34, 0.68), (-0.22, 0.97), (-0.1, 1.0), (0.06, 0.98),
         (0.2, 0.67), (0.44, 0.54), (0.49, 0.44), (0.5, 0.18)),
        belt=(3, 7),
    ),
    "estate": _Model(
        (4.6, 1.8, 1.62),
        ((-0.5, 0.16), (-0.5, 0.52), (-0.485, 0.6), (-0.45, 0.96), (-0.38, 1.0), (0.06, 0.98), (0.22, 0.62),
         (0.45, 0.52), (0.49, 0.42), (0.5, 0.16)),
    ),
    "van": _Model(
        (5.2, 1.95, 2.2),
        ((-0.5, 0.13), (-0.5, 0.5), (-0.5, 0.55), (-0.49, 0.97), (-0.46, 1.0), (0.24, 1.0), (0.38, 0.58),
         (0.48, 0.46), (0.5, 0.36), (0.5, 0.13)),
        taper=0.02, posts=(), wheel=0.34,
    ),
    "bus": _Model(
        (10.0, 2.5, 3.3),
        ((-0.5, 0.1), (-0.5, 0.35), (-0.5, 0.4), (-0.5, 0.97), (-0.48, 1.0), (0.48, 1.0), (0.5, 0.42),
         (0.5, 0.35), (0.5, 0.3), (0.5, 0.1)),
        taper=0.02, posts=(-0.3, -0.15, 0.0, 0.15, 0.3), wheel=0.48,
    ),
}
# fmt: on


def vehicle(
    light: Lighting,
    random: np.random.Generator,
    *,
    kind: str,
    x: float,
    z: float,
    heading: float,
    paint: Colour,
    braking: bool,
) -> tuple[Solid, tuple[Shadow, ...]] | None:
    """Return a vehicle whose middle stands at (x, z), `heading` radians right of straight ahead.

    kind: hatch, saloon, estate, van or bus. None where it would reach behind the camera's near plane.
    """
    model = _MODELS[kind]
    length, width, height = (size * float(random.uniform(0.94, 1.06)) for size in model.size)
    body = _Body(kind, model, length, width, height, x, z, math.sin(heading), math.cos(heading), light, paint)
    if z - abs(body.fz) * length / 2 - abs(body.fx) * width / 2 < 0.9:
        return None
    parts = (*body.tyres(), *body.strips(braking=braking), *body.sides())
    corners = [
        body.place(a * length, b * width, 0.0)
        for a, b in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
    ]
    foot = np.array([[px, pz] for px, _, pz in corners], dtype=np.float32)
    return Solid(depth=z, parts=parts), shadows(light, foot, height)


@dataclasses.dataclass(frozen=True)
class _Body:
    """One vehicle, standing at (x, z) and heading along (fx, fz)."""

    kind: str
    model: _Model
    length: float
    width: float
    height: float
    x: float
    z: float
    fx: float
    fz: float
    light: Lighting
    paint: Colour

    @property
    def outline(self) -> list[Point]:
        """The side profile in metres."""
        return [(a * self.length, b * self.height) for a, b in self.model.profile]

    @property
    def belt(self) -> float:
        """Height of the cabin's foot."""
        return self.model.profile[self.model.belt[0]][1] * self.height

    def half(self, up: float) -> float:
        """Return half the width at a height: cabins grow narrower towards the roof."""
        share = max(up - self.belt, 0.0) / max(self.height - self.belt, 0.1)
        return self.width / 2 * (1.0 - self.model.taper * share)

    def place(self, along: float, across: float, up: float) -> Triple:
        """Return the point so far ahead of, right of and above the vehicle's middle on the ground."""
        return self.x + along * self.fx + across * self.fz, up, self.z + along * self.fz - across * self.fx

    def part(self, corners: Sequence[Triple], albedo: Colour, normal: Triple, gloss: float = 0.0) -> Part:
        """Return a lit polygon."""
        return Part(CAR, vertices(corners), self.light.on(albedo, normal, gloss))

    def tyres(self) -> Iterator[Part]:
        """Yield the two tyres that show below the end nearest the camera."""
        facing = -1.0 if self.fx * -self.x + self.fz * -self.z < 0 else 1.0
        a = facing * self.length * 0.44
        for sign in (-0.8, 0.8):
            w = sign * self.width / 2
            corners = [(w - 0.11, 0.0), (w + 0.11, 0.0), (w + 0.11, 0.3), (w - 0.11, 0.3)]
            yield self.part([self.place(a, across, up) for across, up in corners], _DARK, (0.0, 0.0, -1.0))

    def strips(self, *, braking: bool) -> Iterator[Part]:
        """Yield what the profile's edges sweep: ends, bonnet, windscreens and roof, the farthest first."""
        outline = self.outline
        seen = []
        for k in range(len(outline) - 1):
            (a0, b0), (a1, b1) = outline[k], outline[k + 1]
            run, rise = a1 - a0, b1 - b0
            size = math.hypot(run, rise) or 1.0
            x, y, z = self.place((a0 + a1) / 2, 0.0, (b0 + b1) / 2)
            normal = (-rise / size * self.fx, run / size, -rise / size * self.fz)
            if normal[0] * -x + normal[1] * (1.5 - y) + normal[2] * -z > 0:
                seen.append((math.hypot(x, z), k, normal))
        for _, k, normal in sorted(seen, key=lambda edge: edge[0], reverse=True):
            yield from self._strip(k, normal, braking=braking)

    def _strip(self, k: int, normal: Triple, *, braking: bool) -> Iterator[Part]:
        outline = self.outline
        (_, b0), (_, b1) = outline[k], outline[k + 1]
        yield self.part(self._quad(k, 0.0, 1.0, 1.0), self.paint, normal, 0.05)
        rear, front = self.model.belt
        glazed = rear <= k < front and abs(normal[1]) < 0.9 and abs(b1 - b0) > 0.12 * self.height
        panelled = self.kind == "van" and k == rear and self.paint[0] > 0.25
        if glazed and not panelled:
            yield self.part(self._quad(k, 0.08, 0.92, 0.88), _GLASS, normal, 0.25 if normal[1] > 0.3 else 0.1)
        if k in (0, len(outline) - 2):
            yield from self._end(k, normal, braking=braking)
        if self.kind == "hatch" and k == 1:
            for sign in (-1.0, 1.0):
                yield self.part(self._patch(k, 0.0, 1.0, 0.7, 0.97, sign), (0.3, 0.02, 0.02), normal)

    def _end(self, k: int, normal: Triple, *, braking: bool) -> Iterator[Part]:
        """Yield bumper, plate and lights of the rear (the first edge) or the front (the last)."""
        rear = k == 0
        foot = 0.0 if rear else 1.0
        low, top = (0.05, 0.38) if rear else (0.95, 0.4)
        yield self.part(self._quad(k, low, top, 0.97), scaled(self.paint, 0.55), normal)
        yield self.part(self._quad(k, foot, abs(foot - 0.1), 0.95), _DARK, normal)
        plate = (0.55, 0.5, 0.12) if rear else (0.6, 0.6, 0.6)
        yield self.part(self._quad(k, abs(foot - 0.4), abs(foot - 0.6), 0.28), plate, normal)
        s0, s1 = (0.62, 1.0) if rear else (0.0, 0.35)
        for sign in (-1.0, 1.0):
            corners = self._patch(k, s0, s1, 0.68, 0.97, sign)
            if braking:
                yield Part(CAR, vertices(corners), (1.6, 0.08, 0.05) if rear else (1.5, 1.5, 1.3))
            else:
                yield self.part(corners, (0.3, 0.02, 0.02) if rear else (0.5, 0.5, 0.5), normal)

    def _quad(self, k: int, s0: float, s1: float, inset: float) -> list[Triple]:
        """Return the corners of the part from s0 to s1 of what edge `k` sweeps, `inset` of its width."""
        (a0, b0), (a1, b1) = self.outline[k], self.outline[k + 1]
        w0, w1 = self.half(b0), self.half(b1)
        return [
            self.place(a0 + (a1 - a0) * s, sign * ((w0 + (w1 - w0) * s) * inset), b0 + (b1 - b0) * s)
            for s, sign in ((s0, -1), (s0, 1), (s1, 1), (s1, -1))
        ]

    def _patch(self, k: int, s0: float, s1: float, inner: float, outer: float, sign: float) -> list[Triple]:
        """Return the corners of a light on edge `k`, between two fractions of half the width on one side."""
        (a0, b0), (a1, b1) = self.outline[k], self.outline[k + 1]
        return [
            self.place(a0 + (a1 - a0) * s, sign * w * self.width / 2, b0 + (b1 - b0) * s)
            for s, w in ((s0, inner), (s0, outer), (s1, outer), (s1, inner))
        ]

    def sides(self) -> Iterator[Part]:
        """Yield the side that faces the camera: panel, sill, glass, pillars and wheels."""
        for sign in (-1.0, 1.0):
            normal = (sign * self.fz, 0.0, sign * -self.fx)
            x, _, z = self.place(0.0, sign * self.width / 2, 0.7)
            if normal[0] * -x + normal[2] * -z > 0:
                yield from self._side(sign, normal)

    def _side(self, sign: float, normal: Triple) -> Iterator[Part]:
        length, height = self.length, self.height
        outer = sign * self.width / 2
        yield self.part(
            [self.place(a, sign * self.half(b), b) for a, b in self.outline], self.paint, normal, 0.04
        )
        sill = ((-0.5, 0.17), (-0.5, 0.26), (0.5, 0.26), (0.5, 0.17))
        yield self.part([self.place(a, outer, b * height) for a, b in sill], scaled(self.paint, 0.4), normal)
        if self.kind == "van":
            shares = ((0.12, 0.58), (0.12, 0.94), (0.25, 0.94), (0.36, 0.6))
            cabin = [(a * length, b * height) for a, b in shares]
            middle_a, middle_b = 0.2 * length, 0.75 * height
        else:
            rear, front = self.model.belt
            cabin = self.outline[rear : front + 1]
            middle_a, middle_b = sum(a for a, _ in cabin) / len(cabin), (self.belt + height) / 2
        pane = [
            self.place(
                middle_a + (a - middle_a) * 0.88, sign * self.half(b), middle_b + (b - middle_b) * 0.78
            )
            for a, b in cabin
        ]
        yield self.part(pane, _GLASS, normal, 0.09)
        for share in self.model.posts:
            a = share * length
            post = [
                self.place(a, sign * self.half(self.belt), self.belt),
                self.place(a + 0.04, sign * self.half(height * 0.96), height * 0.96),
            ]
            yield Part(CAR, vertices(post), self.light.on(scaled(self.paint, 0.7), normal), 0.09)
        radius = self.model.wheel
        for share in (-0.31, 0.32):
            for size, albedo in (
                (radius * 1.18, (0.012, 0.012, 0.012)),
                (radius, _DARK),
                (radius * 0.6, (0.22, 0.22, 0.23)),
            ):
                turns = [turn * math.pi / 7 for turn in range(14)]
                wheel = [
                    self.place(
                        share * length + size * math.cos(t), outer, max(radius + size * math.sin(t), 0.0)
                    )
                    for t in turns
                ]
                yield self.part(wheel, albedo, normal)
