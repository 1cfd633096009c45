"""Which street a random generator draws: its course, light, lots, traffic and people, all in metres.

The proportions follow CamVid's: about a third road, a quarter building, a sixth sky, and a few per cent of
everything small. Colours of different classes are drawn from overlapping ranges on purpose, and one exposure
and one colour cast cover the whole scene, so that no colour stands for a class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from smoothseg_streets import objects
from smoothseg_streets.labels import BUILDING, FENCE, PAVEMENT, ROAD, TREE
from smoothseg_streets.objects import Lamp
from smoothseg_streets.scene import (
    BIN_LENGTH,
    BINS,
    Camera,
    Clouds,
    Colour,
    Crown,
    Facade,
    Fence,
    Film,
    Ground,
    Light,
    Marking,
    Scene,
    Shadow,
    Skyline,
    Solid,
    Street,
    Wall,
)

__all__ = ["draw_scene"]

_FAR: Final = 130.0

_WIDEST: Final = 0.5 / 0.7
"""Tangent of half the widest angle of view that a camera may have."""

_T = TypeVar("_T")


class _Dice:
    """Draws of the kinds a layout needs, as plain Python numbers."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self._drawn: list[float] = []

    def share(self) -> float:
        """Return a number from 0 to 1; they are drawn in blocks, which is several times faster."""
        if not self._drawn:
            self._drawn = self.random.random(512).tolist()
        return self._drawn.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.share()

    def chance(self, probability: float) -> bool:
        return self.share() < probability

    def count(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self.share() * (high + 1 - low))

    def mean(self, expected: float) -> int:
        return int(self.random.poisson(expected))

    def pick(self, options: Sequence[_T], weights: Sequence[float] | None = None) -> _T:
        if weights is None:
            return options[int(self.share() * len(options))]
        edge = self.share() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            edge -= weight
            if edge < 0:
                return option
        return options[-1]

    def log(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def place(self) -> tuple[float, float]:
        return self.uniform(0.0, 100.0), self.uniform(0.0, 100.0)

    def grey(self, low: float, high: float, tint: float = 0.06) -> Colour:
        level = self.log(low, high)
        warm = self.uniform(-tint, tint)
        return level * (1 + warm), level * (1 + self.uniform(-tint, tint) / 3), level * (1 - warm)

    def paint(self, low: float = 0.03, high: float = 0.6) -> Colour:
        """Return any colour of any saturation."""
        level, hue, grip = self.log(low, high), self.uniform(0.0, 2 * math.pi), self.uniform(0.0, 0.95)
        red, green, blue = (
            level * (1 - grip * (0.5 - 0.5 * math.cos(hue + k * 2 * math.pi / 3))) for k in range(3)
        )
        return red, green, blue


def draw_scene(random: np.random.Generator) -> Scene:
    """Return the scene that `random` draws."""
    return _Builder(_Dice(random)).build()


class _Builder:
    """Draws a scene from the general to the particular, and collects what stands in it."""

    def __init__(self, dice: _Dice) -> None:
        self.dice = dice
        self.things: list[Wall | Fence | Crown | Solid | Skyline] = []
        self.shadows: list[Shadow] = []
        self.roofs = np.zeros((2, BINS), dtype=np.float32)
        self.beyond = np.full((2, BINS), PAVEMENT, dtype=np.uint8)
        self.open = np.zeros((2, BINS), dtype=bool)
        self.side_streets: list[tuple[int, float, float]] = []

    def build(self) -> Scene:
        dice = self.dice
        self.character = dice.pick(("urban", "mixed", "suburb", "open"), (0.5, 0.24, 0.17, 0.09))
        self.winter = dice.chance(0.4)
        self.left_hand = dice.chance(0.6)
        self.light = self._light()
        self.street = self._street()
        for side in (0, 1):
            self._lots(side)
        self._end()
        self._traffic()
        self._furniture()
        self._people()
        return Scene(
            camera=Camera(
                height=dice.uniform(1.2, 2.1),
                focal=dice.log(0.5 / _WIDEST, 1.12),
                horizon=dice.uniform(-0.12, 0.05),
                roll=dice.uniform(-0.018, 0.018),
            ),
            light=self.light,
            film=self._film(),
            street=self.street,
            ground=self._ground(),
            things=tuple(self.things),
            shadows=tuple(self.shadows),
        )

    # The general: light, film and the street's course.

    def _light(self) -> Light:
        dice = self.dice
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
            low = _mix(zenith, (bright * 1.3, bright * 1.3, bright * 1.28), dice.uniform(0.3, 0.95))
            cover, contrast = dice.uniform(-2.6, 0.6), dice.uniform(-0.1, 0.25)
            cloud = dice.grey(bright, 1.9 * bright, 0.04)
        elif weather == "dusk":
            zenith = (bright * 0.5, bright * 0.55, bright * dice.uniform(0.6, 0.9))
            low = (bright * 1.3, bright * dice.uniform(0.75, 1.15), bright * dice.uniform(0.45, 1.0))
            cover, contrast = dice.uniform(-1.5, 1.0), dice.uniform(-0.3, 0.3)
            cloud = _mix(low, zenith, dice.uniform(0.1, 0.9))
        else:
            zenith = dice.grey(bright * 0.8, bright * 1.1, 0.07)
            low = _mix(zenith, dice.grey(bright, bright * 1.5, 0.05), 0.7)
            cover, contrast = dice.uniform(0.2, 2.0), dice.log(0.03, 0.35) * dice.pick((-1.0, 1.0))
            cloud = dice.grey(bright * 0.8, bright * 1.2, 0.06)
        reach = dice.log(60.0, 200.0) if weather == "hazy" else dice.log(250.0, 2500.0)
        return Light(
            sun=sun,
            direct=direct,
            ambient=ambient,
            zenith=zenith,
            low=low,
            haze=_mix(low, (0.6 * bright,) * 3, 0.5),
            reach=reach,
            clouds=Clouds(cover, dice.log(0.006, 0.03), contrast, cloud, dice.place()),
        )

    def _film(self) -> Film:
        dice = self.dice
        light = self.light
        incident = 0.85 + 0.5 * light.direct[1] * max(light.sun[1], 0.2)
        target = math.exp(
            float(np.clip(dice.random.normal(math.log(0.55), 0.5), math.log(0.16), math.log(1.3)))
        )
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

    def _street(self) -> Street:
        dice = self.dice
        lanes = dice.pick((1.6, 2.0, 2.4, 3.0, 4.0), (0.16, 0.34, 0.22, 0.18, 0.1))
        half = lanes * dice.uniform(2.7, 3.4) / 2
        wide = (1.4, 4.5) if self.character == "urban" else (1.2, 3.2)
        side = 1.0 if self.left_hand else -1.0
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
            roofs=self.roofs,
            beyond=self.beyond,
            open=self.open,
        )

    # The sides: lots of houses, gardens, parks and side streets.

    def _edge(self, side: int, z: float, setback: float = 0.0) -> tuple[float, float]:
        """Return the point (x, z) so far behind the pavement's outer edge."""
        away = self.street.half + self.street.pavements[side] + setback
        return float(self.street.centre(z)) + (away if side else -away), z

    def _kerb(self, side: int, z: float, inward: float) -> float:
        """Return the x that lies `inward` metres from the kerb onto the pavement (negative: onto the road)."""
        away = self.street.half + inward
        return float(self.street.centre(z)) + (away if side else -away)

    def _fill(self, table: np.ndarray, side: int, z0: float, z1: float, value: float) -> None:
        table[side, max(int(z0 / BIN_LENGTH), 0) : max(int(z1 / BIN_LENGTH), 0)] = value

    def _lots(self, side: int) -> None:
        dice = self.dice
        odds = {
            "urban": (0.84, 0.07, 0.05, 0.04),
            "mixed": (0.62, 0.1, 0.16, 0.12),
            "suburb": (0.6, 0.1, 0.22, 0.08),
            "open": (0.16, 0.07, 0.5, 0.27),
        }[self.character]
        if self.character in ("urban", "mixed") and dice.chance(0.18):
            odds = (0.1, 0.06, 0.54, 0.3)
        self.style = self._facade_style()
        tree_line = dice.chance(0.3)
        z = -dice.uniform(2.0, 8.0)
        previous = "none"
        while z < _FAR:
            kind = dice.pick(("house", "side", "green", "yard"), odds)
            if kind == "side" and (previous == "side" or z < 4.0):
                kind = "house"
            if kind == "house":
                long = dice.uniform(5.0, 16.0) if self.character != "mixed" else dice.uniform(8.0, 34.0)
                self._house(side, z, z + long)
            elif kind == "side":
                long = dice.uniform(6.0, 13.0)
                self._side_street(side, z, z + long)
            elif kind == "green":
                long = dice.uniform(8.0, 32.0)
                self._green(side, z, z + long)
            else:
                long = dice.uniform(8.0, 24.0)
                self._yard(side, z, z + long)
            z += long + (dice.uniform(1.0, 4.0) if self.character == "suburb" and kind == "house" else 0.0)
            previous = kind
        if tree_line:
            at = dice.uniform(4.0, 14.0)
            step = dice.uniform(8.0, 18.0)
            while at < 90.0:
                if dice.chance(0.8):
                    self._tree(self._kerb(side, at, dice.uniform(0.5, 1.2)), at, dice.uniform(4.5, 9.0))
                at += step * dice.uniform(0.8, 1.2)

    def _facade_style(self) -> Colour:
        dice = self.dice
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

    def _facade(self, height: float, length: float) -> Facade:
        dice = self.dice
        base = self.style if dice.chance(0.45) else self._facade_style()
        if dice.chance(0.12):
            base = dice.paint(0.08, 0.6)
        factor = dice.log(0.6, 1.5)
        colour = (base[0] * factor, base[1] * factor, base[2] * factor)
        modern = dice.chance(0.22)
        pitched = not modern and height < 13.0 and dice.chance(0.75)
        rise = dice.uniform(1.2, 3.6) if pitched else (dice.uniform(0.3, 1.0) if dice.chance(0.4) else 0.0)
        shop = dice.chance(0.5 if self.character in ("urban", "mixed") else 0.06)
        sky = self.light.low
        mirror = dice.uniform(0.02, 0.28) * (1.6 if modern else 1.0)
        level = 0.008 * (0.06 / 0.008) ** dice.random.random((9, 1))
        shine = mirror * dice.random.random((9, 1)) * np.array(sky)
        glass = (level * dice.random.uniform(0.85, 1.15, (9, 3)) + shine).astype(np.float32)
        if dice.chance(0.5):
            glass[dice.count(0, 8)] = dice.grey(0.2, 0.6)
        return Facade(
            colour=colour,
            contrast=dice.log(0.03, 0.16),
            course=dice.pick((0.0, 0.15, 0.22, 0.45), (0.35, 0.35, 0.15, 0.15)),
            roof=dice.pick((dice.grey(0.04, 0.25), (0.22, 0.1, 0.06), colour)),
            eave=height,
            rise=rise,
            gable=pitched and dice.chance(0.3) and length < 14.0,
            chimney=dice.uniform(0.1, 0.9) if pitched and dice.chance(0.6) else 0.0,
            ground_floor=dice.uniform(3.0, 4.2) if shop else dice.uniform(0.2, 3.0),
            floor=dice.uniform(2.6, 3.7),
            bay=0.0
            if dice.chance(0.05)
            else dice.uniform(1.7, 4.2)
            if not modern
            else dice.uniform(1.2, 6.0),
            window=(dice.uniform(0.75, 0.96), dice.uniform(0.4, 0.72))
            if modern
            else (dice.uniform(0.3, 0.6), dice.uniform(0.42, 0.68)),
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

    def _house(self, side: int, z0: float, z1: float) -> None:
        dice = self.dice
        if self.character == "suburb":
            setback, height = dice.uniform(2.5, 8.0), dice.uniform(4.6, 7.5)
        elif self.character == "urban":
            setback, height = (
                (dice.uniform(0.0, 0.6) if dice.chance(0.85) else dice.uniform(1.0, 4.0)),
                dice.log(6.0, 22.0),
            )
        else:
            setback, height = dice.uniform(0.0, 9.0), dice.log(4.0, 16.0)
        facade = self._facade(height, z1 - z0)
        start, end = self._edge(side, z0, setback), self._edge(side, z1, setback)
        self.things.append(Wall(depth=z1, start=start, end=end, facade=facade))
        if setback < 5.0:
            self._fill(self.roofs, side, z0, z1, height + 0.7 * facade.rise)
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
            self.things.append(Wall(depth=z0, start=start, end=(start[0] + deep, z0), facade=flank))
        if setback > 1.5:
            planted = dice.chance(0.6)
            self._fill(self.beyond, side, z0, z1, TREE if planted else PAVEMENT)
            if dice.chance(0.75):
                self._fence(side, z0, z1, dice.uniform(0.0, 0.3))
            for _ in range(dice.mean(0.5)):
                at = dice.uniform(z0, z1)
                if at > 3.0:
                    self._tree(
                        self._edge(side, at, setback * dice.uniform(0.2, 0.8))[0], at, dice.uniform(2.0, 5.5)
                    )

    def _side_street(self, side: int, z0: float, z1: float) -> None:
        path = self.dice.uniform(0.8, 2.0)
        self._fill(self.beyond, side, z0, z1, PAVEMENT)
        self._fill(self.open, side, z0 + path, z1 - path, 1)
        self.side_streets.append((side, z0, z1))

    def _green(self, side: int, z0: float, z1: float) -> None:
        dice = self.dice
        self._fill(self.beyond, side, z0, z1, TREE)
        if dice.chance(0.6):
            self._fence(side, z0, z1, dice.uniform(0.0, 1.0))
        crowded = dice.uniform(0.04, 0.16)
        for _ in range(min(1 + dice.mean(crowded * (z1 - z0)), 5)):
            at = dice.uniform(z0, z1)
            if at > 4.0:
                self._tree(self._edge(side, at, dice.uniform(1.0, 14.0))[0], at, dice.uniform(4.0, 13.0))
        if dice.chance(0.5):
            self._backdrop(side, z0, z1, dice.uniform(15.0, 35.0))

    def _yard(self, side: int, z0: float, z1: float) -> None:
        dice = self.dice
        self._fill(self.beyond, side, z0, z1, dice.pick((PAVEMENT, ROAD, TREE), (0.4, 0.3, 0.3)))
        self._fence(side, z0, z1, dice.uniform(0.0, 0.6))
        if dice.chance(0.7):
            self._backdrop(side, z0, z1, dice.uniform(8.0, 25.0))
        for _ in range(dice.mean(0.8)):
            at = dice.uniform(max(z0, 5.0), max(z1, 6.0))
            self._car_at(
                self._edge(side, at, dice.uniform(3.0, 9.0))[0], at, dice.uniform(-0.3, 0.3) + math.pi / 2
            )

    def _backdrop(self, side: int, z0: float, z1: float, setback: float) -> None:
        dice = self.dice
        z0 = max(z0, 1.0) - dice.uniform(0.0, 4.0)
        facade = dataclasses.replace(self._facade(dice.uniform(4.0, 14.0), z1 - z0), shop=False)
        self.things.append(
            Wall(
                depth=z1 + 8.0,
                start=self._edge(side, z0, setback),
                end=self._edge(side, z1 + 6.0, setback),
                facade=facade,
            )
        )

    def _fence(self, side: int, z0: float, z1: float, setback: float) -> None:
        dice = self.dice
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
            "brick": self._facade_style(),
            "hedge": self._leaf(),
        }[style]
        pitch = {"railings": 0.16, "boards": 0.22, "mesh": 2.5, "brick": 0.4, "hedge": 1.0}[
            style
        ] * dice.uniform(0.8, 1.4)
        self.things.append(
            Fence(
                depth=z1 - 0.02,
                start=self._edge(side, z0, setback),
                end=self._edge(side, z1, setback),
                height=dice.uniform(low, high),
                style=style,
                colour=colour,
                pitch=pitch,
                label=TREE if style == "hedge" else FENCE,
                at=dice.place(),
            )
        )

    def _leaf(self) -> Colour:
        dice = self.dice
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
        factor = dice.log(0.6, 1.7)
        return base[0] * factor, base[1] * factor, base[2] * factor

    def _sunlit(self, x: float, z: float) -> float:
        """Return whether the sun reaches (x, z) at knee height over the houses drawn so far."""
        across, up, along = self.light.sun
        if abs(across) < 0.1:
            return 1.0
        side = 1 if across > 0 else 0
        edge = self._edge(side, z)[0]
        steps = max((edge - x) if side else (x - edge), 0.0) / abs(across)
        at = min(max(int((z + along * steps) / BIN_LENGTH), 0), BINS - 1)
        return 1.0 if 0.6 + up * steps > float(self.roofs[side, at]) else 0.0

    def _lamp(self, x: float, z: float) -> Lamp:
        return Lamp(self.light, self._sunlit(x, z))

    def _in_view(self, x: float, z: float, reach: float) -> bool:
        """Return whether something at (x, z), `reach` metres to either side, can be in a picture at all."""
        return abs(x) - reach < z * _WIDEST

    def _tree(self, x: float, z: float, height: float) -> None:
        dice = self.dice
        if not self._in_view(x, z, 0.7 * height):
            return
        lamp = self._lamp(x, z)
        bare = self.winter and dice.chance(0.75)
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
        self.things.append(
            objects.branches(
                lamp,
                dice.random,
                label=TREE,
                x=x,
                z=z,
                height=height,
                thick=thick,
                colour=bark,
                forks=(4 if bare else 2) - (z > 35.0),
            )
        )
        self.things.append(
            Crown(
                depth=z + (0.05 if bare else -0.05),
                x=x,
                discs=discs,
                colour=bark if bare else self._leaf(),
                density=dice.uniform(0.55, 0.95) if bare else 1.0,
                texel=dice.log(0.035, 0.09),
                at=dice.place(),
                light=lamp.sunlit * (0.5 if bare else 1.0),
            )
        )
        across, up, along = self.light.sun
        if lamp.sunlit and up > 0.1 and self.light.direct[0] > 0.3:
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
                self.shadows.append(Shadow(ring, 0.35 if bare else 0.8))

    def _end(self) -> None:
        """Close the view: a house across the street's end, or blocks and treetops far away."""
        dice = self.dice
        if dice.chance(0.3):
            z = dice.uniform(45.0, 120.0)
            middle = float(self.street.centre(z))
            x = middle - 60.0
            while x < middle + 60.0:
                wide = dice.uniform(8.0, 22.0)
                if dice.chance(0.82):
                    facade = self._facade(dice.log(5.0, 16.0), wide)
                    self.things.append(
                        Wall(
                            depth=z, start=(x, z), end=(x + wide, z + dice.uniform(-0.5, 0.5)), facade=facade
                        )
                    )
                else:
                    self._tree(x + wide / 2, z, dice.uniform(6.0, 12.0))
                x += wide
        kinds = [(BUILDING, dice.uniform(140.0, 190.0)), (TREE, dice.uniform(150.0, 260.0))]
        for label, depth in kinds:
            if not dice.chance(0.85 if label == TREE else 0.7):
                continue
            tall = dice.uniform(5.0, 13.0)
            heights = tall * dice.random.uniform(0.35, 1.0, size=37)
            if label == TREE:
                heights = np.full(37, tall * 0.7)
            self.things.append(
                Skyline(
                    depth=depth,
                    label=label,
                    heights=heights.astype(np.float32),
                    cell=dice.uniform(9.0, 22.0),
                    rough=tall * 0.22 if label == TREE else 0.0,
                    colour=self._leaf() if label == TREE else self._facade_style(),
                    at=dice.place(),
                )
            )

    # The particular: vehicles, poles, signs and people.

    def _car_at(self, x: float, z: float, heading: float, *, kind: str | None = None) -> None:
        dice = self.dice
        if not self._in_view(x, z, 6.0):
            return
        kind = kind or dice.pick(("hatch", "saloon", "estate", "van", "bus"), (0.38, 0.26, 0.2, 0.12, 0.04))
        paint = dice.pick(
            (dice.grey(0.015, 0.08), dice.grey(0.12, 0.4), dice.grey(0.5, 0.75), dice.paint(0.04, 0.5)),
            (0.27, 0.3, 0.15, 0.28),
        )
        made = objects.vehicle(
            self._lamp(x, z),
            dice.random,
            kind=kind,
            x=x,
            z=z,
            heading=heading,
            paint=paint,
            braking=dice.chance(0.25),
        )
        if made is not None:
            self.things.append(made[0])
            self.shadows.extend(made[1])

    def _bearing(self, z: float) -> float:
        """Return the direction of the street at a depth, radians right of straight ahead."""
        ahead = float(self.street.centre(z + 1.0)) - float(self.street.centre(z))
        return math.atan(ahead)

    def _beside_opening(self, side: int, z: float) -> bool:
        return any(s == side and z0 - 2.0 < z < z1 + 2.0 for s, z0, z1 in self.side_streets)

    def _traffic(self) -> None:
        dice, street = self.dice, self.street
        parked_width = 2.0
        for side in (0, 1):
            if street.half > 3.6 and dice.chance(0.42):
                z = dice.uniform(4.0, 30.0)
                stop = z + dice.log(10.0, 80.0)
                while z < stop:
                    if dice.chance(0.8) and not self._beside_opening(side, z):
                        x = self._kerb(side, z, -parked_width / 2 + dice.uniform(-0.1, 0.15))
                        turned = 0.0 if dice.chance(0.7) else math.pi
                        kind = dice.pick(("hatch", "saloon", "estate", "van"), (0.4, 0.28, 0.2, 0.12))
                        self._car_at(x, z, self._bearing(z) + turned, kind=kind)
                    z += dice.uniform(4.9, 8.0)
        own = street.offset
        z = dice.log(8.0, 70.0)
        while z < 110.0 and dice.chance(0.72):
            x = float(street.centre(z)) + own + dice.uniform(-0.4, 0.4)
            self._car_at(x, z, self._bearing(z))
            z += dice.log(7.0, 50.0)
        z = dice.log(5.0, 50.0)
        while z < 110.0 and dice.chance(0.75):
            x = float(street.centre(z)) - own + dice.uniform(-0.4, 0.4)
            self._car_at(x, z, self._bearing(z) + math.pi)
            z += dice.log(7.0, 40.0)
        for side, z0, z1 in self.side_streets:
            if dice.chance(0.3):
                z = (z0 + z1) / 2
                away = street.half + dice.uniform(1.0, 9.0)
                self._car_at(float(street.centre(z)) + (away if side else -away), z, math.pi / 2)
        if dice.chance(0.06):
            z = dice.uniform(12.0, 40.0)
            self._car_at(
                float(street.centre(z)) + dice.uniform(-2.0, 2.0), z, math.pi / 2 + dice.uniform(-0.3, 0.3)
            )

    def _furniture(self) -> None:
        dice, street = self.dice, self.street
        metal = dice.pick((dice.grey(0.03, 0.5), (0.02, 0.035, 0.025), dice.grey(0.3, 0.6)))
        tall, reach = dice.uniform(4.5, 9.5), dice.pick((0.0, 0.8, 1.6), (0.3, 0.3, 0.4))
        wooden = self.character in ("suburb", "open") and dice.chance(0.35)
        for side in (0, 1):
            if dice.chance(0.2):
                continue
            z = dice.uniform(4.0, 22.0)
            step = dice.uniform(17.0, 36.0)
            while z < 110.0:
                x = self._kerb(side, z, dice.uniform(0.3, 0.6))
                solid, shadows = objects.lamp(
                    self._lamp(x, z),
                    x=x,
                    z=z,
                    height=tall * dice.uniform(0.95, 1.05),
                    reach=-reach if side else reach,
                    thick=dice.uniform(0.09, 0.17),
                    colour=metal if not wooden else (0.1, 0.07, 0.05),
                    wooden=wooden,
                )
                self.things.append(solid)
                self.shadows.extend(shadows)
                z += step * dice.uniform(0.85, 1.2)
            if dice.chance(0.2):
                z, step = dice.uniform(4.0, 12.0), dice.uniform(1.3, 2.5)
                colour, band = dice.grey(0.02, 0.3), dice.pick(((0.7, 0.7, 0.7), (0.6, 0.1, 0.05)))
                height, thick = dice.uniform(0.8, 1.1), dice.uniform(0.11, 0.18)
                for k in range(dice.count(3, 12)):
                    at = z + k * step
                    x = self._kerb(side, at, 0.35)
                    self.things.append(
                        objects.bollard(
                            self._lamp(x, at), x=x, z=at, height=height, thick=thick, colour=colour, band=band
                        )
                    )
            if dice.chance(0.14):
                z0 = dice.uniform(4.0, 25.0)
                z1 = z0 + dice.uniform(6.0, 25.0)
                x0, x1 = self._kerb(side, z0, 0.25), self._kerb(side, z1, 0.25)
                self.things.append(
                    Fence(depth=z1, start=(x0, z0), end=(x1, z1), height=dice.uniform(0.9, 1.1), style=dice.pick(("railings", "barrier")),
                          colour=dice.grey(0.03, 0.5), pitch=dice.uniform(0.13, 0.3), label=FENCE, at=dice.place())
                )  # fmt: skip
        for _ in range(dice.count(1, 5)):
            self._sign()
        if self.side_streets and dice.chance(0.6) or dice.chance(0.15):
            z = self.side_streets[0][1] if self.side_streets else dice.uniform(10.0, 40.0)
            green = dice.count(0, 2)
            for side in (0, 1):
                for at in (z, z + dice.uniform(6.0, 14.0)):
                    if at > 3.5 and dice.chance(0.7):
                        x = self._kerb(side, at, 0.45)
                        self.things.append(
                            objects.traffic_light(
                                self._lamp(x, at),
                                x=x,
                                z=at,
                                lift=dice.uniform(2.1, 2.8),
                                lamp_on=green,
                                post=dice.grey(0.02, 0.4),
                            )
                        )
        for _ in range(dice.mean(1.6)):
            side, z = dice.count(0, 1), dice.uniform(4.0, 45.0)
            x = self._kerb(side, z, dice.uniform(0.5, max(street.pavements[side] - 0.3, 0.6)))
            solid, shadows = objects.box(
                self._lamp(x, z), x=x, z=z, width=dice.uniform(0.4, 0.9), height=dice.uniform(0.7, 1.5),
                colour=dice.paint(0.02, 0.5), lid=dice.grey(0.03, 0.4),
            )  # fmt: skip
            self.things.append(solid)
            self.shadows.extend(shadows)

    def _sign(self) -> None:
        dice, street = self.dice, self.street
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
            housed = float(self.roofs[side, int(z / BIN_LENGTH)]) > 5.0
            posts, lift, size = 0 if housed else 1, dice.uniform(2.4, 4.2), dice.uniform(0.7, 1.2)
            inward = max(street.pavements[side] - 0.5, 0.4)
        lamp_x = self._kerb(side, z, inward)
        self.things.append(
            objects.sign_post(
                self._lamp(lamp_x, z), x=lamp_x, z=z, shape=shape, size=size, lift=lift, face=face, rim=rim, ink=ink,
                post=dice.grey(0.04, 0.5), posts=posts,
            )
        )  # fmt: skip

    def _clothes(self) -> Colour:
        return self.dice.pick(
            (self.dice.grey(0.015, 0.1), self.dice.grey(0.1, 0.5), self.dice.paint(0.03, 0.5)),
            (0.4, 0.2, 0.4),
        )

    def _people(self) -> None:
        dice, street = self.dice, self.street
        busy = {"urban": 4.0, "mixed": 2.6, "suburb": 1.5, "open": 1.2}[self.character]
        for _ in range(dice.mean(busy)):
            side, z = dice.count(0, 1), dice.log(4.5, 60.0)
            x = self._kerb(side, z, dice.uniform(0.3, max(street.pavements[side] - 0.2, 0.5)))
            if dice.chance(0.12):
                x = float(street.centre(z)) + dice.uniform(-1.0, 1.0) * street.half
            for k in range(dice.pick((1, 2, 3), (0.65, 0.27, 0.08))):
                solid, shadows = objects.person(
                    self._lamp(x, z), dice.random, x=x + k * dice.uniform(0.45, 0.7), z=z + dice.uniform(-0.3, 0.3),
                    top=self._clothes(), bottom=self._clothes(), skin=_scaled((0.45, 0.28, 0.2), dice.log(0.25, 1.2)),
                    hair=dice.pick(((0.02, 0.015, 0.01), (0.12, 0.07, 0.03), (0.35, 0.25, 0.1), (0.3, 0.3, 0.3))),
                )  # fmt: skip
                self.things.append(solid)
                self.shadows.extend(shadows)
        for _ in range(dice.mean(0.9)):
            z = dice.log(5.0, 40.0)
            side = dice.count(0, 1)
            sideways = dice.chance(0.4)
            x = (
                float(street.centre(z)) + dice.uniform(-0.8, 0.8) * street.half
                if sideways
                else self._kerb(side, z, -dice.uniform(0.4, 1.6))
            )
            solid, shadows = objects.rider(
                self._lamp(x, z), dice.random, x=x, z=z, sideways=sideways, top=self._clothes(), bottom=self._clothes(),
                skin=_scaled((0.45, 0.28, 0.2), dice.log(0.25, 1.2)), bike=dice.paint(0.02, 0.4),
            )  # fmt: skip
            self.things.append(solid)
            self.shadows.extend(shadows)

    def _ground(self) -> Ground:
        dice, street = self.dice, self.street
        half = street.half
        white: Colour = (0.55, 0.55, 0.53)
        yellow: Colour = (0.5, 0.36, 0.06)
        wear = dice.uniform(0.0, 0.65)
        marks: list[Marking] = []

        def line(at: float, wide: float, dash: float, gap: float, colour: Colour = white) -> None:
            marks.append(Marking(at - wide / 2, at + wide / 2, 0.0, _FAR, dash, gap, colour, wear))

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
                line(sign * (half - 0.3), 0.09, 0.0, 1.0, yellow)
            if edge == "double":
                line(sign * (half - 0.5), 0.09, 0.0, 1.0, yellow)
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
                    white,
                    wear * 0.7,
                    dice.uniform(0.4, 0.7),
                )
            )
        if dice.chance(0.35):
            z = dice.uniform(4.0, 25.0)
            span = (-half, 0.0) if self.left_hand else (0.0, half)
            marks.append(Marking(*span, z, z + 0.35, 0.0, 1.0, white, wear))
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
            lamp = self._lamp(float(street.centre(near)), near)
            x = float(street.centre(near + 0.6))
            self.things.append(
                objects.bollard(
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
            grass=self._leaf(),
            markings=tuple(marks),
            patches=patches,
            island=island,
            at=dice.place(),
        )


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
