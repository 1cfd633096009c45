"""Which lamp posts, bollards, railings, signs and boxes stand on the pavements."""

from __future__ import annotations

from smoothseg_streets.labels import FENCE
from smoothseg_streets.layout.site import Site
from smoothseg_streets.scene import BIN_LENGTH, Colour, Fence
from smoothseg_streets.shapes.fixtures import bollard, box, lamp_post, sign_post, traffic_light

__all__ = ["place_furniture"]


def place_furniture(site: Site) -> None:
    """Put furniture along both kerbs, signs, traffic lights at a junction, and bins."""
    _kerbside(site)
    for _ in range(site.dice.count(1, 5)):
        _sign(site)
    _junction(site)
    _boxes(site)


def _kerbside(site: Site) -> None:
    """Put rows of lamp posts or masts, bollards and railings on either side."""
    dice = site.dice
    metal = dice.pick((dice.grey(0.03, 0.5), (0.02, 0.035, 0.025), dice.grey(0.3, 0.6)))
    tall, reach = dice.uniform(4.5, 9.5), dice.pick((0.0, 0.8, 1.6), (0.3, 0.3, 0.4))
    wooden = site.character in ("suburb", "open") and dice.chance(0.35)
    for side in (0, 1):
        if dice.chance(0.2):
            continue
        z = dice.uniform(4.0, 22.0)
        step = dice.uniform(17.0, 36.0)
        while z < 110.0:
            x = site.kerb(side, z, dice.uniform(0.3, 0.6))
            solid, shadows = lamp_post(
                site.lighting(x, z),
                x=x,
                z=z,
                height=tall * dice.uniform(0.95, 1.05),
                reach=-reach if side else reach,
                thick=dice.uniform(0.09, 0.17),
                colour=metal if not wooden else (0.1, 0.07, 0.05),
                wooden=wooden,
            )
            site.put(solid, shadows)
            z += step * dice.uniform(0.85, 1.2)
        if dice.chance(0.2):
            z, step = dice.uniform(4.0, 12.0), dice.uniform(1.3, 2.5)
            colour, band = dice.grey(0.02, 0.3), dice.pick(((0.7, 0.7, 0.7), (0.6, 0.1, 0.05)))
            height, thick = dice.uniform(0.8, 1.1), dice.uniform(0.11, 0.18)
            for k in range(dice.count(3, 12)):
                at = z + k * step
                x = site.kerb(side, at, 0.35)
                site.put(
                    bollard(
                        site.lighting(x, at), x=x, z=at, height=height, thick=thick, colour=colour, band=band
                    )
                )
        if dice.chance(0.14):
            z0 = dice.uniform(4.0, 25.0)
            z1 = z0 + dice.uniform(6.0, 25.0)
            x0, x1 = site.kerb(side, z0, 0.25), site.kerb(side, z1, 0.25)
            site.things.append(
                Fence(
                    depth=z1,
                    start=(x0, z0),
                    end=(x1, z1),
                    height=dice.uniform(0.9, 1.1),
                    style=dice.pick(("railings", "barrier")),
                    colour=dice.grey(0.03, 0.5),
                    pitch=dice.uniform(0.13, 0.3),
                    label=FENCE,
                    at=dice.place(),
                )
            )


def _junction(site: Site) -> None:
    """Put traffic lights where a side street opens, or at a crossing."""
    dice = site.dice
    if (site.side_streets and dice.chance(0.6)) or dice.chance(0.15):
        z = site.side_streets[0][1] if site.side_streets else dice.uniform(10.0, 40.0)
        green = dice.count(0, 2)
        for side in (0, 1):
            for at in (z, z + dice.uniform(6.0, 14.0)):
                if at > 3.5 and dice.chance(0.7):
                    x = site.kerb(side, at, 0.45)
                    site.put(
                        traffic_light(
                            site.lighting(x, at),
                            x=x,
                            z=at,
                            lift=dice.uniform(2.1, 2.8),
                            lamp_on=green,
                            post=dice.grey(0.02, 0.4),
                        )
                    )


def _boxes(site: Site) -> None:
    """Put bins and cabinets on the pavements."""
    dice, street = site.dice, site.street
    for _ in range(dice.mean(1.6)):
        side, z = dice.count(0, 1), dice.uniform(4.0, 45.0)
        x = site.kerb(side, z, dice.uniform(0.5, max(street.pavements[side] - 0.3, 0.6)))
        solid, shadows = box(
            site.lighting(x, z),
            x=x,
            z=z,
            width=dice.uniform(0.4, 0.9),
            height=dice.uniform(0.7, 1.5),
            colour=dice.paint(0.02, 0.5),
            lid=dice.grey(0.03, 0.4),
        )
        site.put(solid, shadows)


def _sign(site: Site) -> None:
    """Put up a sign: on a post, on two, or hanging from a house."""
    dice, street = site.dice, site.street
    side, z = dice.count(0, 1), dice.log(5.0, 60.0)
    shape = dice.pick(
        ("disc", "triangle", "square", "board", "tall", "blade"), (0.24, 0.18, 0.16, 0.14, 0.12, 0.16)
    )
    white: Colour = (0.65, 0.65, 0.63)
    face, rim, ink = dice.pick(
        (
            (white, (0.5, 0.03, 0.03), (0.02, 0.02, 0.02)),
            ((0.03, 0.1, 0.4), white, white),
            ((0.02, 0.18, 0.08), white, white),
            (white, (0.1, 0.1, 0.1), (0.05, 0.05, 0.05)),
            (dice.paint(0.04, 0.6), dice.grey(0.05, 0.6), dice.paint(0.05, 0.7)),
            (dice.grey(0.1, 0.4), dice.grey(0.1, 0.4), dice.grey(0.02, 0.3)),
        )
    )
    posts, lift, size = 1, dice.uniform(1.9, 2.6), dice.uniform(0.55, 0.9)
    inward = dice.uniform(0.3, 0.8)
    if shape == "board":
        posts, lift, size, z = 2, dice.uniform(0.9, 2.2), dice.uniform(1.0, 1.7), z + 7.0
    elif shape == "tall":
        lift, size, z = dice.uniform(0.3, 2.0), dice.uniform(0.8, 1.7), z + 4.0
    elif shape == "blade":
        housed = float(site.street.roofs[side, int(z / BIN_LENGTH)]) > 5.0
        posts, lift, size = 0 if housed else 1, dice.uniform(2.4, 4.2), dice.uniform(0.7, 1.2)
        inward = max(street.pavements[side] - 0.5, 0.4)
    lamp_x = site.kerb(side, z, inward)
    site.put(
        sign_post(
            site.lighting(lamp_x, z),
            x=lamp_x,
            z=z,
            shape=shape,
            size=size,
            lift=lift,
            face=face,
            rim=rim,
            ink=ink,
            post=dice.grey(0.04, 0.5),
            posts=posts,
        )
    )
