"""Which street a random generator draws, all in metres.

The proportions follow CamVid's: about a third road, a quarter building, a sixth sky, and a few per cent of
everything small. Colours of different classes are drawn from overlapping ranges on purpose, and one exposure
and one colour cast cover the whole scene, so that no colour stands for a class.
"""

from __future__ import annotations

import numpy as np

from smoothseg_streets.labels import PAVEMENT
from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.layout.furniture import place_furniture
from smoothseg_streets.layout.lots import close_view, lay_out_side
from smoothseg_streets.layout.paving import draw_ground
from smoothseg_streets.layout.people import place_people
from smoothseg_streets.layout.site import WIDEST, Site
from smoothseg_streets.layout.traffic import place_traffic
from smoothseg_streets.layout.weather import draw_film, draw_light
from smoothseg_streets.scene import BINS, Camera, Scene, Street

__all__ = ["draw_scene"]


def draw_scene(random: np.random.Generator) -> Scene:
    """Return the scene that `random` draws: from the light and the street's course to the people on it."""
    dice = Dice(random)
    character = dice.pick(("urban", "mixed", "suburb", "open"), (0.5, 0.24, 0.17, 0.09))
    winter = dice.chance(0.4)
    left_hand = dice.chance(0.6)
    light = draw_light(dice)
    street = draw_street(dice, urban=character == "urban", left_hand=left_hand)
    site = Site(dice, character, winter, left_hand, light, street)
    for side in (0, 1):
        lay_out_side(site, side)
    close_view(site)
    place_traffic(site)
    place_furniture(site)
    place_people(site)
    camera = Camera(
        height=dice.uniform(1.2, 2.1),
        focal=dice.log(0.5 / WIDEST, 1.12),
        horizon=dice.uniform(-0.12, 0.05),
        roll=dice.uniform(-0.018, 0.018),
    )
    film = draw_film(dice, light)
    ground = draw_ground(site)
    return Scene(camera, light, film, street, ground, tuple(site.things), tuple(site.shadows))


def draw_street(dice: Dice, *, urban: bool, left_hand: bool) -> Street:
    """Return the course of a street that `dice` draws, with empty sides."""
    lanes = dice.pick((1.6, 2.0, 2.4, 3.0, 4.0), (0.16, 0.34, 0.22, 0.18, 0.1))
    half = lanes * dice.uniform(2.7, 3.4) / 2
    wide = (1.4, 4.5) if urban else (1.2, 3.2)
    side = 1.0 if left_hand else -1.0
    # `offset` is how far right of the middle the camera drives.
    offset = -side * dice.uniform(0.15, 0.55) * half
    if dice.chance(0.06):
        offset *= -1
    bend = float(dice.random.normal(0.0, 0.0022)) if dice.chance(0.65) else 0.0
    return Street(
        half=half,
        pavements=(dice.uniform(*wide), dice.uniform(*wide)),
        offset=offset,
        heading=float(dice.random.normal(0.0, 0.05)),
        bend=float(np.clip(bend, -0.005, 0.005)),
        roofs=np.zeros((2, BINS), dtype=np.float32),
        beyond=np.full((2, BINS), PAVEMENT, dtype=np.uint8),
        open=np.zeros((2, BINS), dtype=bool),
    )
