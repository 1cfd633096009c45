"""Which light a scene stands in, and which film it is taken on."""

from __future__ import annotations

import math

import numpy as np

from smoothseg_streets.colours import mix
from smoothseg_streets.layout.dice import Dice
from smoothseg_streets.scene import Clouds, Film, Light

__all__ = ["draw_film", "draw_light"]


def draw_light(dice: Dice) -> Light:
    """Return sun, sky and air on an overcast, sunny or hazy day or at dusk."""
    weather = dice.pick(("overcast", "sunny", "hazy", "dusk"), (0.36, 0.4, 0.1, 0.14))
    turn = dice.uniform(-math.pi, math.pi)
    lift = math.radians(dice.uniform(12.0, 62.0) if weather != "dusk" else dice.uniform(4.0, 14.0))
    sun = (math.cos(lift) * math.sin(turn), math.sin(lift), math.cos(lift) * math.cos(turn))
    glow = dice.uniform(0.0, 0.35) if weather != "dusk" else dice.uniform(0.2, 0.6)
    power = {
        "overcast": dice.uniform(0.0, 0.2),
        "sunny": dice.uniform(1.3, 3.2),
        "hazy": dice.uniform(0.1, 0.9),
        "dusk": dice.uniform(0.0, 0.7),
    }[weather]
    direct = (power, power * (1 - 0.45 * glow), power * (1 - 0.85 * glow))
    cool = dice.uniform(-0.06, 0.3) if weather == "sunny" else dice.uniform(-0.1, 0.14)
    ambient = (1.0 - cool, 1.0 - 0.3 * cool, 1.0 + cool)
    bright = dice.log(0.35, 1.9)
    if weather == "sunny":
        blue = dice.uniform(0.15, 0.9)
        zenith = (bright * (0.85 - 0.75 * blue), bright * (0.9 - 0.5 * blue), bright)
        low = mix(zenith, (bright * 1.3, bright * 1.3, bright * 1.28), dice.uniform(0.3, 0.95))
        cover, contrast = dice.uniform(-2.6, 0.6), dice.uniform(-0.1, 0.25)
        cloud = dice.grey(bright, 1.9 * bright, 0.04)
    elif weather == "dusk":
        zenith = (bright * 0.5, bright * 0.55, bright * dice.uniform(0.6, 0.9))
        low = (bright * 1.3, bright * dice.uniform(0.75, 1.15), bright * dice.uniform(0.45, 1.0))
        cover, contrast = dice.uniform(-1.5, 1.0), dice.uniform(-0.3, 0.3)
        cloud = mix(low, zenith, dice.uniform(0.1, 0.9))
    else:
        zenith = dice.grey(bright * 0.8, bright * 1.1, 0.07)
        low = mix(zenith, dice.grey(bright, bright * 1.5, 0.05), 0.7)
        cover, contrast = dice.uniform(0.2, 2.0), dice.log(0.03, 0.35) * dice.pick((-1.0, 1.0))
        cloud = dice.grey(bright * 0.8, bright * 1.2, 0.06)
    reach = dice.log(60.0, 200.0) if weather == "hazy" else dice.log(250.0, 2500.0)
    return Light(
        sun=sun,
        direct=direct,
        ambient=ambient,
        zenith=zenith,
        low=low,
        haze=mix(low, (0.6 * bright,) * 3, 0.5),
        reach=reach,
        clouds=Clouds(cover, dice.log(0.006, 0.03), contrast, cloud, dice.place()),
    )


def draw_film(dice: Dice, light: Light) -> Film:
    """Return exposure, colour cast and flaws of a picture taken in this light."""
    incident = 0.85 + 0.5 * light.direct[1] * max(light.sun[1], 0.2)
    target = math.exp(float(np.clip(dice.random.normal(math.log(0.55), 0.5), math.log(0.16), math.log(1.3))))
    bonnet = None
    if dice.chance(0.3):
        bonnet = (dice.uniform(0.02, 0.11), dice.uniform(0.02, 0.08), dice.uniform(-0.015, 0.015))
    warm, green = dice.uniform(-0.14, 0.14), dice.uniform(-0.05, 0.05)
    return Film(
        exposure=target / incident,
        cast=(1.0 + warm, 1.0 + green, 1.0 - warm),
        vignette=dice.uniform(0.0, 0.35),
        blur=dice.log(0.0009, 0.0035),
        noise=dice.log(0.004, 0.018),
        gamma=1.0 / dice.uniform(1.9, 2.5),
        bonnet=bonnet,
        bonnet_colour=dice.paint(0.02, 0.5),
    )
