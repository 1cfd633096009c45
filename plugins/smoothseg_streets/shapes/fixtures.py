"""What lamp posts, bollards, signs, traffic lights, boxes and tree trunks look like."""

from __future__ import annotations

import math

import numpy as np

from smoothseg_streets.colours import scaled
from smoothseg_streets.labels import POLE, SIGN, TREE, VOID
from smoothseg_streets.scene import Colour, Part, Point, Shadow, Solid
from smoothseg_streets.shapes.lighting import Lighting, billboard, disc, shadows, vertices

__all__ = ["bollard", "box", "branches", "lamp_post", "sign_post", "traffic_light"]


def lamp_post(
    lit: Lighting,
    *,
    x: float,
    z: float,
    height: float,
    reach: float,
    thick: float,
    colour: Colour,
    wooden: bool,
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return a lamp post with its arm reaching `reach` metres to the right, or with none a plain mast."""
    shade = lit.on(colour)
    parts = [
        billboard(POLE, x, z, [(0.0, 0.0), (0.0, height)], shade, thick),
        billboard(POLE, x, z, [(0.0, 0.0), (0.0, min(1.3, height * 0.3))], scaled(shade, 0.9), thick * 1.5),
    ]
    if wooden:
        parts.extend(
            billboard(POLE, x, z, [(-0.8, height - k), (0.8, height - k)], shade, 0.1) for k in (0.4, 0.9)
        )
    elif reach:
        parts.append(
            billboard(
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
        parts.append(billboard(POLE, x, z, head, scaled(shade, 1.2)))
    else:
        parts.append(
            billboard(
                POLE,
                x,
                z,
                [(-0.2, height), (0.2, height), (0.14, height + 0.4), (-0.14, height + 0.4)],
                scaled(shade, 1.3),
            )
        )
    return Solid(depth=z, parts=tuple(parts)), _pole_shadow(lit, x, z, height)


def bollard(
    lit: Lighting, *, x: float, z: float, height: float, thick: float, colour: Colour, band: Colour
) -> Solid:
    """Return a bollard with a bright band."""
    return Solid(
        depth=z,
        parts=(
            billboard(POLE, x, z, [(0.0, 0.0), (0.0, height)], lit.on(colour), thick),
            billboard(POLE, x, z, [(0.0, height * 0.75), (0.0, height * 0.87)], lit.on(band), thick),
        ),
    )


def sign_post(
    lit: Lighting,
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
    parts: list[Part] = []
    spread = 0.0 if posts < 2 else size * 0.6
    for k in range(posts):
        at = -spread + 2 * spread * k / max(posts - 1, 1)
        parts.append(billboard(POLE, x, z, [(at, 0.0), (at, lift + size)], lit.on(post), 0.08))
    half = size / 2
    middle = lift + half

    def plate(scale: float) -> list[Point]:
        if shape == "disc":
            return disc(0.0, middle, half * scale, half * scale, 14)
        if shape == "triangle":
            r = half * scale * 1.15
            return [(0.0, middle + r), (r * 0.95, middle - r * 0.7), (-r * 0.95, middle - r * 0.7)]
        wide, tall = {"square": (1.0, 1.0), "board": (1.7, 1.0), "tall": (0.6, 1.3), "blade": (0.8, 0.55)}[
            shape
        ]
        w, h = half * wide * scale, half * tall * scale
        return [(-w, middle + h), (w, middle + h), (w, middle - h), (-w, middle - h)]

    parts.append(billboard(SIGN, x, z, plate(1.0), lit.on(rim, normal)))
    parts.append(billboard(SIGN, x, z, plate(0.82), lit.on(face, normal)))
    mark = half * 0.42
    if shape in ("board", "tall", "square", "blade"):
        for row in (-0.45, 0.0, 0.45):
            line = [
                (-mark, middle + row * half * 0.8),
                (mark * (0.4 + 0.6 * abs(row)), middle + row * half * 0.8),
            ]
            parts.append(billboard(SIGN, x, z, line, lit.on(ink, normal), half * 0.14))
    else:
        parts.append(
            billboard(
                SIGN, x, z, [(0.0, middle - mark), (0.0, middle + mark)], lit.on(ink, normal), half * 0.25
            )
        )
    return Solid(depth=z, parts=tuple(parts))


def traffic_light(lit: Lighting, *, x: float, z: float, lift: float, lamp_on: int, post: Colour) -> Solid:
    """Return a traffic light (CamVid counts its head as a sign), `lamp_on` from the top: 0, 1 or 2."""
    parts = [billboard(POLE, x, z, [(0.0, 0.0), (0.0, lift + 1.0)], lit.on(post), 0.13)]
    case = [(-0.24, lift + 1.05), (0.24, lift + 1.05), (0.24, lift), (-0.24, lift)]
    parts.append(billboard(SIGN, x, z, case, lit.on((0.02, 0.02, 0.02))))
    glows: tuple[Colour, ...] = ((2.2, 0.12, 0.08), (2.0, 1.0, 0.08), (0.1, 2.0, 0.9))
    for k, glow in enumerate(glows):
        colour = glow if k == lamp_on else scaled(lit.on(glow), 0.04)
        parts.append(billboard(SIGN, x, z, disc(0.0, lift + 0.87 - 0.32 * k, 0.12, 0.12), colour))
    return Solid(depth=z, parts=tuple(parts))


def box(
    lit: Lighting, *, x: float, z: float, width: float, height: float, colour: Colour, lid: Colour
) -> tuple[Solid, tuple[Shadow, ...]]:
    """Return a bin, cabinet or crate: it belongs to no class."""
    w, d = width / 2, width / 2
    parts: list[Part] = []
    side = -w if x > 0 else w
    near, far = z - d, z + d
    flank = [(x + side, 0.0, far), (x + side, height, far), (x + side, height, near), (x + side, 0.0, near)]
    parts.append(Part(VOID, vertices(flank), lit.on(colour, (1.0 if side > 0 else -1.0, 0.0, 0.0))))
    front = [(x - w, 0.0, near), (x - w, height, near), (x + w, height, near), (x + w, 0.0, near)]
    parts.append(Part(VOID, vertices(front), lit.on(colour)))
    top = [(x - w, height, near), (x - w, height, far), (x + w, height, far), (x + w, height, near)]
    parts.append(Part(VOID, vertices(top), lit.on(lid, (0.0, 1.0, 0.0))))
    foot = np.array([[x - w, near], [x + w, near], [x + w, far], [x - w, far]], dtype=np.float32)
    return Solid(depth=near, parts=tuple(parts)), shadows(lit, foot, height, 0.6)


def branches(
    lit: Lighting,
    random: np.random.Generator,
    *,
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
        parts.append(billboard(TREE, x, z, [(a, b), (a1, b1)], shade, width))
        if left:
            for sign in (-1.0, 1.0):
                turn = sign * float(random.uniform(0.25, 0.6)) + float(random.uniform(-0.15, 0.15))
                grow(a1, b1, angle + turn, length * float(random.uniform(0.62, 0.82)), width * 0.62, left - 1)

    grow(0.0, 0.0, float(random.uniform(-0.06, 0.06)), height * 0.36, thick, forks)
    return Solid(depth=z, parts=tuple(parts))


def _pole_shadow(lit: Lighting, x: float, z: float, height: float) -> tuple[Shadow, ...]:
    """Return the thin shadow of a post, if the sun reaches it."""
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
