"""What a street scene consists of, in metres and linear light, before any image size is known.

The frame: x to the right, y up from the road, z ahead; the camera stands at (0, height, 0) and looks along z.
Colours are linear RGB, 1.0 being about a white wall in the open; they are made visible by `Film`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "BINS",
    "BIN_LENGTH",
    "Camera",
    "Clouds",
    "Colour",
    "Crown",
    "Facade",
    "Fence",
    "Film",
    "Floats",
    "Ground",
    "Light",
    "Marking",
    "Part",
    "Point",
    "Scene",
    "Shadow",
    "Skyline",
    "Solid",
    "Street",
    "Thing",
    "Wall",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Colour: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]

BIN_LENGTH: Final = 0.25
"""Metres along the street that one entry of a `Street` table covers."""

BINS: Final = 800

_STRAIGHT_FROM: Final = 110.0


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera whose tilt is a shift of the horizon.

    height: metres above the road.
    focal: focal length over the width of the widest 4:3 frame that covers the image.
    horizon: rows from the middle of the image to the horizon, in units of that frame's height; below is positive.
    roll: slope of the horizon, in rows per column.
    """

    height: float
    focal: float
    horizon: float
    roll: float


@dataclasses.dataclass(frozen=True)
class Clouds:
    """cover: -2 (none) to 2 (closed); texel: size; contrast: brightness against the sky; at: offset."""

    cover: float
    texel: float
    contrast: float
    colour: Colour
    at: Point


@dataclasses.dataclass(frozen=True)
class Light:
    """Sun, sky and air.

    sun: unit vector towards the sun; direct: its light on a surface facing it; ambient: light from the sky.
    zenith, low: colour of the sky above and at the horizon; haze: colour of far air; reach: metres to 1/e.
    """

    sun: tuple[float, float, float]
    direct: Colour
    ambient: Colour
    zenith: Colour
    low: Colour
    haze: Colour
    reach: float
    clouds: Clouds


@dataclasses.dataclass(frozen=True)
class Film:
    """From light to pixels: exposure, colour cast, corner darkening, blur (of the 4:3 width), noise, gamma."""

    exposure: float
    cast: Colour
    vignette: float
    blur: float
    noise: float
    gamma: float
    bonnet: tuple[float, float, float] | None
    bonnet_colour: Colour


@dataclasses.dataclass(frozen=True)
class Street:
    """The course of the street and what lies beside it.

    half: half the carriageway's width; pavements: widths left and right; offset: where the camera drives.
    roofs: (2, BINS) height of what stands at the street's edge, left and right, for shadows.
    beyond: (2, BINS) label of the ground behind the pavement.
    open: (2, BINS) True where the carriageway goes on to the side.
    """

    half: float
    pavements: tuple[float, float]
    offset: float
    heading: float
    bend: float
    roofs: Floats
    beyond: npt.NDArray[np.uint8]
    open: npt.NDArray[np.bool_]

    def centre(self, z: Any) -> Any:
        """Return x of the carriageway's middle at depth `z`: a parabola that runs on straight far away."""
        near = np.minimum(z, _STRAIGHT_FROM)
        return (
            self.heading * z
            - self.offset
            + self.bend * near * (0.5 * near)
            + self.bend * _STRAIGHT_FROM * (z - near)
        )


@dataclasses.dataclass(frozen=True)
class Marking:
    """Paint between two distances from the middle (metres, right positive) and two depths; dash 0: unbroken."""

    left: float
    right: float
    near: float
    far: float
    dash: float
    gap: float
    colour: Colour
    wear: float
    across: float = 0.0


@dataclasses.dataclass(frozen=True)
class Ground:
    """Colours and wear of carriageway, pavement and grass."""

    road: Colour
    road_contrast: float
    cracks: float
    tracks: float
    gloss: float
    pavement: Colour
    pavement_contrast: float
    slab: float
    joint: float
    kerb: float
    grass: Colour
    markings: tuple[Marking, ...]
    patches: tuple[tuple[float, float, float, float, float], ...]
    island: tuple[float, float, float] | None
    at: Point


@dataclasses.dataclass(frozen=True)
class Facade:
    """How a wall looks: base colour, courses, floors of windows, ground floor, roof."""

    colour: Colour
    contrast: float
    course: float
    roof: Colour
    eave: float
    rise: float
    gable: bool
    chimney: float
    ground_floor: float
    floor: float
    bay: float
    window: tuple[float, float]
    glass: Floats
    frame: Colour
    trim: Colour
    shop: bool
    fascia: Colour
    panel: float
    ledge: float
    stain: float
    at: Point


@dataclasses.dataclass(frozen=True)
class Wall:
    """A vertical rectangle from `start` to `end` (x, z) with a facade."""

    depth: float
    start: Point
    end: Point
    facade: Facade


@dataclasses.dataclass(frozen=True)
class Fence:
    """A vertical rectangle of railings, boards, mesh, brick or hedge."""

    depth: float
    start: Point
    end: Point
    height: float
    style: str
    colour: Colour
    pitch: float
    label: int
    at: Point


@dataclasses.dataclass(frozen=True)
class Crown:
    """Leaves or twigs of a tree: discs (x, y, radius) about a position, eaten away by noise."""

    depth: float
    x: float
    discs: tuple[tuple[float, float, float], ...]
    colour: Colour
    density: float
    texel: float
    at: Point
    light: float


@dataclasses.dataclass(frozen=True)
class Part:
    """A flat polygon in space, or with a width a line."""

    label: int
    points: Floats
    colour: Colour
    width: float = 0.0


@dataclasses.dataclass(frozen=True)
class Solid:
    """An object of parts, in the order in which they are painted."""

    depth: float
    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class Shadow:
    """A polygon (n, 2) of x and z on the ground that light misses; strength 0 to 1."""

    points: Floats
    strength: float


@dataclasses.dataclass(frozen=True)
class Skyline:
    """What closes the view: heights of a row of blocks or of treetops at a depth."""

    depth: float
    label: int
    heights: Floats
    cell: float
    rough: float
    colour: Colour
    at: Point


Thing: TypeAlias = Wall | Fence | Crown | Solid | Skyline
"""Whatever stands in a scene; its `depth` orders it among the others, the nearest first."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything the renderer needs, independent of the image's size."""

    camera: Camera
    light: Light
    film: Film
    street: Street
    ground: Ground
    things: tuple[Thing, ...]
    shadows: tuple[Shadow, ...]
