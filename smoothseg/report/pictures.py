"""Which tiles show a certified segmentation: one picture for each image, beside what it is compared with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from smoothseg.certificates.rounding import rounded_down
from smoothseg.report.colours import colourise, legend
from smoothseg.report.sheet import Tile, sheet

__all__ = ["TILE", "View", "extent_of", "panel"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]
Palette: TypeAlias = Sequence[tuple[int, int, int]]
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]

TILE = 480
"""Longest side of a tile."""

_SIDE = 256
"""A tile whose longer side is below this is enlarged by a whole factor."""

_IN_ONE_ROW = 4
"""Tiles of a single view that still go into one row."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One certified segmentation of an image: what the picture shows for one sigma.

    prediction: (H, W) class indices. certified: bool (H, W), False where the pixel abstains.
    sigma: standard deviation of the noise, radius: the l2 radius (None or NaN if there is none), both in
    [0, 1] pixel units.
    noisy, denoised: (h, w, 3), uint8 or floats about [0, 1], which are clipped; any size, None to leave it out.
    """

    prediction: LabelMap
    certified: npt.NDArray[np.bool_]
    sigma: float
    radius: float | None
    noisy: Pixels | None = None
    denoised: Pixels | None = None


def panel(
    views: Sequence[View],
    *,
    key: str,
    method: str,
    classes: Sequence[str],
    palette: Palette,
    ignore: int | None = None,
    image: Pixels | None = None,
    labels: LabelMap | None = None,
    clean: LabelMap | None = None,
    tile: int = TILE,
) -> Image.Image:
    """Return one picture of an image: its certified segmentations beside what they are compared with.

    views: one or more. Each has a row of tiles (noisy input, denoised, certified) under its sigma, radius and share
    of abstained pixels. key, method: the title. classes, palette: a name and an RGB colour for each class; the
    legend holds those that occur. ignore: the label shown as black.
    image: the input (h, w, 3), labels: the ground truth (H, W), clean: the plain prediction (H, W); they do
    not depend on sigma and share a first row, or the only row if there is a single view and little to show.
    tile: the longest side a tile may have, in pixels of the picture. Small images are enlarged, large ones
    reduced.

    Raises `ValueError` for shapes that do not belong together and for labels without a colour.
    """
    if not views:
        raise ValueError("expected at least one view")
    size = views[0].prediction.shape
    for name, array in (
        *(("prediction", view.prediction) for view in views),
        *(("certified", view.certified) for view in views),
        ("labels", labels),
        ("clean", clean),
    ):
        if array is not None and array.shape != size:
            raise ValueError(f"{name}: expected the prediction's shape {size}, got {array.shape}")
    if len(classes) != len(palette):
        raise ValueError(f"expected a colour a class, got {len(palette)} for {len(classes)}")
    extent = extent_of(size, tile)

    compared: list[Tile] = []
    if image is not None:
        compared.append(Tile("input", _photo(image, extent, Image.Resampling.LANCZOS)))
    if clean is not None:
        compared.append(Tile("clean prediction", _map(colourise(clean, palette), extent)))
    if labels is not None:
        compared.append(Tile("ground truth", _map(colourise(labels, palette, ignore=ignore), extent)))
    rows = [_tiles(view, palette, extent) for view in views]
    headings = [_heading(view) for view in views]
    if len(rows) == 1 and len(rows[0]) + len(compared) <= _IN_ONE_ROW:
        # The two that one compares, ground truth and certified, stand side by side.
        rows = [[*compared[: -1 if labels is not None else None], *rows[0]]]
        if labels is not None:
            rows[0].insert(-1, compared[-1])
    elif compared:
        rows.insert(0, compared)
        headings.insert(0, "")
    seen = legend(
        ((view.prediction, view.certified) for view in views),
        labels,
        clean,
        classes=classes,
        palette=palette,
        ignore=ignore,
    )
    return sheet(rows, headings, title=key, subtitle=method, legend=seen, extent=extent)


def _tiles(view: View, palette: Palette, extent: tuple[int, int]) -> list[Tile]:
    tiles = []
    if view.noisy is not None:
        # Averaging would show less noise than the network gets: a reduced tile keeps pixels as they are.
        tiles.append(Tile("noisy input", _photo(view.noisy, extent, Image.Resampling.NEAREST)))
    if view.denoised is not None:
        tiles.append(
            Tile("denoised: the segmenter's input", _photo(view.denoised, extent, Image.Resampling.LANCZOS))
        )
    certified = colourise(view.prediction, palette, abstained=~view.certified)
    tiles.append(Tile("certified", _map(certified, extent)))
    return tiles


def _heading(view: View) -> str:
    parts = [f"sigma {view.sigma:g}"]
    if view.radius is not None and not math.isnan(view.radius):
        parts.append(f"radius {rounded_down(view.radius)}")
    parts.append(f"{100 * (1 - float(view.certified.mean())):.1f}% abstained")
    return "  ·  ".join(parts)


def extent_of(size: tuple[int, ...], longest: int = TILE) -> tuple[int, int]:
    """Return the width and height of a tile for an image of `size` (H, W)."""
    height, width = size
    longer = max(height, width)
    if longer > longest:
        return max(1, round(width * longest / longer)), max(1, round(height * longest / longer))
    factor = min(math.ceil(_SIDE / longer), longest // longer)
    return width * factor, height * factor


def _photo(array: Pixels, extent: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected an image of shape (H, W, 3), got {array.shape}")
    if array.dtype != np.uint8:
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(array))
    if extent[0] % picture.width == 0 and extent[1] % picture.height == 0:
        resample = Image.Resampling.NEAREST  # pixels enlarged by whole factors stay sharp squares
    return picture.resize(extent, resample)


def _map(coloured: npt.NDArray[np.uint8], extent: tuple[int, int]) -> Image.Image:
    # A mixture of two classes' colours would be a third class.
    return Image.fromarray(coloured).resize(extent, Image.Resampling.NEAREST)
