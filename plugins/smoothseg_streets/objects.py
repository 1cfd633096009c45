"""What stands and moves in a street: vehicles, people, riders, signs, lamps and boxes as lit polygons in metres."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from smoothseg_streets.labels import BICYCLIST, CAR, PEDESTRIAN, POLE, SIGN, VOID
from smoothseg_streets.scene import Colour, Floats, Light, Part, Shadow, Solid

__all__ = [
    "Lamp",
    "bollard",
    "box",
    "branches",
    "lamp",
    "person",
    "rider",
    "sign_post",
    "traffic_light",
    "vehicle",
]

Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Lamp:
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


def _points(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, dtype=np.float32)


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


# Side profiles as (along, up) fractions of length and height from the rear foot to the front foot, the index of
# the belt points (rear, front) between which the cabin stands, and the cabin's roof points.
_PROFILES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[int, int]]] = {
    "hatch": (
        ((-0.5, 0.17), (-0.5, 0.5), (-0.475, 0.62), (-0.42, 0.97), (-0.3, 1.0), (0.02, 0.98), (0.2, 0.64), (0.43, 0.52), (0.49, 0.4), (0.5, 0.17)),
        (2, 6),
    ),
    "saloon": (
        ((-0.5, 0.18), (-0.5, 0.58), (-0.47, 0.66), (-0.34, 0.68), (-0.22, 0.97), (-0.1, 1.0), (0.06, 0.98), (0.2, 0.67), (0.44, 0.54), (0.49, 0.44), (0.5, 0.18)),
        (3, 7),
    ),
    "estate": (
        ((-0.5, 0.16), (-0.5, 0.52), (-0.485, 0.6), (-0.45, 0.96), (-0.38, 1.0), (0.06, 0.98), (0.22, 0.62), (0.45, 0.52), (0.49, 0.42), (0.5, 0.16)),
        (2, 6),
    ),
    "van": (
        ((-0.5, 0.13), (-0.5, 0.5), (-0.5, 0.55), (-0.49, 0.97), (-0.46, 1.0), (0.24, 1.0), (0.38, 0.58), (0.48, 0.46), (0.5, 0.36), (0.5, 0.13)),
        (2, 6),
    ),
    "bus": (
        ((-0.5, 0.1), (-0.5, 0.35), (-0.5, 0.4), (-0.5, 0.97), (-0.48, 1.0), (0.48, 1.0), (0.5, 0.42), (0.5, 0.35), (0.5, 0.3), (0.5, 0.1)),
        (2, 6),
    ),
}  # fmt: skip

_SIZES: dict[str, tuple[float, float, float]] = {
    "hatch": (3.9, 1.68, 1.48),
    "saloon": (4.5, 1.76, 1.44),
    "estate": (4.6, 1.8, 1.62),
    "van": (5.2, 1.95, 2.2),
    "bus": (10.0, 2.5, 3.3),
}


def vehicle(
    lamp: Lamp,
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

    None where it would reach behind the camera's near plane.
    """
    length, width, height = (size * float(random.uniform(0.94, 1.06)) for size in _SIZES[kind])
    fx, fz = math.sin(heading), math.cos(heading)
    rx, rz = fz, -fx
    if z - abs(fz) * length / 2 - abs(rz) * width / 2 < 0.9:
        return None

    def place(along: float, across: float, up: float) -> tuple[float, float, float]:
        return x + along * fx + across * rx, up, z + along * fz + across * rz

    profile, (rear_belt, front_belt) = _PROFILES[kind]
    outline = [(a * length, b * height) for a, b in profile]
    belt = outline[rear_belt][1]
    taper = 0.02 if kind in ("van", "bus") else 0.17

    def half(up: float) -> float:
        return width / 2 * (1.0 - taper * max(up - belt, 0.0) / max(height - belt, 0.1))

    glass: Colour = (0.02, 0.022, 0.025)
    dark: Colour = (0.025, 0.025, 0.027)
    parts: list[Part] = []
    edges = []
    for k in range(len(outline) - 1):
        (a0, b0), (a1, b1) = outline[k], outline[k + 1]
        run, rise = a1 - a0, b1 - b0
        size = math.hypot(run, rise) or 1.0
        along_normal, up_normal = -rise / size, run / size
        middle = place((a0 + a1) / 2, 0.0, (b0 + b1) / 2)
        normal = (along_normal * fx, up_normal, along_normal * fz)
        towards = normal[0] * -middle[0] + normal[1] * (1.5 - middle[1]) + normal[2] * -middle[2]
        if towards > 0:
            edges.append((math.hypot(middle[0], middle[2]), k, normal))
    for _, k, normal in sorted(edges, key=lambda edge: edge[0], reverse=True):
        (a0, b0), (a1, b1) = outline[k], outline[k + 1]
        w0, w1 = half(b0), half(b1)

        def quad(s0: float, s1: float, inset: float, k: int = k, w0: float = w0, w1: float = w1) -> Floats:
            (a0, b0), (a1, b1) = outline[k], outline[k + 1]
            rows = []
            for s, sign in ((s0, -1), (s0, 1), (s1, 1), (s1, -1)):
                w = (w0 + (w1 - w0) * s) * inset
                rows.append(place(a0 + (a1 - a0) * s, sign * w, b0 + (b1 - b0) * s))
            return _points(rows)

        parts.append(Part(CAR, quad(0.0, 1.0, 1.0), lamp.on(paint, normal, 0.05)))
        cabin = rear_belt <= k < front_belt
        steep = abs(normal[1]) < 0.9
        if cabin and steep and abs(b1 - b0) > 0.12 * height:
            shine = 0.25 if normal[1] > 0.3 else 0.1
            if not (kind == "van" and k == rear_belt and paint[0] > 0.25):
                parts.append(Part(CAR, quad(0.08, 0.92, 0.88), lamp.on(glass, normal, shine)))
        end = k == 0 or k == len(outline) - 2
        if end:
            rear = k == 0
            base = 0.0 if rear else 1.0
            low, top = (0.05, 0.38) if rear else (0.95, 0.4)
            parts.append(Part(CAR, quad(low, top, 0.97), lamp.on(_scaled(paint, 0.55), normal)))
            parts.append(Part(CAR, quad(base, abs(base - 0.1), 0.95), lamp.on(dark, normal)))
            plate = (0.55, 0.5, 0.12) if rear else (0.6, 0.6, 0.6)
            parts.append(Part(CAR, quad(abs(base - 0.4), abs(base - 0.6), 0.28), lamp.on(plate, normal)))
            (a0, b0), (a1, b1) = outline[k], outline[k + 1]
            for sign in (-1.0, 1.0):
                s0, s1 = (0.62, 1.0) if rear else (0.0, 0.35)
                rows = []
                for s, w in ((s0, 0.68), (s0, 0.97), (s1, 0.97), (s1, 0.68)):
                    rows.append(place(a0 + (a1 - a0) * s, sign * w * width / 2, b0 + (b1 - b0) * s))
                if rear:
                    tint: Colour = (1.6, 0.08, 0.05) if braking else (0.3, 0.02, 0.02)
                else:
                    tint = (1.5, 1.5, 1.3) if braking else (0.5, 0.5, 0.5)
                glow = tint if braking else lamp.on(tint, normal)
                parts.append(Part(CAR, _points(rows), glow))
        if kind == "hatch" and k == 1:
            for sign in (-1.0, 1.0):
                rows = [
                    place(a, sign * w * width / 2, b)
                    for a, w, b in ((a0, 0.7, b0), (a0, 0.97, b0), (a1, 0.97, b1), (a1, 0.7, b1))
                ]
                parts.append(Part(CAR, _points(rows), lamp.on((0.3, 0.02, 0.02), normal)))

    for sign in (-1.0, 1.0):
        normal = (sign * rx, 0.0, sign * rz)
        centre = place(0.0, sign * width / 2, 0.7)
        if normal[0] * -centre[0] + normal[2] * -centre[2] <= 0:
            continue
        body = [place(a, sign * half(b), b) for a, b in outline]
        parts.append(Part(CAR, _points(body), lamp.on(paint, normal, 0.04)))
        sill = [
            place(a, sign * width / 2, b * height)
            for a, b in ((-0.5, 0.17), (-0.5, 0.26), (0.5, 0.26), (0.5, 0.17))
        ]
        parts.append(Part(CAR, _points(sill), lamp.on(_scaled(paint, 0.4), normal)))
        cabin_points = outline[rear_belt : front_belt + 1]
        mean_a = sum(a for a, _ in cabin_points) / len(cabin_points)
        mean_b = (belt + height) / 2
        if kind == "van":
            cabin_points = [
                (0.12 * length, 0.58 * height),
                (0.12 * length, 0.94 * height),
                (0.25 * length, 0.94 * height),
                (0.36 * length, 0.6 * height),
            ]
            mean_a, mean_b = 0.2 * length, 0.75 * height
        pane = [
            place(mean_a + (a - mean_a) * 0.88, sign * half(b) * 1.0, mean_b + (b - mean_b) * 0.78)
            for a, b in cabin_points
        ]
        parts.append(Part(CAR, _points(pane), lamp.on(glass, normal, 0.09)))
        posts = {"van": (), "bus": (-0.3, -0.15, 0.0, 0.15, 0.3)}.get(kind, (-0.12,))
        for share in posts:
            a = share * length
            post = [
                place(a, sign * half(belt), belt),
                place(a + 0.04, sign * half(height * 0.96), height * 0.96),
            ]
            parts.append(Part(CAR, _points(post), lamp.on(_scaled(paint, 0.7), normal), 0.09))
        radius = 0.48 if kind == "bus" else 0.31 if kind != "van" else 0.34
        for share in (-0.31, 0.32):
            for size, albedo in (
                (radius * 1.18, (0.012, 0.012, 0.012)),
                (radius, dark),
                (radius * 0.6, (0.22, 0.22, 0.23)),
            ):
                wheel = [
                    place(
                        share * length + size * math.cos(turn * math.pi / 7),
                        sign * width / 2,
                        max(radius + size * math.sin(turn * math.pi / 7), 0.0),
                    )
                    for turn in range(14)
                ]
                parts.append(Part(CAR, _points(wheel), lamp.on(albedo, normal)))
    tyres = []
    facing = -1.0 if fx * -x + fz * -z < 0 else 1.0
    for sign in (-0.8, 0.8):
        a, w = facing * length * 0.44, sign * width / 2
        rows = [
            place(a, w - 0.11, 0.0),
            place(a, w + 0.11, 0.0),
            place(a, w + 0.11, 0.3),
            place(a, w - 0.11, 0.3),
        ]
        tyres.append(Part(CAR, _points(rows), lamp.on(dark)))
    solid = Solid(depth=z, parts=(*tyres, *parts))
    corners = [
        place(a * length, b * width, 0.0) for a, b in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
    ]
    foot = np.array([[px, pz] for px, _, pz in corners], dtype=np.float32)
    return solid, _shadows(lamp, foot, height)


def _shadows(lamp: Lamp, foot: Floats, height: float, strength: float = 0.75) -> tuple[Shadow, ...]:
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


def _billboard(
    label: int, x: float, z: float, points: Sequence[tuple[float, float]], colour: Colour, width: float = 0.0
) -> Part:
    return Part(label, _points([(x + a, b, z) for a, b in points]), colour, width)


def _disc(cx: float, cy: float, rx: float, ry: float, count: int = 10) -> list[tuple[float, float]]:
    return [
        (cx + rx * math.cos(2 * math.pi * k / count), cy + ry * math.sin(2 * math.pi * k / count))
        for k in range(count)
    ]


def person(
    lamp: Lamp,
    random: np.random.Generator,
    *,
    x: float,
    z: float,
    top: Colour,
    bottom: Colour,
    skin: Colour,
    hair: Colour,
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return someone walking or standing at (x, z)."""
    tall = float(random.uniform(0.86, 1.08)) * (0.65 if random.random() < 0.1 else 1.0)
    stride = float(random.uniform(0.0, 0.22)) * tall
    lean = float(random.choice([-1.0, 1.0]))
    broad = float(random.uniform(0.16, 0.215)) * tall
    coat = float(random.uniform(0.62, 0.9)) * tall
    hip, shoulder = 0.88 * tall, 1.45 * tall
    normal = (0.0, 0.2, -0.98)
    lit_top, lit_bottom = lamp.on(top, normal), lamp.on(bottom, normal)
    lit_shoe = lamp.on((0.03, 0.03, 0.03), normal)
    parts = []
    for sign in (-1.0, 1.0):
        foot = sign * (stride + 0.07)
        knee = sign * (0.55 * stride + 0.085) + 0.04 * lean
        leg = [(sign * 0.08 * tall, hip), (knee, 0.48 * tall), (foot, 0.07)]
        shade = lit_bottom if sign > 0 else _scaled(lit_bottom, 0.75)
        parts.append(_billboard(PEDESTRIAN, x, z, leg, shade, 0.15 * tall))
        toe = foot + 0.14 * lean
        parts.append(_billboard(PEDESTRIAN, x, z, [(foot - 0.05 * lean, 0.04), (toe, 0.03)], lit_shoe, 0.08))
    for sign in (-1.0, 1.0):
        swing = -sign * stride * 0.5
        hand = (sign * (broad + 0.02) + swing, 0.82 * tall)
        elbow = (sign * (broad + 0.03) + swing * 0.4, 1.12 * tall)
        arm = [(sign * (broad - 0.03), shoulder - 0.05), elbow, hand]
        parts.append(_billboard(PEDESTRIAN, x, z, arm, _scaled(lit_top, 0.82), 0.1 * tall))
    body = [
        (-0.45 * broad, shoulder + 0.06),
        (0.45 * broad, shoulder + 0.06),
        (broad, shoulder - 0.03),
        (0.92 * broad, coat),
        (-0.92 * broad, coat),
        (-broad, shoulder - 0.03),
    ]
    parts.append(_billboard(PEDESTRIAN, x, z, body, lit_top))
    if random.random() < 0.35:
        side = float(random.choice([-1.0, 1.0])) * broad
        bag = [
            (side - 0.13, 1.0 * tall),
            (side + 0.13, 1.0 * tall),
            (side + 0.14, 0.66 * tall),
            (side - 0.14, 0.66 * tall),
        ]
        shade = float(random.uniform(0.02, 0.4))
        parts.append(_billboard(PEDESTRIAN, x, z, bag, lamp.on((shade, shade * 0.7, shade * 0.5), normal)))
    parts.append(
        _billboard(
            PEDESTRIAN,
            x,
            z,
            [
                (-0.05, shoulder + 0.06),
                (0.05, shoulder + 0.06),
                (0.05, shoulder - 0.02),
                (-0.05, shoulder - 0.02),
            ],
            lamp.on(skin, normal),
        )
    )
    parts.append(
        _billboard(PEDESTRIAN, x, z, _disc(0.0, 1.6 * tall, 0.085 * tall, 0.12 * tall), lamp.on(skin, normal))
    )
    parts.append(
        _billboard(
            PEDESTRIAN,
            x,
            z,
            _disc(-0.02 * lean, 1.645 * tall, 0.095 * tall, 0.09 * tall),
            lamp.on(hair, normal),
        )
    )
    foot_print = np.array(
        [[x - 0.22, z - 0.15], [x + 0.22, z - 0.15], [x + 0.22, z + 0.15], [x - 0.22, z + 0.15]],
        dtype=np.float32,
    )
    return Solid(depth=z, parts=tuple(parts)), _shadows(lamp, foot_print, 1.6 * tall, 0.5)


def rider(
    lamp: Lamp,
    random: np.random.Generator,
    *,
    x: float,
    z: float,
    sideways: bool,
    top: Colour,
    bottom: Colour,
    skin: Colour,
    bike: Colour,
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return someone on a bicycle, seen from the side or end on."""
    normal = (0.0, 0.2, -0.98)
    tall = float(random.uniform(0.94, 1.06))
    lit_top, lit_bottom, lit_skin = (lamp.on(c, normal) for c in (top, bottom, skin))
    rubber, frame = lamp.on((0.02, 0.02, 0.02), normal), lamp.on(bike, normal)
    helmet = lamp.on((0.5, 0.5, 0.5) if random.random() < 0.4 else (0.04, 0.03, 0.02), normal)
    label = BICYCLIST
    parts = []

    def add(points: Sequence[tuple[float, float]], colour: Colour, width: float = 0.0) -> None:
        parts.append(_billboard(label, x, z, points, colour, width))

    if sideways:
        way = float(random.choice([-1.0, 1.0]))

        def turned(*points: tuple[float, float]) -> list[tuple[float, float]]:
            return [(way * a, b) for a, b in points]

        for hub in (-0.52, 0.52):
            ring = _disc(way * hub, 0.34, 0.32, 0.32, 14)
            add([*ring, ring[0], ring[1]], rubber, 0.06)
            for k in (0, 2, 4, 6):
                add([ring[k], ring[(k + 7) % 14]], _scaled(frame, 0.6), 0.012)
        add(turned((-0.52, 0.34), (-0.1, 0.32), (0.4, 0.82), (-0.18, 0.8), (-0.52, 0.34)), frame, 0.05)
        add(turned((-0.1, 0.32), (-0.22, 0.95)), frame, 0.05)
        add(turned((0.52, 0.34), (0.38, 1.0), (0.5, 1.02)), frame, 0.05)
        add(turned((-0.2, 0.98), (0.12, 0.68), (-0.06, 0.26)), _scaled(lit_bottom, 0.7), 0.14)
        add(turned((-0.2, 0.98), (0.16, 0.8), (0.02, 0.36)), lit_bottom, 0.15)
        add(turned((-0.32, 0.92), (-0.1, 0.94), (0.26, 1.42 * tall), (0.02, 1.52 * tall)), lit_top)
        add(turned((0.14, 1.44 * tall), (0.26, 1.12), (0.46, 1.04)), _scaled(lit_top, 0.8), 0.09)
        add(_disc(way * 0.26, 1.62 * tall, 0.1, 0.13), lit_skin)
        add(_disc(way * 0.24, 1.69 * tall, 0.13, 0.09), helmet)
        half = (0.8, 0.2)
    else:
        lean = float(random.uniform(-0.05, 0.05))
        add([(-0.03, 0.68), (0.03, 0.68), (0.03, 0.0), (-0.03, 0.0)], rubber)
        add([(-0.28, 0.98), (0.28, 0.98)], frame, 0.05)
        for sign in (-1.0, 1.0):
            lift = float(random.uniform(0.15, 0.4))
            add([(sign * 0.1, 0.98), (sign * 0.17, 0.62), (sign * 0.12, lift)], lit_bottom, 0.14)
            add(
                [(sign * 0.2 + lean, 1.42 * tall), (sign * 0.3, 1.2), (sign * 0.27, 1.0)],
                _scaled(lit_top, 0.85),
                0.1,
            )
        add([(-0.2 + lean, 1.48 * tall), (0.2 + lean, 1.48 * tall), (0.17, 0.9), (-0.17, 0.9)], lit_top)
        add(_disc(lean, 1.62 * tall, 0.1, 0.13), lit_skin)
        add(_disc(lean, 1.67 * tall, 0.12, 0.1), helmet)
        if random.random() < 0.5:
            add([(-0.05, 0.74), (0.05, 0.74), (0.05, 0.68), (-0.05, 0.68)], (0.7, 0.05, 0.03))
        half = (0.2, 0.8)
    foot = np.array(
        [
            [x - half[0], z - half[1]],
            [x + half[0], z - half[1]],
            [x + half[0], z + half[1]],
            [x - half[0], z + half[1]],
        ],
        dtype=np.float32,
    )
    return Solid(depth=z, parts=tuple(parts)), _shadows(lamp, foot, 1.6, 0.45)


def lamp(
    lit: Lamp, *, x: float, z: float, height: float, reach: float, thick: float, colour: Colour, wooden: bool
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return a lamp post with its arm reaching `reach` metres to the right, or with none a plain mast."""
    shade = lit.on(colour)
    parts = [
        _billboard(POLE, x, z, [(0.0, 0.0), (0.0, height)], shade, thick),
        _billboard(POLE, x, z, [(0.0, 0.0), (0.0, min(1.3, height * 0.3))], _scaled(shade, 0.9), thick * 1.5),
    ]
    if wooden:
        for k in (0.4, 0.9):
            parts.append(_billboard(POLE, x, z, [(-0.8, height - k), (0.8, height - k)], shade, 0.1))
    elif reach:
        parts.append(
            _billboard(
                POLE,
                x,
                z,
                [(0.0, height), (reach * 0.5, height + 0.3), (reach, height + 0.35)],
                shade,
                thick * 0.7,
            )
        )
        head = [
            (reach * 0.9, height + 0.42),
            (reach * 1.35, height + 0.42),
            (reach * 1.35, height + 0.28),
            (reach * 0.9, height + 0.28),
        ]
        parts.append(_billboard(POLE, x, z, head, _scaled(shade, 1.2)))
    else:
        parts.append(
            _billboard(
                POLE,
                x,
                z,
                [(-0.2, height), (0.2, height), (0.14, height + 0.4), (-0.14, height + 0.4)],
                _scaled(shade, 1.3),
            )
        )
    return Solid(depth=z, parts=tuple(parts)), _pole_shadow(lit, x, z, height)


def _pole_shadow(lit: Lamp, x: float, z: float, height: float) -> tuple[Shadow, ...]:
    across, up, along = lit.light.sun
    if lit.sunlit < 0.3 or up < 0.05:
        return ()
    reach = min(height / up, 15.0)
    foot = np.array(
        [
            [x - 0.08, z],
            [x + 0.08, z],
            [x + 0.08 - across * reach, z - along * reach],
            [x - 0.08 - across * reach, z - along * reach],
        ],
        dtype=np.float32,
    )
    return (Shadow(foot, 0.8),)


def bollard(
    lit: Lamp, *, x: float, z: float, height: float, thick: float, colour: Colour, band: Colour
) -> Solid:
    """Return a bollard with a bright band."""
    return Solid(
        depth=z,
        parts=(
            _billboard(POLE, x, z, [(0.0, 0.0), (0.0, height)], lit.on(colour), thick),
            _billboard(POLE, x, z, [(0.0, height * 0.75), (0.0, height * 0.87)], lit.on(band), thick),
        ),
    )


def sign_post(
    lit: Lamp,
    *,
    x: float,
    z: float,
    shape: str,
    size: float,
    lift: float,
    face: Colour,
    rim: Colour,
    ink: Colour,
    post: Colour,
    posts: int,
) -> Solid:
    """Return a sign on its post or posts, or with none hanging from a wall."""
    normal = (0.0, 0.1, -0.99)
    parts = []
    spread = 0.0 if posts < 2 else size * 0.6
    for k in range(posts):
        at = -spread + 2 * spread * k / max(posts - 1, 1)
        parts.append(_billboard(POLE, x, z, [(at, 0.0), (at, lift + size)], lit.on(post), 0.08))
    half = size / 2
    middle = lift + half

    def plate(scale: float) -> list[tuple[float, float]]:
        if shape == "disc":
            return _disc(0.0, middle, half * scale, half * scale, 14)
        if shape == "triangle":
            r = half * scale * 1.15
            return [(0.0, middle + r), (r * 0.95, middle - r * 0.7), (-r * 0.95, middle - r * 0.7)]
        wide, tall = {"square": (1.0, 1.0), "board": (1.7, 1.0), "tall": (0.6, 1.3), "blade": (0.8, 0.55)}[
            shape
        ]
        w, h = half * wide * scale, half * tall * scale
        return [(-w, middle + h), (w, middle + h), (w, middle - h), (-w, middle - h)]

    parts.append(_billboard(SIGN, x, z, plate(1.0), lit.on(rim, normal)))
    parts.append(_billboard(SIGN, x, z, plate(0.82), lit.on(face, normal)))
    mark = half * 0.42
    if shape in ("board", "tall", "square", "blade"):
        for row in (-0.45, 0.0, 0.45):
            line = [
                (-mark, middle + row * half * 0.8),
                (mark * (0.4 + 0.6 * abs(row)), middle + row * half * 0.8),
            ]
            parts.append(_billboard(SIGN, x, z, line, lit.on(ink, normal), half * 0.14))
    else:
        parts.append(
            _billboard(
                SIGN, x, z, [(0.0, middle - mark), (0.0, middle + mark)], lit.on(ink, normal), half * 0.25
            )
        )
    return Solid(depth=z, parts=tuple(parts))


def traffic_light(lit: Lamp, *, x: float, z: float, lift: float, lamp_on: int, post: Colour) -> Solid:
    """Return a traffic light (CamVid counts its head as a sign), `lamp_on` from the top: 0, 1 or 2."""
    parts = [_billboard(POLE, x, z, [(0.0, 0.0), (0.0, lift + 1.0)], lit.on(post), 0.13)]
    case = [(-0.24, lift + 1.05), (0.24, lift + 1.05), (0.24, lift), (-0.24, lift)]
    parts.append(_billboard(SIGN, x, z, case, lit.on((0.02, 0.02, 0.02))))
    glows: tuple[Colour, ...] = ((2.2, 0.12, 0.08), (2.0, 1.0, 0.08), (0.1, 2.0, 0.9))
    for k, glow in enumerate(glows):
        colour = glow if k == lamp_on else _scaled(lit.on(glow), 0.04)
        parts.append(_billboard(SIGN, x, z, _disc(0.0, lift + 0.87 - 0.32 * k, 0.12, 0.12), colour))
    return Solid(depth=z, parts=tuple(parts))


def box(
    lit: Lamp, *, x: float, z: float, width: float, height: float, colour: Colour, lid: Colour
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return a bin, cabinet or crate: it belongs to no class."""
    w, d = width / 2, width / 2
    parts = []
    side = -w if x > 0 else w
    near, far = z - d, z + d
    flank = [(x + side, 0.0, far), (x + side, height, far), (x + side, height, near), (x + side, 0.0, near)]
    parts.append(Part(VOID, _points(flank), lit.on(colour, (1.0 if side > 0 else -1.0, 0.0, 0.0))))
    front = [(x - w, 0.0, near), (x - w, height, near), (x + w, height, near), (x + w, 0.0, near)]
    parts.append(Part(VOID, _points(front), lit.on(colour)))
    top = [(x - w, height, near), (x - w, height, far), (x + w, height, far), (x + w, height, near)]
    parts.append(Part(VOID, _points(top), lit.on(lid, (0.0, 1.0, 0.0))))
    foot = np.array([[x - w, near], [x + w, near], [x + w, far], [x - w, far]], dtype=np.float32)
    return Solid(depth=near, parts=tuple(parts)), _shadows(lit, foot, height, 0.6)


def branches(
    lit: Lamp,
    random: np.random.Generator,
    *,
    label: int,
    x: float,
    z: float,
    height: float,
    thick: float,
    colour: Colour,
    forks: int,
) -> Solid:
    """Return a trunk that forks `forks` times."""
    parts: list[Part] = []
    shade = lit.on(colour)

    def grow(a: float, b: float, angle: float, length: float, width: float, left: int) -> None:
        a1, b1 = a + length * math.sin(angle), b + length * math.cos(angle)
        parts.append(_billboard(label, x, z, [(a, b), (a1, b1)], shade, width))
        if left:
            for sign in (-1.0, 1.0):
                turn = sign * float(random.uniform(0.25, 0.6)) + float(random.uniform(-0.15, 0.15))
                grow(a1, b1, angle + turn, length * float(random.uniform(0.62, 0.82)), width * 0.62, left - 1)

    grow(0.0, 0.0, float(random.uniform(-0.06, 0.06)), height * 0.36, thick, forks)
    return Solid(depth=z, parts=tuple(parts))
