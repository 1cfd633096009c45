"""How rows of tiles are set on one sheet, with a title, captions and a legend.

The lettering is Pillow's own font, so a sheet does not depend on the fonts of the machine.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Tile", "sheet"]

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BACKGROUND = (246, 246, 243)
_INK = (32, 33, 36)
_FAINT = (95, 99, 104)
_FRAME = (189, 193, 198)

_MARGIN = 24
_GUTTER = 14

_TITLE = 62
_HEADING = 44
_NO_HEADING = 6
_CAPTION = 26
_LEGEND_LINE = 26


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """A picture and what stands below it."""

    caption: str
    picture: Image.Image


def sheet(
    rows: Sequence[Sequence[Tile]],
    headings: Sequence[str],
    *,
    title: str,
    subtitle: str,
    legend: Sequence[tuple[str, tuple[int, int, int]]],
    extent: tuple[int, int],
) -> Image.Image:
    """Return the sheet, RGB: `title` and `subtitle`, the rows of tiles from top to bottom, and the legend.

    headings: what stands above each row; "" for nothing. legend: (name, colour), in the order in which they are shown.
    extent: width and height of every tile's picture, in pixels. Text that is too wide for its place is shortened.
    """
    large, body = ImageFont.load_default(22), ImageFont.load_default(15)
    wide, high = extent
    across = max(len(row) for row in rows)
    inner = max(across * wide + (across - 1) * _GUTTER, 320)
    title, subtitle = _fitted(title, large, inner), _fitted(subtitle, body, inner)
    swatches = _placed(legend, body, inner)
    legend_lines = 1 + max((line for _, line, _, _ in swatches), default=0)

    heights = [(_HEADING if heading else _NO_HEADING) + high + _CAPTION for heading in headings]
    total = _MARGIN + _TITLE + sum(heights) + _GUTTER + legend_lines * _LEGEND_LINE + _MARGIN
    drawn = Image.new("RGB", (inner + 2 * _MARGIN, total), _BACKGROUND)
    draw = ImageDraw.Draw(drawn)
    draw.text((_MARGIN, _MARGIN + 20), title, fill=_INK, font=large, anchor="ls")
    draw.text((_MARGIN, _MARGIN + 45), subtitle, fill=_FAINT, font=body, anchor="ls")

    top = _MARGIN + _TITLE
    for row, heading, height in zip(rows, headings, heights, strict=True):
        y = top + (_HEADING if heading else _NO_HEADING)
        if heading:
            draw.text((_MARGIN, y - 11), _fitted(heading, body, inner), fill=_INK, font=body, anchor="ls")
        for column, tile in enumerate(row):
            x = _MARGIN + column * (wide + _GUTTER)
            # White abstentions at the rim must not run into the background.
            draw.rectangle((x - 1, y - 1, x + wide, y + high), outline=_FRAME)
            drawn.paste(tile.picture, (x, y))
            caption = _fitted(tile.caption, body, wide)
            draw.text((x + wide / 2, y + high + 19), caption, fill=_FAINT, font=body, anchor="ms")
        top += height

    top += _GUTTER
    for x, line, name, colour in swatches:
        left, y = _MARGIN + x, top + line * _LEGEND_LINE
        draw.rectangle((left, y + 3, left + 18, y + 18), fill=colour, outline=_FRAME)
        draw.text((left + 26, y + 16), name, fill=_INK, font=body, anchor="ls")
    return drawn


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
    plain = "".join(c if " " <= c <= "~" or c == "·" else "?" for c in plain if not unicodedata.combining(c))
    if font.getlength(plain) <= width:
        return plain
    fits = bisect.bisect_right(range(len(plain)), width, key=lambda n: font.getlength(plain[:n] + "..."))
    return plain[: max(0, fits - 1)].rstrip() + "..."
