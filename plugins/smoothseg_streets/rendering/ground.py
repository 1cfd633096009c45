"""How carriageway, pavement, grass, their markings and the shadows on them are drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from smoothseg_streets import texture
from smoothseg_streets.labels import PAVEMENT, ROAD, TREE
from smoothseg_streets.rendering.air import sunlit
from smoothseg_streets.rendering.canvas import Canvas
from smoothseg_streets.rendering.view import FARTHEST, SAMPLES, View
from smoothseg_streets.scene import BIN_LENGTH, BINS, Floats, Scene

__all__ = ["render_ground"]


def render_ground(canvas: Canvas, view: View, scene: Scene) -> None:
    """Draw the ground, which everything above it has been drawn before."""
    row0 = max(int(np.ceil(view.horizon.min())), 0) // SAMPLES * SAMPLES
    if row0 >= view.height:
        return
    # What varies smoothly is worked out once a pixel, and only what has edges at every sample: in bands, which
    # fit the processor's cache.
    surface = _Surface.of(view, scene, row0)
    band = max(16384 // view.width, 1) * SAMPLES
    for first in range(row0, view.height, band):
        _ground_band(
            canvas, view, scene, surface, row0=row0, first=first, last=min(first + band, view.height)
        )


def _ground_band(
    canvas: Canvas, view: View, scene: Scene, surface: _Surface, *, row0: int, first: int, last: int
) -> None:
    """Draw the ground in the sample rows from `first` to `last`; `surface` begins at `row0`."""
    rows = np.arange(first, last, dtype=np.float32)[:, None]
    r, c = np.nonzero((rows > view.horizon + 0.5) & canvas.colour_open[first:last])
    if r.size == 0:
        return
    r += first
    street, ground = scene.street, scene.ground
    at = r * view.width + c
    z = np.float32(view.eye * view.focal) / (r.astype(np.float32) - view.horizon[c])
    z = np.minimum(z, np.float32(FARTHEST))
    u = z * view.directions[c] - street.centre(z)
    right = u > 0
    bins = np.minimum(z * np.float32(1 / BIN_LENGTH), BINS - 1).astype(np.int32)
    from_edge = np.abs(u) - np.float32(street.half)
    side = right * np.int32(BINS) + bins
    width = np.where(right, np.float32(street.pavements[1]), np.float32(street.pavements[0]))
    labels = np.where(from_edge > width, street.beyond.reshape(-1)[side], np.uint8(PAVEMENT))
    labels[(from_edge <= 0.0) | street.open.reshape(-1)[side]] = ROAD
    if ground.island is not None:
        near, far, half = ground.island
        middle = (near + far) / 2
        labels[(u / half) ** 2 + ((z - middle) / (far - middle)) ** 2 < 1.0] = PAVEMENT
    road = labels == ROAD

    pixel = ((r - row0) // SAMPLES) * (view.width // SAMPLES) + c // SAMPLES
    rough = surface.rough[pixel]
    tone = np.where(road, surface.road[pixel], surface.pavement[pixel])
    tone[~road & (from_edge < 0.16) & (from_edge > 0.0)] *= np.float32(ground.kerb)
    for left, near, wide, long, gain in ground.patches:
        tone[road & (np.abs(u - left) < wide) & (np.abs(z - near) < long)] *= np.float32(gain)
    tone = np.clip(tone, 0.15, 2.5)
    table = np.zeros((12, 3), dtype=np.float32)
    table[ROAD], table[PAVEMENT], table[TREE] = ground.road, ground.pavement, ground.grass
    albedo = table[labels] * tone[:, None]
    grass = np.flatnonzero(labels == TREE)
    if grass.size:
        s, t, footprint = u[grass] + ground.at[0], z[grass] + ground.at[1], surface.footprint[pixel[grass]]
        blades = texture.sample(texture.LEAVES, s, t, texel=0.05, footprint=footprint)
        blades = blades + texture.sample(texture.BLOTCHES, s, t, texel=0.3, footprint=footprint)
        albedo[grass] *= np.clip(1.0 + 0.28 * blades, 0.2, 2.0)[:, None]
    for mark in ground.markings:
        place = np.flatnonzero(road & (u > mark.left) & (u < mark.right) & (z > mark.near) & (z < mark.far))
        if mark.dash:
            place = place[np.mod(z[place] + mark.near, mark.dash + mark.gap) < mark.dash]
        if mark.across:
            place = place[np.mod(u[place], 2 * mark.across) < mark.across]
        worn = 1.0 - np.clip(mark.wear + 0.25 * rough[place], 0.0, 1.0)
        albedo[place] += (np.array(mark.colour, dtype=np.float32) - albedo[place]) * worn[:, None]
    colours = np.maximum(albedo, np.float32(0.01)) * surface.fall[pixel]
    if ground.gloss:
        shine = np.where(road, surface.shine[pixel], np.float32(0.0))
        colours += shine[:, None] * np.array(scene.light.low, dtype=np.float32)
    haze = np.array(scene.light.haze, dtype=np.float32)
    canvas.put(at, haze + (colours - haze) * surface.clear[pixel][:, None], labels)


@dataclasses.dataclass(frozen=True)
class _Surface:
    """What varies smoothly over the ground, flat, one entry a pixel from the horizon's row down.

    rough: noise about 0; road, pavement: tone about 1; fall: light (n, 3); shine: mirrored share of the sky;
    clear: share of light that haze lets through; footprint: metres a sample covers.
    """

    rough: Floats
    road: Floats
    pavement: Floats
    fall: Floats
    shine: Floats
    clear: Floats
    footprint: Floats

    @classmethod
    def of(cls, view: View, scene: Scene, row0: int) -> _Surface:
        """Return the surface seen from sample row `row0` down."""
        street, ground, light = scene.street, scene.ground, scene.light
        rows = np.arange(row0 + 0.5, view.height, SAMPLES, dtype=np.float32)[:, None]
        below = np.maximum(rows - view.horizon[::SAMPLES], np.float32(0.5))
        z = np.minimum(np.float32(view.eye * view.focal) / below, np.float32(FARTHEST))
        x = z * view.directions[::SAMPLES]
        u = x - street.centre(z)
        footprint = z * np.sqrt(z) * np.float32(1.0 / (view.focal * view.eye**0.5))
        s, t = u + ground.at[0], z + ground.at[1]
        fine = texture.sample(texture.GRAIN, s, t, texel=0.03, footprint=footprint)
        broad = texture.sample(texture.BLOTCHES, s, t * 0.4, texel=0.12, footprint=footprint)
        rough = np.float32(0.6) * fine + broad
        road = 1.0 + np.float32(ground.road_contrast) * rough
        road += np.float32(ground.tracks) * np.cos(u * np.float32(2 * np.pi / 1.6))
        pavement = 1.0 + np.float32(ground.pavement_contrast) * rough
        if ground.cracks:
            cracks = texture.sample(texture.CRACKS, s, t, texel=0.07, footprint=footprint)
            road -= np.float32(ground.cracks) * cracks
            pavement -= np.float32(0.5 * ground.cracks) * cracks
        if ground.joint:
            fade = np.clip(1.4 - footprint * np.float32(2.0 / ground.slab), 0.0, 1.0)
            across, ahead = s * np.float32(1 / ground.slab), t * np.float32(1 / ground.slab)
            thin = 0.05 / ground.slab
            joints = (across - np.floor(across) < thin) | (ahead - np.floor(ahead) < thin)
            pavement -= np.float32(ground.joint) * fade * joints
        shaded, occluded = _shadow_maps(view, scene, row0)
        sun = (1.0 - shaded) * sunlit(street, light, x, np.float32(0.0), z)
        # Light from the sky is held off beside walls.
        width = np.where(u > 0, np.float32(street.pavements[1]), np.float32(street.pavements[0]))
        free = np.clip((width + np.float32(street.half) - np.abs(u)) * np.float32(0.3), 0.0, 1.0)
        open_sky = (np.float32(0.72) + np.float32(0.28) * free) * (1.0 - occluded)
        fall = open_sky[..., None] * np.array(light.ambient, dtype=np.float32)
        fall += (sun * np.float32(light.sun[1]))[..., None] * np.array(light.direct, dtype=np.float32)
        graze = np.clip(z * np.float32(0.03), 0.0, 1.0) * np.clip(1.0 + 0.5 * broad, 0.0, 2.0)
        return cls(
            rough=rough.ravel(),
            road=road.ravel(),
            pavement=pavement.ravel(),
            fall=fall.reshape(-1, 3),
            shine=(np.float32(ground.gloss) * graze * (1.0 - occluded)).ravel(),
            clear=np.exp(z * np.float32(-1.0 / light.reach)).ravel(),
            footprint=footprint.ravel(),
        )


def _shadow_maps(view: View, scene: Scene, row0: int) -> tuple[Floats, Floats]:
    """Return, a pixel an entry from sample row `row0`, how much of the sun and of the sky things hold off."""
    size = (view.width // SAMPLES, (view.height - row0) // SAMPLES)
    cast, contact = Image.new("L", size, 0), Image.new("L", size, 0)
    pens = ImageDraw.Draw(cast), ImageDraw.Draw(contact)
    counts = [len(shadow.points) for shadow in scene.shadows]
    if counts:
        corners = np.concatenate([shadow.points for shadow in scene.shadows])
        raised = np.stack([corners[:, 0], np.zeros(len(corners)), np.maximum(corners[:, 1], 0.8)], axis=1)
        flat = (view.project(raised.astype(np.float32)) - np.array([0.0, row0])) * (1.0 / SAMPLES)
        begin = 0
        for shadow, count in zip(scene.shadows, counts, strict=True):
            pen = pens[0] if shadow.strength >= 0 else pens[1]
            pen.polygon(flat[begin : begin + count].ravel().tolist(), fill=int(abs(shadow.strength) * 255))
            begin += count
    soft = max(view.frame / 512.0, 0.5)
    factor = np.float32(1 / 255.0)
    maps = []
    for image, sigma in ((cast, 0.6 * soft), (contact, 1.6 * soft)):
        blurred = ndimage.gaussian_filter(np.asarray(image, dtype=np.float32), sigma, truncate=2.0)
        maps.append(blurred * factor)
    return maps[0], maps[1]
