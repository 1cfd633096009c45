"""What lies along both sides of the street and at its end: houses, gardens, parks, yards and side streets."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from smoothseg_streets.labels import BUILDING, FENCE, PAVEMENT, ROAD, TREE
from smoothseg_streets.layout.buildings import draw_facade, draw_wall_colour
from smoothseg_streets.layout.planting import draw_leaf, plant_tree
from smoothseg_streets.layout.site import FAR, Site
from smoothseg_streets.layout.traffic import place_vehicle
from smoothseg_streets.scene import Fence, Skyline, Wall

__all__ = ["close_view", "lay_out_side"]


def lay_out_side(site: Site, side: int) -> None:
    """Fill one side of the street, from behind the camera into the distance."""
    dice = site.dice
    odds = {
        "urban": (0.84, 0.07, 0.05, 0.04),
        "mixed": (0.62, 0.1, 0.16, 0.12),
        "suburb": (0.6, 0.1, 0.22, 0.08),
        "open": (0.16, 0.07, 0.5, 0.27),
    }[site.character]
    if site.character in ("urban", "mixed") and dice.chance(0.18):
        odds = (0.1, 0.06, 0.54, 0.3)
    site.wall = draw_wall_colour(dice)
    tree_line = dice.chance(0.3)
    z = -dice.uniform(2.0, 8.0)
    previous = "none"
    while z < FAR:
        kind = dice.pick(("house", "side", "green", "yard"), odds)
        if kind == "side" and (previous == "side" or z < 4.0):
            kind = "house"
        if kind == "house":
            long = dice.uniform(5.0, 16.0) if site.character != "mixed" else dice.uniform(8.0, 34.0)
            _house(site, side, z, z + long)
        elif kind == "side":
            long = dice.uniform(6.0, 13.0)
            _side_street(site, side, z, z + long)
        elif kind == "green":
            long = dice.uniform(8.0, 32.0)
            _green(site, side, z, z + long)
        else:
            long = dice.uniform(8.0, 24.0)
            _yard(site, side, z, z + long)
        z += long + (dice.uniform(1.0, 4.0) if site.character == "suburb" and kind == "house" else 0.0)
        previous = kind
    if tree_line:
        at = dice.uniform(4.0, 14.0)
        step = dice.uniform(8.0, 18.0)
        while at < 90.0:
            if dice.chance(0.8):
                plant_tree(site, site.kerb(side, at, dice.uniform(0.5, 1.2)), at, dice.uniform(4.5, 9.0))
            at += step * dice.uniform(0.8, 1.2)


def close_view(site: Site) -> None:
    """Close the view: a house across the street's end, or blocks and treetops far away."""
    dice = site.dice
    if dice.chance(0.3):
        z = dice.uniform(45.0, 120.0)
        middle = float(site.street.centre(z))
        x = middle - 60.0
        while x < middle + 60.0:
            wide = dice.uniform(8.0, 22.0)
            if dice.chance(0.82):
                facade = draw_facade(site, dice.log(5.0, 16.0), wide)
                site.things.append(
                    Wall(depth=z, start=(x, z), end=(x + wide, z + dice.uniform(-0.5, 0.5)), facade=facade)
                )
            else:
                plant_tree(site, x + wide / 2, z, dice.uniform(6.0, 12.0))
            x += wide
    kinds = [(BUILDING, dice.uniform(140.0, 190.0)), (TREE, dice.uniform(150.0, 260.0))]
    for label, depth in kinds:
        if not dice.chance(0.85 if label == TREE else 0.7):
            continue
        tall = dice.uniform(5.0, 13.0)
        heights = tall * dice.random.uniform(0.35, 1.0, size=37)
        if label == TREE:
            heights = np.full(37, tall * 0.7)
        site.things.append(
            Skyline(
                depth=depth,
                label=label,
                heights=heights.astype(np.float32),
                cell=dice.uniform(9.0, 22.0),
                rough=tall * 0.22 if label == TREE else 0.0,
                colour=draw_leaf(dice) if label == TREE else draw_wall_colour(dice),
                at=dice.place(),
            )
        )


def _house(site: Site, side: int, z0: float, z1: float) -> None:
    """Build a house with its flank, and what lies before it."""
    dice = site.dice
    if site.character == "suburb":
        setback, height = dice.uniform(2.5, 8.0), dice.uniform(4.6, 7.5)
    elif site.character == "urban":
        setback, height = (
            (dice.uniform(0.0, 0.6) if dice.chance(0.85) else dice.uniform(1.0, 4.0)),
            dice.log(6.0, 22.0),
        )
    else:
        setback, height = dice.uniform(0.0, 9.0), dice.log(4.0, 16.0)
    facade = draw_facade(site, height, z1 - z0)
    start, end = site.edge(side, z0, setback), site.edge(side, z1, setback)
    site.things.append(Wall(depth=z1, start=start, end=end, facade=facade))
    if setback < 5.0:
        site.fill(site.street.roofs, side, z0, z1, height + 0.7 * facade.rise)
    deep = dice.uniform(7.0, 14.0) * (1 if side else -1)
    if z0 > 1.0:
        flank = dataclasses.replace(
            facade,
            shop=False,
            gable=facade.rise > 1.0 and not facade.gable,
            bay=0.0 if dice.chance(0.6) else facade.bay * 1.6,
            ledge=0.0,
            chimney=0.0,
        )
        site.things.append(Wall(depth=z0, start=start, end=(start[0] + deep, z0), facade=flank))
    if setback > 1.5:
        planted = dice.chance(0.6)
        site.fill(site.street.beyond, side, z0, z1, TREE if planted else PAVEMENT)
        if dice.chance(0.75):
            _fence(site, side, z0, z1, dice.uniform(0.0, 0.3))
        for _ in range(dice.mean(0.5)):
            at = dice.uniform(z0, z1)
            if at > 3.0:
                plant_tree(
                    site, site.edge(side, at, setback * dice.uniform(0.2, 0.8))[0], at, dice.uniform(2.0, 5.5)
                )


def _side_street(site: Site, side: int, z0: float, z1: float) -> None:
    """Leave the side open for a street."""
    path = site.dice.uniform(0.8, 2.0)
    site.fill(site.street.beyond, side, z0, z1, PAVEMENT)
    site.fill(site.street.open, side, z0 + path, z1 - path, 1)
    site.side_streets.append((side, z0, z1))


def _green(site: Site, side: int, z0: float, z1: float) -> None:
    """Lay out grass with trees, perhaps fenced, perhaps with a house behind."""
    dice = site.dice
    site.fill(site.street.beyond, side, z0, z1, TREE)
    if dice.chance(0.6):
        _fence(site, side, z0, z1, dice.uniform(0.0, 1.0))
    crowded = dice.uniform(0.04, 0.16)
    for _ in range(min(1 + dice.mean(crowded * (z1 - z0)), 5)):
        at = dice.uniform(z0, z1)
        if at > 4.0:
            plant_tree(site, site.edge(side, at, dice.uniform(1.0, 14.0))[0], at, dice.uniform(4.0, 13.0))
    if dice.chance(0.5):
        _backdrop(site, side, z0, z1, dice.uniform(15.0, 35.0))


def _yard(site: Site, side: int, z0: float, z1: float) -> None:
    """Lay out a fenced yard, perhaps with a house behind and parked cars."""
    dice = site.dice
    site.fill(site.street.beyond, side, z0, z1, dice.pick((PAVEMENT, ROAD, TREE), (0.4, 0.3, 0.3)))
    _fence(site, side, z0, z1, dice.uniform(0.0, 0.6))
    if dice.chance(0.7):
        _backdrop(site, side, z0, z1, dice.uniform(8.0, 25.0))
    for _ in range(dice.mean(0.8)):
        at = dice.uniform(max(z0, 5.0), max(z1, 6.0))
        place_vehicle(
            site, site.edge(side, at, dice.uniform(3.0, 9.0))[0], at, dice.uniform(-0.3, 0.3) + math.pi / 2
        )


def _backdrop(site: Site, side: int, z0: float, z1: float, setback: float) -> None:
    """Build a house far behind the pavement."""
    dice = site.dice
    z0 = max(z0, 1.0) - dice.uniform(0.0, 4.0)
    facade = dataclasses.replace(draw_facade(site, dice.uniform(4.0, 14.0), z1 - z0), shop=False)
    site.things.append(
        Wall(
            depth=z1 + 8.0,
            start=site.edge(side, z0, setback),
            end=site.edge(side, z1 + 6.0, setback),
            facade=facade,
        )
    )


def _fence(site: Site, side: int, z0: float, z1: float, setback: float) -> None:
    """Put up a fence, wall or hedge."""
    dice = site.dice
    style = dice.pick(("railings", "boards", "mesh", "brick", "hedge"), (0.3, 0.15, 0.1, 0.17, 0.28))
    low, high = {
        "railings": (0.9, 1.9),
        "boards": (1.0, 2.2),
        "mesh": (1.4, 2.6),
        "brick": (0.6, 2.0),
        "hedge": (0.7, 2.3),
    }[style]
    colour = {
        "railings": dice.grey(0.02, 0.25),
        "boards": dice.pick((dice.grey(0.05, 0.5), (0.2, 0.12, 0.06), dice.paint(0.05, 0.5))),
        "mesh": dice.grey(0.03, 0.3),
        "brick": draw_wall_colour(dice),
        "hedge": draw_leaf(dice),
    }[style]
    pitch = {"railings": 0.16, "boards": 0.22, "mesh": 2.5, "brick": 0.4, "hedge": 1.0}[style] * dice.uniform(
        0.8, 1.4
    )
    site.things.append(
        Fence(
            depth=z1 - 0.02,
            start=site.edge(side, z0, setback),
            end=site.edge(side, z1, setback),
            height=dice.uniform(low, high),
            style=style,
            colour=colour,
            pitch=pitch,
            label=TREE if style == "hedge" else FENCE,
            at=dice.place(),
        )
    )
