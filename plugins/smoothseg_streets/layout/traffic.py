"""Which vehicles drive and park where."""

from __future__ import annotations

import math

from smoothseg_streets.layout.site import Site
from smoothseg_streets.shapes.vehicles import vehicle

__all__ = ["place_traffic", "place_vehicle"]


def place_traffic(site: Site) -> None:
    """Put vehicles at the kerbs, in both lanes, in side streets, and rarely across the road."""
    dice, street = site.dice, site.street
    parked_width = 2.0
    for side in (0, 1):
        if street.half > 3.6 and dice.chance(0.42):
            z = dice.uniform(4.0, 30.0)
            stop = z + dice.log(10.0, 80.0)
            while z < stop:
                if dice.chance(0.8) and not site.beside_opening(side, z):
                    x = site.kerb(side, z, -parked_width / 2 + dice.uniform(-0.1, 0.15))
                    turned = 0.0 if dice.chance(0.7) else math.pi
                    kind = dice.pick(("hatch", "saloon", "estate", "van"), (0.4, 0.28, 0.2, 0.12))
                    place_vehicle(site, x, z, site.bearing(z) + turned, kind=kind)
                z += dice.uniform(4.9, 8.0)
    own = street.offset
    z = dice.log(8.0, 70.0)
    while z < 110.0 and dice.chance(0.72):
        x = float(street.centre(z)) + own + dice.uniform(-0.4, 0.4)
        place_vehicle(site, x, z, site.bearing(z))
        z += dice.log(7.0, 50.0)
    z = dice.log(5.0, 50.0)
    while z < 110.0 and dice.chance(0.75):
        x = float(street.centre(z)) - own + dice.uniform(-0.4, 0.4)
        place_vehicle(site, x, z, site.bearing(z) + math.pi)
        z += dice.log(7.0, 40.0)
    for side, z0, z1 in site.side_streets:
        if dice.chance(0.3):
            z = (z0 + z1) / 2
            away = street.half + dice.uniform(1.0, 9.0)
            place_vehicle(site, float(street.centre(z)) + (away if side else -away), z, math.pi / 2)
    if dice.chance(0.06):
        z = dice.uniform(12.0, 40.0)
        place_vehicle(
            site, float(street.centre(z)) + dice.uniform(-2.0, 2.0), z, math.pi / 2 + dice.uniform(-0.3, 0.3)
        )


def place_vehicle(site: Site, x: float, z: float, heading: float, *, kind: str | None = None) -> None:
    """Put a vehicle, of any kind if none is given, at (x, z), unless no camera could see it."""
    dice = site.dice
    if not site.in_view(x, z, 6.0):
        return
    kind = kind or dice.pick(("hatch", "saloon", "estate", "van", "bus"), (0.38, 0.26, 0.2, 0.12, 0.04))
    paint = dice.pick(
        (dice.grey(0.015, 0.08), dice.grey(0.12, 0.4), dice.grey(0.5, 0.75), dice.paint(0.04, 0.5)),
        (0.27, 0.3, 0.15, 0.28),
    )
    made = vehicle(
        site.lighting(x, z),
        dice.random,
        kind=kind,
        x=x,
        z=z,
        heading=heading,
        paint=paint,
        braking=dice.chance(0.25),
    )
    if made is not None:
        site.put(*made)
