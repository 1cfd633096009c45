"""How walls and fences, which are vertical rectangles, are drawn and lit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from smoothseg_streets import texture
from smoothseg_streets.labels import BUILDING
from smoothseg_streets.rendering.air import hazed, sunlit
from smoothseg_streets.rendering.canvas import Canvas
from smoothseg_streets.rendering.facades import facade_albedo
from smoothseg_streets.rendering.view import NEAREST, View
from smoothseg_streets.scene import Fence, Floats, Point, Scene, Wall

__all__ = ["render_fence", "render_wall"]


@dataclasses.dataclass(frozen=True)
class _Upright:
    """The open samples of a vertical rectangle, (n,) each: place along it, height above the road, depth, x.

    step: metres along the rectangle from one sample to the next, a measure of its footprint.
    """

    at: npt.NDArray[np.intp]
    along: Floats
    up: Floats
    z: Floats
    x: Floats
    step: Floats


def render_wall(canvas: Canvas, view: View, wall: Wall, scene: Scene) -> None:
    """Draw a wall with its roof."""
    facade = wall.facade
    length = float(np.hypot(wall.end[0] - wall.start[0], wall.end[1] - wall.start[1]))

    def top(along: Floats) -> Floats:
        if facade.gable:
            height = facade.eave + facade.rise * (1.0 - np.abs(2.0 * along / length - 1.0))
        else:
            height = np.full_like(along, facade.eave + facade.rise)
        if facade.chimney:
            height = height + 1.3 * (np.abs(along - facade.chimney * length) < 0.45)
        return np.asarray(height)

    seen = _upright(canvas, view, wall.start, wall.end, top)
    if seen is None:
        return
    albedo = facade_albedo(facade, length, along=seen.along, up=seen.up, step=seen.step)
    colours = albedo * _light_on(scene, wall.start, wall.end, seen)
    canvas.put(seen.at, hazed(colours, seen.z, scene.light), BUILDING)


def render_fence(canvas: Canvas, view: View, fence: Fence, scene: Scene) -> None:
    """Draw a fence: one sees through railings, mesh and barriers, which are fence all the same."""
    ragged = 0.25 * fence.height if fence.style == "hedge" else 0.0

    def top(along: Floats) -> Floats:
        if not ragged:
            return np.full_like(along, fence.height)
        bumps = texture.sample(
            texture.LEAVES, along + fence.at[0], np.float32(fence.at[1]), texel=0.12, footprint=0.1
        )
        return np.asarray(fence.height + ragged * 0.4 * bumps)

    seen = _upright(canvas, view, fence.start, fence.end, top)
    if seen is None:
        return
    u, v = seen.along + fence.at[0], seen.up + fence.at[1]
    fine = texture.sample(texture.GRAIN, u, v, texel=0.05, footprint=seen.step)
    broad = texture.sample(texture.LEAVES, u, v, texel=0.07, footprint=seen.step)
    colour: Floats = np.array(fence.colour, dtype=np.float32)
    cell = seen.along * np.float32(1 / fence.pitch)
    phase = cell - np.floor(cell)
    sharp = np.clip(1.5 - seen.step * np.float32(2.5 / fence.pitch), 0.0, 1.0)
    cover: Floats | None = None
    tone = 1.0 + 0.15 * fine + 0.1 * broad
    if fence.style == "hedge":
        tone = np.clip(1.0 + 0.35 * broad + 0.3 * fine, 0.15, 2.2)
    elif fence.style == "boards":
        tone = tone * (1.0 - 0.45 * sharp * (phase < 0.12)) * (1.0 + 0.2 * np.sin(np.floor(cell) * 12.9))
    elif fence.style == "brick":
        tone = tone * (1.0 - 0.2 * (np.mod(seen.up, 0.15) < 0.035) * sharp)
        tone = tone * np.where(seen.up > fence.height - 0.12, 1.4, 1.0)
    else:
        bars = phase < (0.28 if fence.style == "railings" else 0.14)
        rails = (np.abs(seen.up - fence.height + 0.06) < 0.05) | (np.abs(seen.up - 0.2) < 0.04)
        if fence.style == "mesh":
            diagonal = (seen.up + seen.along) * np.float32(3.0 / fence.pitch)
            bars |= diagonal - np.floor(diagonal) < 0.2
        if fence.style == "barrier":
            rails = np.abs(seen.up - fence.height + 0.18) < 0.18
        solid = (bars | rails).astype(np.float32)
        blurred = 0.3 + 0.7 * rails
        cover = np.asarray(sharp * solid + (1.0 - sharp) * blurred, dtype=np.float32)
    tone = np.maximum(tone, 0.1)
    colours = (colour * tone[:, None]) * _light_on(scene, fence.start, fence.end, seen)
    colours = hazed(colours.astype(np.float32), seen.z, scene.light)
    if cover is None:
        canvas.put(seen.at, colours, fence.label)
        return
    canvas.label(seen.at, fence.label)
    shown = cover > 0.02
    canvas.lay_over(seen.at[shown], colours[shown], cover[shown])


def _upright(
    canvas: Canvas,
    view: View,
    start: Point,
    end: Point,
    top: Callable[[Floats], Floats],
) -> _Upright | None:
    """Return the open samples of the rectangle, `top(along)` giving its height; None when there are none."""
    dx, dz = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(dx, dz))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (start[0] - view.directions * start[1]) / (view.directions * dz - dx)
    depth = start[1] + share * dz
    columns = np.flatnonzero((share >= 0.0) & (share <= 1.0) & (depth > NEAREST))
    if columns.size == 0:
        return None
    first, last = int(columns[0]), int(columns[-1]) + 1
    share, depth = share[first:last], depth[first:last]
    inside = (share >= 0.0) & (share <= 1.0) & (depth > NEAREST)
    scale = depth / view.focal
    along = np.asarray(share * length, dtype=np.float32)
    horizon = view.horizon[first:last]
    upper = np.where(inside, horizon - (top(along) - view.eye) / scale, np.inf)
    lower = np.where(inside, horizon + view.eye / scale, -np.inf)
    row0 = max(int(np.floor(upper.min())), 0)
    row1 = min(int(np.ceil(lower.max())) + 1, view.height)
    if row0 >= row1:
        return None
    rows = np.arange(row0, row1, dtype=np.float32)[:, None]
    mask = (rows >= upper) & (rows < lower) & canvas.colour_open[row0:row1, first:last]
    r, c = np.nonzero(mask)
    if r.size == 0:
        return None
    step = np.abs(np.gradient(along)) if along.size > 1 else scale
    z, place = depth[c], along[c]
    up = view.eye - (r + row0 - horizon[c]) * scale[c]
    return _Upright(
        at=(r + row0) * view.width + (c + first),
        along=place,
        up=np.asarray(up, dtype=np.float32),
        z=np.asarray(z, dtype=np.float32),
        x=np.asarray(z * view.directions[c + first], dtype=np.float32),
        step=np.asarray(np.maximum(step, scale)[c], dtype=np.float32),
    )


def _facing(start: Point, end: Point) -> Point:
    """Return the horizontal normal (x, z) of a rectangle on the side of the camera."""
    nx, nz = end[1] - start[1], start[0] - end[0]
    length = float(np.hypot(nx, nz))
    sign = -1.0 if nx * (start[0] + end[0]) + nz * (start[1] + end[1]) > 0 else 1.0
    return sign * nx / length, sign * nz / length


def _light_on(scene: Scene, start: Point, end: Point, seen: _Upright) -> Floats:
    """Return the light (n, 3) that falls on an upright's samples."""
    light = scene.light
    nx, nz = _facing(start, end)
    sun = max(nx * light.sun[0] + nz * light.sun[2], 0.0)
    ambient = np.array(light.ambient, dtype=np.float32)
    # The sky that a wall sees grows with height: streets are darker at the foot of their walls.
    openness = np.float32(0.45) + np.float32(0.3) * np.clip(seen.up * np.float32(0.12), 0.0, 1.0)
    result: Floats = openness[:, None] * ambient
    if sun > 0.0:
        lit = sunlit(scene.street, light, seen.x + nx * 0.3, seen.up, seen.z)
        lit = np.broadcast_to(lit, seen.z.shape)
        result = result + lit[:, None] * (np.array(light.direct, dtype=np.float32) * np.float32(sun))
    return result
