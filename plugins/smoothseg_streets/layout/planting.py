"""Which trees stand where."""

from __future__ import annotations

import math

import numpy as np

from smoothseg_streets.colours import scaled
from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.layout.site import Site
from smoothseg_streets.scene import Colour, Crown, Shadow
from smoothseg_streets.shapes.fixtures import branches

__all__ = ["draw_leaf", "plant_tree"]


def draw_leaf(dice: Dice) -> Colour:
    """Return a colour of leaves or grass, from fresh green to withered."""
    base = dice.pick(
        (
            (0.05, 0.085, 0.025),
            (0.1, 0.13, 0.04),
            (0.03, 0.04, 0.025),
            (0.14, 0.1, 0.04),
            (0.12, 0.12, 0.1),
        ),
        (0.3, 0.22, 0.22, 0.13, 0.13),
    )
    return scaled(base, dice.log(0.6, 1.7))


def plant_tree(site: Site, x: float, z: float, height: float) -> None:
    """Plant a tree so tall at (x, z), unless no camera could see it."""
    dice = site.dice
    if not site.in_view(x, z, 0.7 * height):
        return
    lamp = site.lighting(x, z)
    bare = site.winter and dice.chance(0.75)
    bark = dice.pick((dice.grey(0.03, 0.15, 0.15), (0.09, 0.06, 0.035)))
    thick = height * dice.uniform(0.03, 0.055)
    wide = height * dice.uniform(0.22, 0.38)
    lift = height * dice.uniform(0.25, 0.42)
    if dice.chance(0.12) and not bare:
        discs = tuple((0.0, height * (0.14 + 0.27 * k), wide * (0.85 - 0.24 * k)) for k in range(3))
    else:
        discs = tuple(
            (
                dice.uniform(-0.75, 0.75) * wide,
                lift + wide * 0.6 + dice.uniform(0.0, 1.0) * max(height - lift - wide * 1.2, 0.1),
                wide * dice.uniform(0.5, 0.85),
            )
            for _ in range(dice.count(3, 5))
        )
    site.put(
        branches(
            lamp,
            dice.random,
            x=x,
            z=z,
            height=height,
            thick=thick,
            colour=bark,
            forks=(4 if bare else 2) - (z > 35.0),
        )
    )
    site.things.append(
        Crown(
            depth=z + (0.05 if bare else -0.05),
            x=x,
            discs=discs,
            colour=bark if bare else draw_leaf(dice),
            density=dice.uniform(0.55, 0.95) if bare else 1.0,
            texel=dice.log(0.035, 0.09),
            at=dice.place(),
            light=lamp.sunlit * (0.5 if bare else 1.0),
        )
    )
    across, up, along = site.light.sun
    if lamp.sunlit and up > 0.1 and site.light.direct[0] > 0.3:
        for cx, cy, radius in discs:
            reach = min(cy / up, 20.0)
            ring = np.array(
                [
                    [
                        x + cx - across * reach + radius * math.cos(k),
                        z - along * reach + radius * math.sin(k) / max(up, 0.4),
                    ]
                    for k in (0.0, 0.8, 1.6, 2.4, 3.1, 3.9, 4.7, 5.5)
                ],
                dtype=np.float32,
            )
            site.shadows.append(Shadow(ring, 0.35 if bare else 0.8))
