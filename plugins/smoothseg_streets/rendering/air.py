"""What stands between the sun, the camera and a surface: houses that shade it, haze, and the sky behind all."""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothseg_streets import texture
from smoothseg_streets.labels import BUILDING, SKY
from smoothseg_streets.rendering.canvas import Canvas
from smoothseg_streets.rendering.view import View
from smoothseg_streets.scene import BIN_LENGTH, BINS, Floats, Light, Scene, Skyline, Street

__all__ = ["hazed", "render_sky", "render_skyline", "sunlit"]


def hazed(colours: Floats, z: Any, light: Light) -> Floats:
    """Return colours (n, 3) as seen through `z` metres of air, a number or (n,)."""
    clear = np.exp(np.asarray(z, dtype=np.float32) * np.float32(-1.0 / light.reach))
    if clear.ndim:
        clear = clear[:, None]
    haze = np.array(light.haze, dtype=np.float32)
    result: Floats = haze + (colours - haze) * clear
    return result


def sunlit(street: Street, light: Light, x: Any, y: Any, z: Any) -> Any:
    """Return how much of the sun (0 to 1) reaches points over the houses along the street."""
    across, up, along = light.sun
    if abs(across) < 0.1 or up < 0.03:
        return np.float32(1.0)
    side = 1 if across > 0 else 0
    edge = street.half + street.pavements[side]
    centre = street.centre(z)
    steps = np.maximum((centre + edge - x) if side else (x - centre + edge), 0.0) * np.float32(
        1 / abs(across)
    )
    at = np.clip((z + along * steps) * np.float32(1 / BIN_LENGTH), 0, BINS - 1).astype(np.int32)
    over = y + up * steps - street.roofs[side][at]
    return np.clip(over * np.float32(0.9) + np.float32(0.5), 0.0, 1.0)


def render_skyline(canvas: Canvas, view: View, line: Skyline, scene: Scene) -> None:
    """Draw far blocks or treetops."""
    x = view.directions * np.float32(line.depth)
    cell = np.floor(x / line.cell).astype(np.int64) % len(line.heights)
    heights = line.heights[cell]
    if line.rough:
        heights = heights + line.rough * texture.sample(
            texture.LEAVES, x + line.at[0], np.float32(line.at[1]), texel=line.cell / 12, footprint=0.1
        )
    scale = line.depth / view.focal
    upper = view.horizon - (heights - view.eye) / scale
    row0 = max(int(upper.min()), 0)
    row1 = min(int(view.horizon.max()) + 2, view.height)
    if row0 >= row1:
        return
    rows = np.arange(row0, row1, dtype=np.float32)[:, None]
    r, c = np.nonzero((rows >= upper) & (rows < view.horizon + 1.0) & canvas.colour_open[row0:row1])
    if r.size == 0:
        return
    r += row0
    y = (view.horizon[c] - r) * np.float32(scale)
    broad = texture.sample(texture.LEAVES, x[c] + line.at[0], y, texel=0.5, footprint=scale)
    tone = np.clip(1.0 + 0.25 * broad, 0.2, 2.0)
    if line.label == BUILDING:
        tone *= 1.0 + 0.35 * (cell[c] % 3 - 1)
        tone -= 0.3 * ((np.mod(y, 3.2) < 1.6) & (np.mod(x[c], 2.6) < 1.3))
    light = np.array(scene.light.ambient, dtype=np.float32) * 0.6 + np.array(scene.light.direct) * 0.2
    colours = np.array(line.colour, dtype=np.float32) * light * np.maximum(tone, 0.1)[:, None]
    canvas.put(r * view.width + c, hazed(colours.astype(np.float32), line.depth, scene.light), line.label)


def render_sky(canvas: Canvas, view: View, light: Light) -> None:
    """Fill whatever is still open with the sky and its clouds."""
    r, c = np.nonzero(canvas.colour_open)
    if r.size == 0:
        return
    at = r * view.width + c
    lift = np.maximum((view.horizon[c] - r) * np.float32(1 / view.focal), 0.0)
    share = np.clip(lift * np.float32(1.6), 0.0, 1.0)[:, None]
    low, zenith = np.array(light.low, dtype=np.float32), np.array(light.zenith, dtype=np.float32)
    colours = low + (zenith - low) * share
    clouds = light.clouds
    # A flat layer of cloud seen from below: it recedes towards the horizon.
    far = np.float32(1.0) / (lift + np.float32(0.12))
    u = view.directions[c] * far + clouds.at[0]
    footprint = far * np.float32(1.0 / view.focal)
    noise = texture.sample(
        texture.BLOTCHES, u, far * 1.3 + clouds.at[1], texel=clouds.texel, footprint=footprint
    )
    finer = texture.sample(texture.BLOTCHES, u + 5.0, far, texel=clouds.texel * 0.3, footprint=footprint)
    noise = noise + 0.35 * finer
    cover = np.clip((noise + clouds.cover) * 0.7, 0.0, 1.0)
    bright = np.clip(1.0 + clouds.contrast * noise, 0.2, 2.5)
    cloud = np.array(clouds.colour, dtype=np.float32) * bright[:, None]
    colours += (cloud - colours) * cover[:, None]
    canvas.put(at, colours.astype(np.float32), SKY)
