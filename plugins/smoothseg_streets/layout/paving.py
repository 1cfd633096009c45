"""What the ground is made of, and what is painted on it."""

from __future__ import annotations

from typing import Final

from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.layout.planting import draw_leaf
from smoothseg_streets.layout.site import FAR, Site
from smoothseg_streets.scene import Colour, Ground, Marking
from smoothseg_streets.shapes.fixtures import bollard

__all__ = ["draw_ground"]

_WHITE: Final[Colour] = (0.55, 0.55, 0.53)
_YELLOW: Final[Colour] = (0.5, 0.36, 0.06)


def draw_ground(site: Site) -> Ground:
    """Return the ground of a street; an island in its middle gets a bollard."""
    dice, street = site.dice, site.street
    half = street.half
    markings = _draw_markings(dice, half=half, left_hand=site.left_hand)
    level = dice.log(0.07, 0.34)
    pavement = level * dice.log(0.7, 2.2)
    patches = tuple(
        (
            dice.uniform(-half, half),
            dice.log(2.5, 40.0),
            dice.log(0.15, 1.2),
            dice.log(0.3, 8.0),
            dice.pick((dice.uniform(0.6, 0.85), dice.uniform(1.15, 1.35))),
        )
        for _ in range(dice.mean(3.0))
    )
    island = None
    if half > 4.0 and dice.chance(0.22):
        near = dice.uniform(6.0, 35.0)
        island = (near, near + dice.uniform(3.0, 10.0), dice.uniform(0.5, 1.1))
        lamp = site.lighting(float(street.centre(near)), near)
        x = float(street.centre(near + 0.6))
        site.put(
            bollard(
                lamp,
                x=x,
                z=near + 0.6,
                height=1.1,
                thick=0.25,
                colour=(0.6, 0.6, 0.58),
                band=(0.03, 0.1, 0.4),
            )
        )
    return Ground(
        road=dice.grey(level * 0.95, level * 1.05, 0.1),
        road_contrast=dice.log(0.03, 0.12),
        cracks=dice.uniform(0.1, 0.5) if dice.chance(0.6) else 0.0,
        tracks=dice.uniform(-0.08, 0.08),
        gloss=dice.uniform(0.05, 0.35) if dice.chance(0.25) else 0.0,
        pavement=dice.grey(pavement * 0.95, pavement * 1.05, 0.16),
        pavement_contrast=dice.log(0.03, 0.13),
        slab=dice.uniform(0.4, 1.0),
        joint=dice.uniform(0.1, 0.35) if dice.chance(0.6) else 0.0,
        kerb=dice.pick((0.7, 1.0, 1.3, 1.5)),
        grass=draw_leaf(dice),
        markings=markings,
        patches=patches,
        island=island,
        at=dice.place(),
    )


def _draw_markings(dice: Dice, *, half: float, left_hand: bool) -> tuple[Marking, ...]:
    """Return lane lines, edge lines, and here and there a zebra crossing or a stop line."""
    wear = dice.uniform(0.0, 0.65)
    marks: list[Marking] = []

    def line(at: float, wide: float, dash: float, gap: float, colour: Colour = _WHITE) -> None:
        marks.append(Marking(at - wide / 2, at + wide / 2, 0.0, FAR, dash, gap, colour, wear))

    style = dice.pick(("dashed", "long", "double", "none"), (0.45, 0.2, 0.1, 0.25))
    if style == "dashed":
        line(0.0, 0.13, 2.0, dice.uniform(2.0, 6.0))
    elif style == "long":
        line(0.0, 0.13, 4.0, 2.0)
    elif style == "double":
        line(-0.15, 0.1, 0.0, 1.0)
        line(0.15, 0.1, 0.0, 1.0)
    if half > 4.6 and dice.chance(0.6):
        for sign in (-1.0, 1.0):
            line(sign * half / 2, 0.12, 1.5, 4.0)
    edge = dice.pick(("none", "yellow", "double", "white", "cycle"), (0.35, 0.15, 0.15, 0.2, 0.15))
    for sign in (-1.0, 1.0):
        if edge == "yellow" or edge == "double":
            line(sign * (half - 0.3), 0.09, 0.0, 1.0, _YELLOW)
        if edge == "double":
            line(sign * (half - 0.5), 0.09, 0.0, 1.0, _YELLOW)
        if edge == "white":
            line(sign * (half - 0.4), 0.12, 0.0, 1.0)
        if edge == "cycle":
            line(sign * (half - 1.4), 0.2, 0.0, 1.0)
    if dice.chance(0.3):
        z = dice.uniform(5.0, 30.0)
        marks.append(
            Marking(
                -half,
                half,
                z,
                z + dice.uniform(2.4, 4.0),
                0.0,
                1.0,
                _WHITE,
                wear * 0.7,
                dice.uniform(0.4, 0.7),
            )
        )
    if dice.chance(0.35):
        z = dice.uniform(4.0, 25.0)
        span = (-half, 0.0) if left_hand else (0.0, half)
        marks.append(Marking(*span, z, z + 0.35, 0.0, 1.0, _WHITE, wear))
    return tuple(marks)
