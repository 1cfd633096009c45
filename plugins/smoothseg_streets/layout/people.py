"""Who walks and rides where."""

from __future__ import annotations

from typing import Final

from smoothseg_streets.colours import scaled
from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.layout.site import Site
from smoothseg_streets.scene import Colour
from smoothseg_streets.shapes.figures import person, rider

__all__ = ["place_people"]

_SKIN: Final[Colour] = (0.45, 0.28, 0.2)
_HAIR: Final[tuple[Colour, ...]] = (
    (0.02, 0.015, 0.01),
    (0.12, 0.07, 0.03),
    (0.35, 0.25, 0.1),
    (0.3, 0.3, 0.3),
)


def place_people(site: Site) -> None:
    """Put people on the pavements, some crossing, and riders on the road."""
    dice, street = site.dice, site.street
    busy = {"urban": 4.0, "mixed": 2.6, "suburb": 1.5, "open": 1.2}[site.character]
    for _ in range(dice.mean(busy)):
        side, z = dice.count(0, 1), dice.log(4.5, 60.0)
        x = site.kerb(side, z, dice.uniform(0.3, max(street.pavements[side] - 0.2, 0.5)))
        if dice.chance(0.12):
            x = float(street.centre(z)) + dice.uniform(-1.0, 1.0) * street.half
        for k in range(dice.pick((1, 2, 3), (0.65, 0.27, 0.08))):
            solid, shadows = person(
                site.lighting(x, z),
                dice.random,
                x=x + k * dice.uniform(0.45, 0.7),
                z=z + dice.uniform(-0.3, 0.3),
                top=_clothes(dice),
                bottom=_clothes(dice),
                skin=scaled(_SKIN, dice.log(0.25, 1.2)),
                hair=dice.pick(_HAIR),
            )
            site.put(solid, shadows)
    for _ in range(dice.mean(0.9)):
        z = dice.log(5.0, 40.0)
        side = dice.count(0, 1)
        sideways = dice.chance(0.4)
        x = (
            float(street.centre(z)) + dice.uniform(-0.8, 0.8) * street.half
            if sideways
            else site.kerb(side, z, -dice.uniform(0.4, 1.6))
        )
        solid, shadows = rider(
            site.lighting(x, z),
            dice.random,
            x=x,
            z=z,
            sideways=sideways,
            top=_clothes(dice),
            bottom=_clothes(dice),
            skin=scaled(_SKIN, dice.log(0.25, 1.2)),
            bike=dice.paint(0.02, 0.4),
        )
        site.put(solid, shadows)


def _clothes(dice: Dice) -> Colour:
    return dice.pick(
        (dice.grey(0.015, 0.1), dice.grey(0.1, 0.5), dice.paint(0.03, 0.5)),
        (0.4, 0.2, 0.4),
    )
