"""What a certified segmentation looks like: labels in colours, and one picture an image with captions and legend.

The lettering is Pillow's own font, so a picture does not depend on the fonts of the machine.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["ABSTAINED", "IGNORED", "TILE", "View", "colourise", "extent_of", "panel"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]
Palette: TypeAlias = Sequence[tuple[int, int, int]]
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

ABSTAINED = (255, 255, 255)
"""The colour of abstained pixels."""

IGNORED = (0, 0, 0)
"""The colour of pixels that metrics leave out."""

_BACKGROUND = (246, 246, 243)
_INK = (32, 33, 36)
_FAINT = (95, 99, 104)
_FRAME = (189, 193, 198)

_MARGIN = 24
_GUTTER = 14
TILE = 480
"""Longest side of a tile."""

_SIDE = 256
"""A tile whose longer side is below this is enlarged by a whole factor."""

_IN_ONE_ROW = 4
"""Tiles of a single view that still go into one row."""

_TITLE = 62
_HEADING = 44
_NO_HEADING = 6
_CAPTION = 26
_LEGEND_LINE = 26


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


@dataclasses.dataclass(frozen=True, eq=False)
class _Tile:
    caption: str
    picture: Image.Image


def colourise(
    labels: LabelMap,
    palette: Palette,
    *,
    abstained: npt.NDArray[np.bool_] | None = None,
    ignore: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Return a label map as RGB, uint8 (H, W, 3).

    labels: (H, W) class indices, or `ignore`, which becomes black. palette: an RGB colour a class.
    abstained: bool (H, W), the pixels that become white.

    Raises `ValueError` for a label without a colour.
    """
    wrong = (labels < 0) | (labels >= len(palette))
    if ignore is not None:
        wrong &= labels != ignore
    if wrong.any():
        raise ValueError(f"expected labels 0..{len(palette) - 1}, got {labels[wrong].flat[0]}")
    if abstained is not None and abstained.shape != labels.shape:
        raise ValueError(f"abstained: expected shape {labels.shape}, got {abstained.shape}")
    colours = np.array([*palette, IGNORED], dtype=np.uint8)
    index = labels.astype(np.int64)
    if ignore is not None:
        index[labels == ignore] = len(palette)
    coloured = colours[index]
    if abstained is not None:
        coloured[abstained] = ABSTAINED
    return coloured


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

    views: one or more, a row of tiles each (noisy input, denoised, certified) under its sigma, radius and share
    of abstained pixels. key, method: the title. classes, palette: a name and an RGB colour a class; the
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

    compared: list[_Tile] = []
    if image is not None:
        compared.append(_Tile("input", _photo(image, extent, Image.Resampling.LANCZOS)))
    if clean is not None:
        compared.append(_Tile("clean prediction", _map(colourise(clean, palette), extent)))
    if labels is not None:
        compared.append(_Tile("ground truth", _map(colourise(labels, palette, ignore=ignore), extent)))
    rows = [_tiles(view, palette, extent) for view in views]
    headings = [_heading(view) for view in views]
    if len(rows) == 1 and len(rows[0]) + len(compared) <= _IN_ONE_ROW:
        # The two to compare, ground truth and certified, stand side by side.
        rows = [[*compared[: -1 if labels is not None else None], *rows[0]]]
        if labels is not None:
            rows[0].insert(-1, compared[-1])
    elif compared:
        rows.insert(0, compared)
        headings.insert(0, "")
    return _drawn(
        rows, headings, key, method, _legend(views, labels, clean, classes, palette, ignore), extent
    )


def _tiles(view: View, palette: Palette, extent: tuple[int, int]) -> list[_Tile]:
    tiles = []
    if view.noisy is not None:
        # Averaging would show less noise than the network gets: a reduced tile keeps pixels as they are.
        tiles.append(_Tile("noisy input", _photo(view.noisy, extent, Image.Resampling.NEAREST)))
    if view.denoised is not None:
        tiles.append(
            _Tile("denoised: the segmenter's input", _photo(view.denoised, extent, Image.Resampling.LANCZOS))
        )
    certified = colourise(view.prediction, palette, abstained=~view.certified)
    tiles.append(_Tile("certified", _map(certified, extent)))
    return tiles


def _heading(view: View) -> str:
    parts = [f"sigma {view.sigma:g}"]
    if view.radius is not None and not math.isnan(view.radius):
        parts.append(f"radius {view.radius:.3g}")
    parts.append(f"{100 * (1 - float(view.certified.mean())):.1f}% abstained")
    return "  ·  ".join(parts)


def _legend(
    views: Sequence[View],
    labels: LabelMap | None,
    clean: LabelMap | None,
    classes: Sequence[str],
    palette: Palette,
    ignore: int | None,
) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the names and colours that can be seen in the picture: classes, then abstained and ignored."""
    shown = [view.prediction[view.certified] for view in views]
    shown += [array.ravel() for array in (labels, clean) if array is not None]
    seen = {int(c) for array in shown for c in np.unique(array)}
    entries = [(name, palette[c]) for c, name in enumerate(classes) if c in seen]
    if not all(view.certified.all() for view in views):
        entries.append(("abstained", ABSTAINED))
    if labels is not None and ignore is not None and (labels == ignore).any():
        entries.append(("ignored", IGNORED))
    return entries


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


def _drawn(
    rows: Sequence[Sequence[_Tile]],
    headings: Sequence[str],
    key: str,
    method: str,
    legend: Sequence[tuple[str, tuple[int, int, int]]],
    extent: tuple[int, int],
) -> Image.Image:
    title, body = ImageFont.load_default(22), ImageFont.load_default(15)
    wide, high = extent
    across = max(len(row) for row in rows)
    inner = max(across * wide + (across - 1) * _GUTTER, 320)
    key, method = _fitted(key, title, inner), _fitted(method, body, inner)
    swatches = _placed(legend, body, inner)
    legend_lines = 1 + max((line for _, line, _, _ in swatches), default=0)

    heights = [(_HEADING if heading else _NO_HEADING) + high + _CAPTION for heading in headings]
    total = _MARGIN + _TITLE + sum(heights) + _GUTTER + legend_lines * _LEGEND_LINE + _MARGIN
    sheet = Image.new("RGB", (inner + 2 * _MARGIN, total), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN + 20), key, fill=_INK, font=title, anchor="ls")
    draw.text((_MARGIN, _MARGIN + 45), method, fill=_FAINT, font=body, anchor="ls")

    top = _MARGIN + _TITLE
    for row, heading, height in zip(rows, headings, heights, strict=True):
        y = top + (_HEADING if heading else _NO_HEADING)
        if heading:
            draw.text((_MARGIN, y - 11), _fitted(heading, body, inner), fill=_INK, font=body, anchor="ls")
        for column, tile in enumerate(row):
            x = _MARGIN + column * (wide + _GUTTER)
            # White abstentions at the rim must not run into the background.
            draw.rectangle((x - 1, y - 1, x + wide, y + high), outline=_FRAME)
            sheet.paste(tile.picture, (x, y))
            caption = _fitted(tile.caption, body, wide)
            draw.text((x + wide / 2, y + high + 19), caption, fill=_FAINT, font=body, anchor="ms")
        top += height

    top += _GUTTER
    for x, line, name, colour in swatches:
        left, y = _MARGIN + x, top + line * _LEGEND_LINE
        draw.rectangle((left, y + 3, left + 18, y + 18), fill=colour, outline=_FRAME)
        draw.text((left + 26, y + 16), name, fill=_INK, font=body, anchor="ls")
    return sheet


def _placed(
    legend: Sequence[tuple[str, tuple[int, int, int]]], font: Font, width: int
) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Return each legend entry as (x, line, name, colour), flowing over lines of `width`."""
    placed = []
    x = line = 0
    for name, colour in legend:
        name = _fitted(name, font, width - 26)
        needed = 26 + math.ceil(font.getlength(name))
        if x and x + needed > width:
            x, line = 0, line + 1
        placed.append((x, line, name, colour))
        x += needed + 22
    return placed


def _fitted(text: str, font: Font, width: float) -> str:
    """Return `text` in letters the font has, shortened to `width`."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c if c.isascii() or c == "·" else "?" for c in plain if not unicodedata.combining(c))
    if font.getlength(plain) <= width:
        return plain
    fits = bisect.bisect_right(range(len(plain)), width, key=lambda n: font.getlength(plain[:n] + "..."))
    return plain[: max(0, fits - 1)].rstrip() + "..."
