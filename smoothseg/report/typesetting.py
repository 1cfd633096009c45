"""How labelled rows of tiles are typeset for print, by matplotlib.

Letters are vectors, and the same rows give the same bytes.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smoothseg.errors import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "Strip", "typeset"]

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "smoothseg"},
    "png": {"Software": "smoothseg"},
    "svg": {"Date": None, "Creator": "smoothseg"},
}
"""The formats of a figure by suffix, each with the metadata it carries: no time, no version."""

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "smoothseg",
    "path.simplify": False,
}

_LONGEST = 100
"""Characters of a name that are drawn: more do not fit, and each takes its time."""

_WIDTH = 6.75
"""Width in inches: that of a page of two columns."""

_GAP = 0.05
_ROW_LABEL = 0.34
_EDGE = 0.01
_TITLE = 0.2
_SWATCH = 0.145


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """A row of a figure: its label, and its tiles as (title, RGB uint8 (H, W, 3)), the certified one last."""

    label: str
    tiles: Sequence[tuple[str, npt.NDArray[np.uint8]]]


def typeset(
    strips: Sequence[Strip], legend: Mapping[str, tuple[int, int, int]], *, kind: str, dpi: int
) -> bytes:
    """Return the content of a file of `kind`, one of `FORMATS`: a line for each strip, and the legend below.

    legend: name to RGB colour. dpi: pixels per inch, of a png and of the pictures in a pdf.
    """
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        drawn = _drawn(strips, legend)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=kind, dpi=dpi, metadata=dict(FORMATS[kind]))
    return buffer.getvalue()


def _drawn(strips: Sequence[Strip], seen: Mapping[str, tuple[int, int, int]]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    titles = list(dict.fromkeys(title for strip in strips for title, _ in strip.tiles))
    height, width = strips[0].tiles[-1][1].shape[:2]
    wide = (_WIDTH - _ROW_LABEL - _EDGE - _GAP * (len(titles) - 1)) / len(titles)
    high = wide * height / width
    last = {"abstained": 1, "ignored": 2}
    legend = sorted(seen.items(), key=lambda item: last.get(item[0], 0))
    across = max(1, int(_WIDTH / (0.4 + 0.055 * max(len(name) for name, _ in legend))))
    foot = 0.08 + _SWATCH * -(-len(legend) // across)
    total = _TITLE + len(strips) * high + (len(strips) - 1) * _GAP + foot
    drawn = Figure(figsize=(_WIDTH, total), facecolor="white")
    longest = max(len(line) for strip in strips for line in strip.label.split("\n"))
    size = min(6.5, 72 * high / (0.6 * longest))
    for r, strip in enumerate(strips):
        tiles = dict(strip.tiles)
        bottom = total - _TITLE - (r + 1) * high - r * _GAP
        for c, title in enumerate(titles):
            left = _ROW_LABEL + c * (wide + _GAP)
            axes = drawn.add_axes((left / _WIDTH, bottom / total, wide / _WIDTH, high / total))
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(linewidth=0.3, color="0.6")
            if title in tiles:
                map_like = title not in ("image", "denoised")
                axes.imshow(
                    tiles[title],
                    interpolation="none" if map_like else "antialiased",
                    aspect="auto",
                )
            if r == 0:
                axes.set_title(_plain(title), pad=3, fontsize=7)
            if c == 0:
                axes.set_ylabel(_plain(strip.label), labelpad=3, fontsize=size)
    handles = [
        Patch(
            facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255),
            edgecolor="0.4",
            linewidth=0.3,
            label=_plain(visible(name)),
        )
        for name, colour in legend
    ]
    drawn.legend(
        handles=handles,
        loc="lower center",
        ncols=min(across, len(handles)),
        frameon=False,
        borderaxespad=0.1,
        borderpad=0,
        handlelength=1.2,
        handleheight=0.9,
        columnspacing=1.4,
        labelspacing=0.35,
        fontsize=6.5,
    )
    return drawn


def _plain(text: str) -> str:
    """Return `text` so that matplotlib takes no dollar sign for mathematics, and draws every character."""
    return "\n".join(visible(line[:_LONGEST]) for line in text.split("\n")).replace("$", r"\$")
