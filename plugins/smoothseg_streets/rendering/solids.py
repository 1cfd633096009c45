"""How objects made of coloured polygons and lines are drawn."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from smoothseg_streets import texture
from smoothseg_streets.rendering.air import hazed
from smoothseg_streets.rendering.canvas import Canvas
from smoothseg_streets.rendering.view import View
from smoothseg_streets.scene import Scene, Solid

__all__ = ["render_solid"]


def render_solid(canvas: Canvas, view: View, solid: Solid, scene: Scene) -> None:
    """Draw an object part by part on a sheet of its own, and put what is not hidden on the canvas."""
    points = np.concatenate([part.points for part in solid.parts])
    flat = view.project(points)
    low, high = flat.min(axis=0), flat.max(axis=0)
    c0, c1 = max(int(low[0]) - 3, 0), min(int(high[0]) + 4, view.width)
    r0, r1 = max(int(low[1]) - 3, 0), min(int(high[1]) + 4, view.height)
    if c0 >= c1 or r0 >= r1 or not canvas.colour_open[r0:r1, c0:c1].any():
        return
    # Alpha carries the label plus one; colours are stored by their square root up to 4.
    sheet = Image.new("RGBA", (c1 - c0, r1 - r0), (0, 0, 0, 0))
    pen = ImageDraw.Draw(sheet)
    flat -= np.array([c0, r0], dtype=np.float32)
    corners, depths = flat.ravel().tolist(), points[:, 2].tolist()
    stored = np.sqrt(np.clip([part.colour for part in solid.parts], 0.0, 4.0) * 0.25) * 255.0
    begin = 0
    for part, (red, green, blue) in zip(solid.parts, stored.astype(np.uint8).tolist(), strict=True):
        end = begin + len(part.points)
        shape, fill = corners[2 * begin : 2 * end], (red, green, blue, part.label + 1)
        if part.width:
            wide = part.width * view.focal / depths[begin]
            pen.line(shape, fill=fill, width=max(round(wide), 1))
        else:
            pen.polygon(shape, fill=fill)
        begin = end
    drawn = np.asarray(sheet)
    r, c = np.nonzero((drawn[..., 3] > 0) & canvas.colour_open[r0:r1, c0:c1])
    if r.size == 0:
        return
    chosen = drawn[r, c]
    decoded = chosen[:, :3].astype(np.float32) * np.float32(1 / 255.0)
    colours = decoded * decoded * np.float32(4.0)
    scale = np.float32(solid.depth / view.focal)
    dirt = texture.sample(texture.GRAIN, c * scale + points[0, 0], r * scale, texel=0.04, footprint=scale)
    colours *= (1.0 + np.float32(0.05) * dirt)[:, None]
    at = (r + r0) * view.width + (c + c0)
    canvas.put(at, hazed(colours, solid.depth, scene.light), chosen[:, 3] - np.uint8(1))
