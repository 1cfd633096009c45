"""How a scene becomes an image and its labels: front to back, each sample of a pixel seen once.

Every pixel has 2 x 2 samples. Things are drawn from the nearest to the farthest; each takes the samples that are
still open and closes them, so hidden surfaces cost nothing. What can be seen through (railings, twigs) closes a
sample's label but leaves its colour open, and is laid over what lies behind at the end. A pixel's colour is the
mean of its samples; its label is the label of most of them, the rarer class where two are level.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from smoothseg_streets import texture
from smoothseg_streets.labels import (
    BICYCLIST,
    BUILDING,
    CAR,
    FENCE,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    VOID,
)
from smoothseg_streets.scene import (
    BIN_LENGTH,
    BINS,
    Camera,
    Crown,
    Facade,
    Fence,
    Film,
    Floats,
    Light,
    Scene,
    Skyline,
    Solid,
    Street,
    Wall,
)

__all__ = ["render"]

_SAMPLES = 2
_NEAR = 0.4
_FARTHEST = 600.0

# Position of each label in the order that settles ties: thin and rare classes last, which wins.
_ORDER = np.array(
    [SKY, ROAD, BUILDING, PAVEMENT, TREE, VOID, FENCE, CAR, PEDESTRIAN, BICYCLIST, SIGN, POLE], dtype=np.uint8
)
_RANK = np.argsort(_ORDER).astype(np.uint8)


def render(
    scene: Scene, *, height: int, width: int, sensor: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the scene's image, uint8 (height, width, 3), and labels, uint8 (height, width).

    sensor: source of the image noise, the only thing that depends on the size beyond sampling.
    """
    view = _View.of(scene.camera, height=height * _SAMPLES, width=width * _SAMPLES)
    canvas = _Canvas(height * _SAMPLES, width * _SAMPLES)
    _bonnet(canvas, view, scene.film)
    for thing in sorted(scene.things, key=lambda thing: thing.depth):
        match thing:
            case Wall():
                _wall(canvas, view, thing, scene)
            case Fence():
                _fence(canvas, view, thing, scene)
            case Crown():
                _crown(canvas, view, thing, scene)
            case Solid():
                _solid(canvas, view, thing, scene)
            case Skyline():
                _skyline(canvas, view, thing, scene)
    _ground(canvas, view, scene)
    _sky(canvas, view, scene.light)
    canvas.close()
    return _develop(canvas, view, scene.film, sensor), _vote(canvas.labels)


@dataclasses.dataclass(frozen=True)
class _View:
    """The camera at one size: `focal` in samples, `middle` the column straight ahead, a horizon row a column."""

    height: int
    width: int
    frame: float
    eye: float
    focal: float
    slope: float
    directions: Floats
    horizon: Floats

    @classmethod
    def of(cls, camera: Camera, *, height: int, width: int) -> _View:
        frame = max(width, height * 4.0 / 3.0)
        columns = np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)
        focal = camera.focal * frame
        horizon = height / 2 - 0.5 + camera.horizon * frame * 0.75 + camera.roll * columns
        directions = columns / np.float32(focal)
        return cls(height, width, frame, camera.height, focal, camera.roll, directions, horizon)

    def project(self, points: Floats) -> Floats:
        """Return the (n, 2) columns and rows of (n, 3) points ahead of the camera."""
        scale = self.focal / points[:, 2]
        flat = np.empty((len(points), 2), dtype=np.float32)
        np.multiply(points[:, 0], scale, out=flat[:, 0])
        flat[:, 0] += self.width / 2 - 0.5
        flat[:, 1] = (self.eye - points[:, 1]) * scale + flat[:, 0] * self.slope + float(self.horizon[0])
        return flat


class _Canvas:
    """Samples, and which of them are still open."""

    def __init__(self, height: int, width: int) -> None:
        self.width = width
        self.colours = np.zeros((height, width, 3), dtype=np.float32)
        self.labels = np.full((height, width), VOID, dtype=np.uint8)
        self.colour_open = np.ones((height, width), dtype=bool)
        self.label_open = np.ones((height, width), dtype=bool)
        self._over: list[tuple[npt.NDArray[np.intp], Floats, Floats]] = []

    def put(self, at: npt.NDArray[np.intp], colours: Floats, labels: Any) -> None:
        """Close the samples at the flat indices `at`, all of them open, with colours (n, 3) and labels."""
        self.colours.reshape(-1, 3)[at] = colours
        self.colour_open.reshape(-1)[at] = False
        self.label(at, labels)

    def label(self, at: npt.NDArray[np.intp], labels: Any) -> None:
        """Give the samples at `at` their label unless something in front has."""
        unlabelled = self.label_open.reshape(-1)[at]
        chosen = at[unlabelled]
        self.labels.reshape(-1)[chosen] = labels[unlabelled] if isinstance(labels, np.ndarray) else labels
        self.label_open.reshape(-1)[chosen] = False

    def lay_over(self, at: npt.NDArray[np.intp], colours: Floats, cover: Floats) -> None:
        """Remember colours (n, 3) that hide only the share `cover` (n,) of what will lie behind."""
        self._over.append((at, colours, cover[:, None]))

    def close(self) -> None:
        """Lay what can be seen through over what lies behind, the farthest first."""
        flat = self.colours.reshape(-1, 3)
        for at, colours, cover in reversed(self._over):
            flat[at] += (colours - flat[at]) * cover


def _hazed(colours: Floats, z: Any, light: Light) -> Floats:
    clear = np.exp(np.asarray(z, dtype=np.float32) * np.float32(-1.0 / light.reach))
    if clear.ndim:
        clear = clear[:, None]
    haze = np.array(light.haze, dtype=np.float32)
    result: Floats = haze + (colours - haze) * clear
    return result


def _lit(street: Street, light: Light, x: Any, y: Any, z: Any) -> Any:
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


def _bonnet(canvas: _Canvas, view: _View, film: Film) -> None:
    if film.bonnet is None:
        return
    top, arch, lean = film.bonnet
    columns = np.linspace(-1.0, 1.0, view.width, dtype=np.float32)
    edge = (1.0 - top + arch * columns**2 + lean * columns) * view.height
    first = max(int(edge.min()), 0)
    rows = np.arange(first, view.height, dtype=np.float32)[:, None]
    at = np.flatnonzero(rows > edge[None, :]) + first * view.width
    below = (at // view.width - edge[at % view.width]) / view.height
    shade = np.float32(0.5) + np.float32(1.2) * np.exp(below * np.float32(-25.0))
    canvas.put(at, np.array(film.bonnet_colour, dtype=np.float32) * shade[:, None], VOID)


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


def _upright(
    canvas: _Canvas,
    view: _View,
    start: tuple[float, float],
    end: tuple[float, float],
    top: Any,
) -> _Upright | None:
    """Return the open samples of the rectangle, `top(along)` giving its height; None when there are none."""
    dx, dz = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(dx, dz))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (start[0] - view.directions * start[1]) / (view.directions * dz - dx)
    depth = start[1] + share * dz
    columns = np.flatnonzero((share >= 0.0) & (share <= 1.0) & (depth > _NEAR))
    if columns.size == 0:
        return None
    first, last = int(columns[0]), int(columns[-1]) + 1
    share, depth = share[first:last], depth[first:last]
    inside = (share >= 0.0) & (share <= 1.0) & (depth > _NEAR)
    scale = depth / view.focal
    along = share * length
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
        up=up.astype(np.float32),
        z=z,
        x=z * view.directions[c + first],
        step=np.maximum(step, scale)[c].astype(np.float32),
    )


def _facing(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Return the horizontal normal (x, z) of a rectangle on the side of the camera."""
    nx, nz = end[1] - start[1], start[0] - end[0]
    length = float(np.hypot(nx, nz))
    sign = -1.0 if nx * (start[0] + end[0]) + nz * (start[1] + end[1]) > 0 else 1.0
    return sign * nx / length, sign * nz / length


def _upright_light(
    scene: Scene, start: tuple[float, float], end: tuple[float, float], seen: _Upright
) -> Floats:
    """Return the light (n, 3) that falls on an upright's samples."""
    light = scene.light
    nx, nz = _facing(start, end)
    sun = max(nx * light.sun[0] + nz * light.sun[2], 0.0)
    ambient = np.array(light.ambient, dtype=np.float32)
    # The sky that a wall sees grows with height: streets are darker at the foot of their walls.
    openness = np.float32(0.45) + np.float32(0.3) * np.clip(seen.up * np.float32(0.12), 0.0, 1.0)
    result: Floats = openness[:, None] * ambient
    if sun > 0.0:
        lit = _lit(scene.street, light, seen.x + nx * 0.3, seen.up, seen.z)
        lit = np.broadcast_to(lit, seen.z.shape)
        result = result + lit[:, None] * (np.array(light.direct, dtype=np.float32) * np.float32(sun))
    return result


def _wall(canvas: _Canvas, view: _View, wall: Wall, scene: Scene) -> None:
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
    albedo = _facade(facade, seen, length)
    colours = albedo * _upright_light(scene, wall.start, wall.end, seen)
    canvas.put(seen.at, _hazed(colours, seen.z, scene.light), BUILDING)


def _facade(facade: Facade, seen: _Upright, length: float) -> Floats:
    """Return the albedo (n, 3) of a facade's samples."""
    along, up = seen.along, seen.up
    u, v = along + facade.at[0], up + facade.at[1]
    step = seen.step
    rough = texture.sample(texture.GRAIN, u, v, texel=0.06, footprint=step)
    broad = texture.sample(texture.BLOTCHES, u, v, texel=0.3, footprint=step)
    tone = 1.0 + np.float32(facade.contrast) * (np.float32(0.7) * rough + broad)
    if facade.course:
        fade = np.clip(1.5 - step * np.float32(2.5 / facade.course), 0.0, 1.0)
        tone -= 0.22 * fade * (np.mod(up, facade.course) < 0.25 * facade.course)
    # Walls are dirty at the foot and stained below ledges.
    tone *= 1.0 - np.float32(facade.stain) * np.exp(up * np.float32(-0.9))
    tone = np.clip(tone, 0.25, 1.8)
    result = np.array(facade.colour, dtype=np.float32) * tone[:, None]

    if facade.bay:
        lift = up - np.float32(facade.ground_floor)
        bays = max(round(length / facade.bay), 1)
        across = along * np.float32(bays / length)
        bay = np.floor(across)
        level = np.floor(lift * np.float32(1 / facade.floor))
        fx = across - bay - np.float32(0.5)
        fy = lift * np.float32(1 / facade.floor) - level - np.float32(0.52)
        half_x, half_y = facade.window[0] / 2, facade.window[1] / 2
        upper = (lift > 0) & (up < facade.eave - 0.4)
        cell = facade.bay
        coarse = np.clip(1.6 - step * np.float32(2.2 / cell), 0.0, 1.0)
        inside = upper & (np.abs(fx) < half_x) & (np.abs(fy) < half_y)
        share = coarse * inside + (1.0 - coarse) * (upper * np.float32(4 * half_x * half_y))
        pick = (bay * 7 + level * 13 + facade.at[0]).astype(np.int32) % len(facade.glass)
        glass = facade.glass[pick] * (1.0 + np.float32(0.5) * (fy + fx))[:, None]
        frame = 0.06 / facade.bay
        bars = (np.abs(fx) > half_x - frame) | (np.abs(fy) > half_y - 2 * frame) | (np.abs(fx) < 0.5 * frame)
        glass = np.where(
            (bars & (coarse > 0.5))[:, None], np.array(facade.frame, dtype=np.float32) * tone[:, None], glass
        )
        result += (glass - result) * share[:, None]
        sill = upper & (np.abs(fx) < half_x + 0.03) & (fy < -half_y) & (fy > -half_y - 0.05) & (coarse > 0.3)
        result[sill] = np.array(facade.trim, dtype=np.float32) * tone[sill][:, None]
        if facade.ledge:
            ledge = upper & (fy + 0.52 < facade.ledge)
            result[ledge] = np.array(facade.trim, dtype=np.float32) * tone[ledge][:, None]
    if facade.shop:
        street = up < facade.ground_floor
        fascia = street & (up > facade.ground_floor - 0.75)
        shade = 1.0 + 0.25 * texture.sample(texture.LEAVES, u * 1.0, v * 0.5, texel=0.12, footprint=step)
        result[fascia] = np.array(facade.fascia, dtype=np.float32) * shade[fascia][:, None]
        px = along * np.float32(1 / facade.panel)
        pane = px - np.floor(px)
        glazed = street & ~fascia & (up > 0.5) & (pane > 0.06) & (pane < 0.94)
        pick = (np.floor(px) * 5 + facade.at[1]).astype(np.int32) % len(facade.glass)
        inside_shop = 1.0 + 0.6 * texture.sample(texture.LEAVES, u, v, texel=0.1, footprint=step)
        result[glazed] = (facade.glass[pick] * np.clip(inside_shop, 0.2, 2.5)[:, None])[glazed]
    elif facade.bay and facade.ground_floor > 1.0:
        px = along * np.float32(1 / facade.bay)
        pane = px - np.floor(px)
        door = np.mod(np.floor(px), 3) == 1
        low = np.where(door, 0.1, 1.0)
        opening = (up < facade.ground_floor - 0.6) & (up > low) & (np.abs(pane - 0.5) < 0.22)
        dark = np.where(
            door[:, None],
            np.array(facade.fascia, dtype=np.float32),
            facade.glass[(np.floor(px) * 3).astype(np.int32) % len(facade.glass)],
        )
        result[opening] = dark[opening]
    if facade.rise:
        roof = up > facade.eave
        if roof.any():
            tiles = tone[roof]
            tiles = tiles * (1.0 - 0.15 * (np.mod(up[roof], 0.35) < 0.08))
            result[roof] = np.array(facade.roof, dtype=np.float32) * tiles[:, None]
            gutter = roof & (up < facade.eave + 0.15)
            result[gutter] *= np.float32(0.6)
    return np.maximum(result, np.float32(0.008))


def _fence(canvas: _Canvas, view: _View, fence: Fence, scene: Scene) -> None:
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
    colour = np.array(fence.colour, dtype=np.float32)
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
    colours = (colour * tone[:, None]) * _upright_light(scene, fence.start, fence.end, seen)
    colours = _hazed(colours.astype(np.float32), seen.z, scene.light)
    if cover is None:
        canvas.put(seen.at, colours, fence.label)
        return
    canvas.label(seen.at, fence.label)
    shown = cover > 0.02
    canvas.lay_over(seen.at[shown], colours[shown], cover[shown])


def _crown(canvas: _Canvas, view: _View, crown: Crown, scene: Scene) -> None:
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
    colours = _hazed((np.array(crown.colour, dtype=np.float32) * fall).astype(np.float32), crown.depth, light)
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


def _solid(canvas: _Canvas, view: _View, solid: Solid, scene: Scene) -> None:
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
    canvas.put(at, _hazed(colours, solid.depth, scene.light), chosen[:, 3] - np.uint8(1))


def _skyline(canvas: _Canvas, view: _View, line: Skyline, scene: Scene) -> None:
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
    canvas.put(r * view.width + c, _hazed(colours.astype(np.float32), line.depth, scene.light), line.label)


def _ground(canvas: _Canvas, view: _View, scene: Scene) -> None:
    row0 = max(int(np.ceil(view.horizon.min())), 0) // _SAMPLES * _SAMPLES
    if row0 >= view.height:
        return
    # What varies smoothly is worked out once a pixel, and only what has edges at every sample: in bands, which
    # fit the processor's cache.
    surface = _Surface.of(view, scene, row0)
    band = max(16384 // view.width, 1) * _SAMPLES
    for first in range(row0, view.height, band):
        _ground_band(
            canvas, view, scene, surface, row0=row0, first=first, last=min(first + band, view.height)
        )


def _ground_band(
    canvas: _Canvas, view: _View, scene: Scene, surface: _Surface, *, row0: int, first: int, last: int
) -> None:
    rows = np.arange(first, last, dtype=np.float32)[:, None]
    r, c = np.nonzero((rows > view.horizon + 0.5) & canvas.colour_open[first:last])
    if r.size == 0:
        return
    r += first
    street, ground = scene.street, scene.ground
    at = r * view.width + c
    z = np.float32(view.eye * view.focal) / (r.astype(np.float32) - view.horizon[c])
    z = np.minimum(z, np.float32(_FARTHEST))
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

    pixel = ((r - row0) // _SAMPLES) * (view.width // _SAMPLES) + c // _SAMPLES
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
    def of(cls, view: _View, scene: Scene, row0: int) -> _Surface:
        street, ground, light = scene.street, scene.ground, scene.light
        rows = np.arange(row0 + 0.5, view.height, _SAMPLES, dtype=np.float32)[:, None]
        below = np.maximum(rows - view.horizon[::_SAMPLES], np.float32(0.5))
        z = np.minimum(np.float32(view.eye * view.focal) / below, np.float32(_FARTHEST))
        x = z * view.directions[::_SAMPLES]
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
        sunlit = (1.0 - shaded) * _lit(street, light, x, np.float32(0.0), z)
        # Light from the sky is held off beside walls.
        width = np.where(u > 0, np.float32(street.pavements[1]), np.float32(street.pavements[0]))
        free = np.clip((width + np.float32(street.half) - np.abs(u)) * np.float32(0.3), 0.0, 1.0)
        open_sky = (np.float32(0.72) + np.float32(0.28) * free) * (1.0 - occluded)
        fall = open_sky[..., None] * np.array(light.ambient, dtype=np.float32)
        fall += (sunlit * np.float32(light.sun[1]))[..., None] * np.array(light.direct, dtype=np.float32)
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


def _shadow_maps(view: _View, scene: Scene, row0: int) -> tuple[Floats, Floats]:
    """Return, a pixel an entry from sample row `row0`, how much of the sun and of the sky things hold off."""
    size = (view.width // _SAMPLES, (view.height - row0) // _SAMPLES)
    cast, contact = Image.new("L", size, 0), Image.new("L", size, 0)
    pens = ImageDraw.Draw(cast), ImageDraw.Draw(contact)
    counts = [len(shadow.points) for shadow in scene.shadows]
    if counts:
        corners = np.concatenate([shadow.points for shadow in scene.shadows])
        raised = np.stack([corners[:, 0], np.zeros(len(corners)), np.maximum(corners[:, 1], 0.8)], axis=1)
        flat = (view.project(raised.astype(np.float32)) - np.array([0.0, row0])) * (1.0 / _SAMPLES)
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


def _sky(canvas: _Canvas, view: _View, light: Light) -> None:
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


def _develop(canvas: _Canvas, view: _View, film: Film, sensor: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image: the mean of each pixel's samples, through lens, exposure, sensor and gamma."""
    samples = canvas.colours
    image = (
        samples[0::2, 0::2] + samples[1::2, 0::2] + samples[0::2, 1::2] + samples[1::2, 1::2]
    ) * np.float32(0.25 * film.exposure)
    # What is brighter than the film can show is clipped before the lens spreads it too far.
    np.minimum(image, np.float32(1.6), out=image)
    sigma = film.blur * view.frame / _SAMPLES
    if sigma > 0.25:
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0.0), truncate=2.5)
    height, width = image.shape[:2]
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    corner = 1.0 - np.float32(film.vignette) * (x * x + y * y) * np.float32(0.5)
    image *= corner[:, :, None] * np.array(film.cast, dtype=np.float32)
    np.clip(image, 0.0, 1.0, out=image)
    image **= np.float32(film.gamma)
    grain = sensor.standard_normal(image.shape, dtype=np.float32)
    image += grain * np.float32(film.noise)
    return np.asarray(np.clip(image * 255.0 + 0.5, 0.0, 255.0), dtype=np.uint8)


def _vote(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the label most of each pixel's 2 x 2 samples have, the one later in `_ORDER` on a tie."""
    ranks = _RANK[labels]
    a, b, c, d = ranks[0::2, 0::2], ranks[0::2, 1::2], ranks[1::2, 0::2], ranks[1::2, 1::2]
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    lowest, highest = np.minimum(a, c), np.maximum(b, d)
    p, q = np.maximum(a, c), np.minimum(b, d)
    lower, upper = np.minimum(p, q), np.maximum(p, q)
    winner = np.where(
        lower == upper, lower, np.where(upper == highest, highest, np.where(lowest == lower, lowest, highest))
    )
    return _ORDER[winner]
