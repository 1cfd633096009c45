"""How the leaves and twigs of a tree are drawn: discs whose edge and light are eaten away by noise."""

from __future__ import annotations

import numpy as np

from smoothseg_streets import texture
from smoothseg_streets.labels import TREE
from smoothseg_streets.rendering.air import hazed
from smoothseg_streets.rendering.canvas import Canvas
from smoothseg_streets.rendering.view import View
from smoothseg_streets.scene import Crown, Scene

__all__ = ["render_crown"]


def render_crown(canvas: Canvas, view: View, crown: Crown, scene: Scene) -> None:
    """Draw a crown: leaves hide what lies behind, between bare twigs it shows, yet all of it is tree."""
    discs = np.array(crown.discs, dtype=np.float32)
    scale = crown.depth / view.focal
    reach = 1.15 * discs[:, 2]
    edges = np.array(
        [
            [crown.x + (discs[:, 0] - reach).min(), (discs[:, 1] + reach).max(), crown.depth],
            [crown.x + (discs[:, 0] + reach).max(), max((discs[:, 1] - reach).min(), 0.0), crown.depth],
        ],
        dtype=np.float32,
    )
    (left, upper), (right, lower) = view.project(edges)
    tilt = abs(float(view.horizon[-1] - view.horizon[0]))
    c0, c1 = max(int(left), 0), min(int(right) + 2, view.width)
    r0, r1 = max(int(upper - tilt), 0), min(int(lower + tilt) + 2, view.height)
    if c0 >= c1 or r0 >= r1:
        return
    open_here = canvas.colour_open[r0:r1, c0:c1]
    if not open_here.any():
        return
    a = view.directions[c0:c1] * np.float32(crown.depth) - np.float32(crown.x)
    rows = np.arange(r0, r1, dtype=np.float32)[:, None]
    b = view.eye - (rows - view.horizon[c0:c1]) * np.float32(scale)
    body = np.full(b.shape, -1.0, dtype=np.float32)
    for cx, cy, radius in discs:
        inverse = np.float32(1.0 / radius**2)
        np.maximum(body, 1.0 - ((a - cx) ** 2)[None, :] * inverse - (b - cy) ** 2 * inverse, out=body)
    r, c = np.nonzero((body > -0.35) & open_here)
    if r.size == 0:
        return
    body = body[r, c]
    a, b = a[c], b[r, c]
    u, v = a + crown.at[0], b + crown.at[1]
    clumps = texture.sample(texture.LEAVES, u, v, texel=crown.texel * 2.5, footprint=scale)
    fine = texture.sample(texture.GRAIN, u, v, texel=crown.texel, footprint=scale)
    inside = body + np.float32(0.22) * clumps + np.float32(0.08) * fine > 0.12
    r, c, a, b, u, v = (part[inside] for part in (r, c, a, b, u, v))
    clumps, fine, body = clumps[inside], fine[inside], body[inside]
    at = (r + r0) * view.width + (c + c0)
    low, high = float((discs[:, 1] - discs[:, 2]).min()), float((discs[:, 1] + discs[:, 2]).max())
    lift = (b - low) * np.float32(1.0 / (high - low))
    light = scene.light
    shade = np.clip(0.35 + 0.5 * lift + 0.28 * clumps + 0.25 * fine, 0.08, 2.0) * (0.7 + 0.5 * (1.0 - body))
    sun = np.float32(crown.light) * np.clip(
        0.4 + 0.5 * clumps + a * np.float32(0.15 * light.sun[0]), 0.0, 1.5
    )
    fall = shade[:, None] * np.array(light.ambient, dtype=np.float32) + (sun * lift)[:, None] * np.array(
        light.direct, dtype=np.float32
    ) * np.float32(0.6)
    colours = hazed((np.array(crown.colour, dtype=np.float32) * fall).astype(np.float32), crown.depth, light)
    if crown.density >= 1.0:
        gaps = (clumps + 0.6 * fine < -1.9) & (body < 0.6)
        canvas.put(at[~gaps], colours[~gaps], TREE)
        return
    # Bare twigs: the sky shows through, yet the whole crown is a tree.
    twigs = texture.sample(texture.CRACKS, u, v, texel=crown.texel, footprint=scale)
    finer = texture.sample(texture.CRACKS, v + 7.0, u, texel=crown.texel * 0.5, footprint=scale)
    cover = np.float32(crown.density) * (np.float32(0.4) + twigs + finer)
    cover = np.minimum(cover, np.float32(0.96)) * np.clip(body * 4.0 + 0.5, 0.3, 1.0)
    canvas.label(at, TREE)
    canvas.lay_over(at, colours, cover)
