"""What people on foot and on bicycles look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smoothseg_streets.colours import scaled
from smoothseg_streets.labels import BICYCLIST, PEDESTRIAN
from smoothseg_streets.scene import Colour, Part, Point, Shadow, Solid
from smoothseg_streets.shapes.lighting import Lighting, billboard, disc, shadows

__all__ = ["person", "rider"]


def person(
    lamp: Lighting,
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
    parts: list[Part] = []
    for sign in (-1.0, 1.0):
        foot = sign * (stride + 0.07)
        knee = sign * (0.55 * stride + 0.085) + 0.04 * lean
        leg = [(sign * 0.08 * tall, hip), (knee, 0.48 * tall), (foot, 0.07)]
        shade = lit_bottom if sign > 0 else scaled(lit_bottom, 0.75)
        parts.append(billboard(PEDESTRIAN, x, z, leg, shade, 0.15 * tall))
        toe = foot + 0.14 * lean
        parts.append(billboard(PEDESTRIAN, x, z, [(foot - 0.05 * lean, 0.04), (toe, 0.03)], lit_shoe, 0.08))
    for sign in (-1.0, 1.0):
        swing = -sign * stride * 0.5
        hand = (sign * (broad + 0.02) + swing, 0.82 * tall)
        elbow = (sign * (broad + 0.03) + swing * 0.4, 1.12 * tall)
        arm = [(sign * (broad - 0.03), shoulder - 0.05), elbow, hand]
        parts.append(billboard(PEDESTRIAN, x, z, arm, scaled(lit_top, 0.82), 0.1 * tall))
    body = [
        (-0.45 * broad, shoulder + 0.06),
        (0.45 * broad, shoulder + 0.06),
        (broad, shoulder - 0.03),
        (0.92 * broad, coat),
        (-0.92 * broad, coat),
        (-broad, shoulder - 0.03),
    ]
    parts.append(billboard(PEDESTRIAN, x, z, body, lit_top))
    if random.random() < 0.35:
        side = float(random.choice([-1.0, 1.0])) * broad
        bag = [
            (side - 0.13, 1.0 * tall),
            (side + 0.13, 1.0 * tall),
            (side + 0.14, 0.66 * tall),
            (side - 0.14, 0.66 * tall),
        ]
        leather = float(random.uniform(0.02, 0.4))
        parts.append(
            billboard(PEDESTRIAN, x, z, bag, lamp.on((leather, leather * 0.7, leather * 0.5), normal))
        )
    parts.append(
        billboard(
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
        billboard(PEDESTRIAN, x, z, disc(0.0, 1.6 * tall, 0.085 * tall, 0.12 * tall), lamp.on(skin, normal))
    )
    parts.append(
        billboard(
            PEDESTRIAN,
            x,
            z,
            disc(-0.02 * lean, 1.645 * tall, 0.095 * tall, 0.09 * tall),
            lamp.on(hair, normal),
        )
    )
    foot_print = np.array(
        [[x - 0.22, z - 0.15], [x + 0.22, z - 0.15], [x + 0.22, z + 0.15], [x - 0.22, z + 0.15]],
        dtype=np.float32,
    )
    return Solid(depth=z, parts=tuple(parts)), shadows(lamp, foot_print, 1.6 * tall, 0.5)


def rider(
    lamp: Lighting,
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
    lit_top, lit_bottom, lit_skin = lamp.on(top, normal), lamp.on(bottom, normal), lamp.on(skin, normal)
    rubber, frame = lamp.on((0.02, 0.02, 0.02), normal), lamp.on(bike, normal)
    helmet = lamp.on((0.5, 0.5, 0.5) if random.random() < 0.4 else (0.04, 0.03, 0.02), normal)
    label = BICYCLIST
    parts: list[Part] = []

    def add(points: Sequence[Point], colour: Colour, width: float = 0.0) -> None:
        parts.append(billboard(label, x, z, points, colour, width))

    if sideways:
        way = float(random.choice([-1.0, 1.0]))

        def turned(*points: Point) -> list[Point]:
            return [(way * a, b) for a, b in points]

        for hub in (-0.52, 0.52):
            ring = disc(way * hub, 0.34, 0.32, 0.32, 14)
            add([*ring, ring[0], ring[1]], rubber, 0.06)
            for k in (0, 2, 4, 6):
                add([ring[k], ring[(k + 7) % 14]], scaled(frame, 0.6), 0.012)
        add(turned((-0.52, 0.34), (-0.1, 0.32), (0.4, 0.82), (-0.18, 0.8), (-0.52, 0.34)), frame, 0.05)
        add(turned((-0.1, 0.32), (-0.22, 0.95)), frame, 0.05)
        add(turned((0.52, 0.34), (0.38, 1.0), (0.5, 1.02)), frame, 0.05)
        add(turned((-0.2, 0.98), (0.12, 0.68), (-0.06, 0.26)), scaled(lit_bottom, 0.7), 0.14)
        add(turned((-0.2, 0.98), (0.16, 0.8), (0.02, 0.36)), lit_bottom, 0.15)
        add(turned((-0.32, 0.92), (-0.1, 0.94), (0.26, 1.42 * tall), (0.02, 1.52 * tall)), lit_top)
        add(turned((0.14, 1.44 * tall), (0.26, 1.12), (0.46, 1.04)), scaled(lit_top, 0.8), 0.09)
        add(disc(way * 0.26, 1.62 * tall, 0.1, 0.13), lit_skin)
        add(disc(way * 0.24, 1.69 * tall, 0.13, 0.09), helmet)
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
                scaled(lit_top, 0.85),
                0.1,
            )
        add([(-0.2 + lean, 1.48 * tall), (0.2 + lean, 1.48 * tall), (0.17, 0.9), (-0.17, 0.9)], lit_top)
        add(disc(lean, 1.62 * tall, 0.1, 0.13), lit_skin)
        add(disc(lean, 1.67 * tall, 0.12, 0.1), helmet)
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
    return Solid(depth=z, parts=tuple(parts)), shadows(lamp, foot, 1.6, 0.45)
