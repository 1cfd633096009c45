"""What colour a wall is where: courses, windows, shop fronts, doors and the roof above."""

from __future__ import annotations

import numpy as np

from smoothseg_streets import texture
from smoothseg_streets.scene import Colour, Facade, Floats

__all__ = ["facade_albedo"]


def facade_albedo(facade: Facade, length: float, *, along: Floats, up: Floats, step: Floats) -> Floats:
    """Return the albedo (n, 3) of n places on a wall `length` metres long.

    along, up: metres from the wall's start and above the road, (n,) each; step: metres that a sample covers.
    """
    u, v = along + facade.at[0], up + facade.at[1]
    tone = _tone(facade, u, v, up, step)
    albedo: Floats = _array(facade.colour) * tone[:, None]
    if facade.bay:
        _paint_windows(albedo, facade, length, along, up, step, tone)
    if facade.shop:
        _paint_shop(albedo, facade, along, up, step)
    elif facade.bay and facade.ground_floor > 1.0:
        _paint_doors(albedo, facade, along, up)
    if facade.rise:
        _paint_roof(albedo, facade, up, tone)
    np.maximum(albedo, np.float32(0.008), out=albedo)
    return albedo


def _array(colour: Colour) -> Floats:
    return np.array(colour, dtype=np.float32)


def _tone(facade: Facade, u: Floats, v: Floats, up: Floats, step: Floats) -> Floats:
    """Return the brightness of the bare wall about 1: roughness, courses of brick or stone, dirt at the foot."""
    rough = texture.sample(texture.GRAIN, u, v, texel=0.06, footprint=step)
    broad = texture.sample(texture.BLOTCHES, u, v, texel=0.3, footprint=step)
    tone: Floats = 1.0 + np.float32(facade.contrast) * (np.float32(0.7) * rough + broad)
    if facade.course:
        fade = np.clip(1.5 - step * np.float32(2.5 / facade.course), 0.0, 1.0)
        tone -= 0.22 * fade * (np.mod(up, facade.course) < 0.25 * facade.course)
    tone *= 1.0 - np.float32(facade.stain) * np.exp(up * np.float32(-0.9))
    np.clip(tone, 0.25, 1.8, out=tone)
    return tone


def _paint_windows(
    albedo: Floats, facade: Facade, length: float, along: Floats, up: Floats, step: Floats, tone: Floats
) -> None:
    """Paint the windows of the upper floors, their frames, sills and ledges; far ones blend into the wall."""
    bays = max(round(length / facade.bay), 1)
    # Only the floors between the ground floor and the eaves can carry a window.
    rows = np.flatnonzero((up - np.float32(facade.ground_floor) > 0) & (up < facade.eave - 0.4))
    if rows.size == 0:
        return
    along, step, tone = along[rows], step[rows], tone[rows]
    lift = up[rows] - np.float32(facade.ground_floor)
    across = along * np.float32(bays / length)
    bay = np.floor(across)
    level = np.floor(lift * np.float32(1 / facade.floor))
    fx = across - bay - np.float32(0.5)
    fy = lift * np.float32(1 / facade.floor) - level - np.float32(0.52)
    half_x, half_y = facade.window[0] / 2, facade.window[1] / 2
    sharp = np.clip(1.6 - step * np.float32(2.2 / facade.bay), 0.0, 1.0)
    inside = (np.abs(fx) < half_x) & (np.abs(fy) < half_y)
    share = sharp * inside + (1.0 - sharp) * np.float32(4 * half_x * half_y)
    pick = (bay * 7 + level * 13 + facade.at[0]).astype(np.int32) % len(facade.glass)
    glass = facade.glass[pick] * (1.0 + np.float32(0.5) * (fy + fx))[:, None]
    frame = 0.06 / facade.bay
    bars = (np.abs(fx) > half_x - frame) | (np.abs(fy) > half_y - 2 * frame) | (np.abs(fx) < 0.5 * frame)
    glass = np.where((bars & (sharp > 0.5))[:, None], _array(facade.frame) * tone[:, None], glass)
    painted = albedo[rows]
    painted += (glass - painted) * share[:, None]
    trim = (np.abs(fx) < half_x + 0.03) & (fy < -half_y) & (fy > -half_y - 0.05) & (sharp > 0.3)
    if facade.ledge:
        trim |= fy + 0.52 < facade.ledge
    painted[trim] = _array(facade.trim) * tone[trim][:, None]
    albedo[rows] = painted


def _paint_shop(albedo: Floats, facade: Facade, along: Floats, up: Floats, step: Floats) -> None:
    """Paint a shop front: a fascia over panes through which goods can be guessed."""
    rows = np.flatnonzero(up < facade.ground_floor)
    if rows.size == 0:
        return
    along, up, step = along[rows], up[rows], step[rows]
    u, v = along + facade.at[0], up + facade.at[1]
    fascia = up > facade.ground_floor - 0.75
    letters = texture.sample(texture.LEAVES, u[fascia], v[fascia] * 0.5, texel=0.12, footprint=step[fascia])
    albedo[rows[fascia]] = _array(facade.fascia) * (1.0 + 0.25 * letters)[:, None]
    panel = along * np.float32(1 / facade.panel)
    pane = panel - np.floor(panel)
    glazed = ~fascia & (up > 0.5) & (pane > 0.06) & (pane < 0.94)
    pick = (np.floor(panel[glazed]) * 5 + facade.at[1]).astype(np.int32) % len(facade.glass)
    goods = texture.sample(texture.LEAVES, u[glazed], v[glazed], texel=0.1, footprint=step[glazed])
    albedo[rows[glazed]] = facade.glass[pick] * np.clip(1.0 + 0.6 * goods, 0.2, 2.5)[:, None]


def _paint_doors(albedo: Floats, facade: Facade, along: Floats, up: Floats) -> None:
    """Paint the ground floor's doors, every third bay, and windows."""
    rows = np.flatnonzero(up < facade.ground_floor - 0.6)
    place = along[rows] * np.float32(1 / facade.bay)
    bay = np.floor(place)
    door = np.mod(bay, 3) == 1
    opening = (up[rows] > np.where(door, 0.1, 1.0)) & (np.abs(place - bay - 0.5) < 0.22)
    rows, bay, door = rows[opening], bay[opening], door[opening]
    glass = facade.glass[(bay * 3).astype(np.int32) % len(facade.glass)]
    albedo[rows] = np.where(door[:, None], _array(facade.fascia), glass)


def _paint_roof(albedo: Floats, facade: Facade, up: Floats, tone: Floats) -> None:
    """Paint rows of tiles above the eaves, and the gutter."""
    rows = np.flatnonzero(up > facade.eave)
    height = up[rows]
    tiles = tone[rows] * (1.0 - 0.15 * (np.mod(height, 0.35) < 0.08))
    albedo[rows] = _array(facade.roof) * tiles[:, None]
    albedo[rows[height < facade.eave + 0.15]] *= np.float32(0.6)
