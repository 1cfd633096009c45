"""Which facades houses have."""

from __future__ import annotations

import numpy as np

from smoothseg_streets.colours import scaled
from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.layout.site import Site
from smoothseg_streets.scene import Colour, Facade

__all__ = ["draw_facade", "draw_wall_colour"]


def draw_wall_colour(dice: Dice) -> Colour:
    """Return the colour of brick, stone, render or concrete."""
    return dice.pick(
        (
            (0.2, 0.09, 0.06),
            (0.3, 0.2, 0.12),
            (0.42, 0.34, 0.22),
            (0.24, 0.23, 0.22),
            (0.6, 0.57, 0.5),
            (0.13, 0.12, 0.115),
            (0.36, 0.36, 0.37),
        )
    )


def draw_facade(site: Site, height: float, length: float) -> Facade:
    """Return the facade of a house so high and long."""
    dice = site.dice
    base = site.wall if dice.chance(0.45) else draw_wall_colour(dice)
    if dice.chance(0.12):
        base = dice.paint(0.08, 0.6)
    colour = scaled(base, dice.log(0.6, 1.5))
    modern = dice.chance(0.22)
    pitched = not modern and height < 13.0 and dice.chance(0.75)
    rise = dice.uniform(1.2, 3.6) if pitched else (dice.uniform(0.3, 1.0) if dice.chance(0.4) else 0.0)
    shop = dice.chance(0.5 if site.character in ("urban", "mixed") else 0.06)
    sky = site.light.low
    mirror = dice.uniform(0.02, 0.28) * (1.6 if modern else 1.0)
    level = 0.008 * (0.06 / 0.008) ** dice.random.random((9, 1))
    shine = mirror * dice.random.random((9, 1)) * np.array(sky)
    glass = (level * dice.random.uniform(0.85, 1.15, (9, 3)) + shine).astype(np.float32)
    if dice.chance(0.5):
        glass[dice.count(0, 8)] = dice.grey(0.2, 0.6)
    contrast = dice.log(0.03, 0.16)
    course = dice.pick((0.0, 0.15, 0.22, 0.45), (0.35, 0.35, 0.15, 0.15))
    roof = dice.pick((dice.grey(0.04, 0.25), (0.22, 0.1, 0.06), colour))
    gable = pitched and dice.chance(0.3) and length < 14.0
    chimney = dice.uniform(0.1, 0.9) if pitched and dice.chance(0.6) else 0.0
    ground_floor = dice.uniform(3.0, 4.2) if shop else dice.uniform(0.2, 3.0)
    floor = dice.uniform(2.6, 3.7)
    blank = dice.chance(0.05)
    if modern:
        bay = 0.0 if blank else dice.uniform(1.2, 6.0)
        window = (dice.uniform(0.75, 0.96), dice.uniform(0.4, 0.72))
    else:
        bay = 0.0 if blank else dice.uniform(1.7, 4.2)
        window = (dice.uniform(0.3, 0.6), dice.uniform(0.42, 0.68))
    return Facade(
        colour=colour,
        contrast=contrast,
        course=course,
        roof=roof,
        eave=height,
        rise=rise,
        gable=gable,
        chimney=chimney,
        ground_floor=ground_floor,
        floor=floor,
        bay=bay,
        window=window,
        glass=glass,
        frame=dice.grey(0.03, 0.7),
        trim=dice.grey(0.15, 0.65, 0.1),
        shop=shop,
        fascia=dice.paint(0.03, 0.5),
        panel=dice.uniform(1.4, 4.0),
        ledge=0.06 if dice.chance(0.3) else 0.0,
        stain=dice.uniform(0.0, 0.4),
        at=dice.place(),
    )
