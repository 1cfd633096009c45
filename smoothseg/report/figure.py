"""A figure for a paper: images of a run side by side, a row a method and sigma, at the quality of print.

Letters are vectors, label maps have their full size, and the same run gives the same file.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from smoothseg.certificates import certificate, file
from smoothseg.data.palettes import palette
from smoothseg.errors import ConfigError, DataError, UnknownNameError
from smoothseg.files import write_atomically
from smoothseg.report import previews
from smoothseg.report.pictures import ABSTAINED, IGNORED, colourise
from smoothseg.runs import results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "figure"]

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "smoothseg"},
    "png": {"Software": "smoothseg"},
    "svg": {"Date": None, "Creator": "smoothseg"},
}
"""What a figure can be written as, by suffix, and the metadata it carries: no time, no version."""

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "smoothseg",
    "path.simplify": False,
}

_WIDTH = 6.75
"""Width in inches: that of a page of two columns."""

_GAP = 0.05
_ROW_LABEL = 0.34
_EDGE = 0.01
_TITLE = 0.2
_SWATCH = 0.145

_Tile = tuple[str, npt.NDArray[np.uint8]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Row:
    label: str
    tiles: list[_Tile]


def figure(
    directory: Path,
    key: str,
    output: Path,
    *,
    methods: Sequence[str] = (),
    sigmas: Sequence[float] = (),
    dpi: int = 300,
) -> None:
    """Draw image `key` of the run in `directory` into `output`, a .pdf, .png or .svg.

    A row a method and sigma, all of the run or those given; columns are the input, the ground truth, the plain
    prediction of the clean image, the noisy and the denoised input, and the certified segmentation, as far as the
    run has them. dpi: pixels an inch, of a png and of the pictures in a pdf.

    Raises `ConfigError` for a suffix, image, method or sigma that there is not, `DataError` if `directory` holds no
    run or nothing of it is finished.
    """
    kind = output.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"output {output}: expected a name that ends in .pdf, .png or .svg")
    identity = results.read_identity(directory)
    if key not in identity["images"]:
        raise UnknownNameError.of("image", key, identity["images"])
    plan = identity["plan"]
    wanted = _subset("method", methods, [str(method["name"]) for method in plan["methods"]])
    levels = _subset("sigma", sigmas, [float(sigma) for sigma in plan["sigma"]])
    entries = results.entries(directory, identity)
    colours, ignore = previews.read_legend(directory)
    rows: list[_Row] = []
    seen: dict[str, tuple[int, int, int]] = {}
    for method in wanted:
        classes = identity["classes"][method]
        own = colours if colours is not None and len(colours) == len(classes) else list(palette(len(classes)))
        for sigma in levels:
            entry = entries.get((method, sigma), {}).get(key)
            if entry is None:
                continue
            made = file.load(directory / entry["certificate"])
            labels = previews.read_labels(directory, key)
            rows.append(_row(directory, key, entry, made, labels, own, ignore, alone=len(wanted) == 1))
            seen |= _seen(made, labels, classes, own, ignore)
    if not rows:
        raise DataError(f"{directory} has no certificate of image {key} yet")

    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        drawn = _drawn(rows, seen)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=kind, dpi=dpi, metadata=dict(FORMATS[kind]))
    write_atomically(output, buffer.getvalue())


def _subset(what: str, given: Sequence[Any], known: Sequence[Any]) -> list[Any]:
    for each in given:
        if each not in known:
            raise UnknownNameError.of(what, str(each), [str(name) for name in known])
    return [each for each in known if not given or each in given]


def _row(
    directory: Path,
    key: str,
    entry: Mapping[str, Any],
    made: certificate.Certificate,
    labels: npt.NDArray[np.uint8] | None,
    colours: Sequence[tuple[int, int, int]],
    ignore: int | None,
    *,
    alone: bool,
) -> _Row:
    sigma, slug = float(entry["sigma"]), str(entry["certificate"]).split("/")[1]
    tiles = []
    for title, path in (
        ("image", previews.image_path(directory, key)),
        ("ground truth", None),
        ("clean prediction", None),
        ("noisy", previews.noisy_path(directory, key, sigma)),
        ("denoised", previews.denoised_path(directory, key, slug, sigma)),
    ):
        if title == "ground truth" and labels is not None:
            tiles.append((title, colourise(labels, colours, ignore=ignore)))
        elif title == "clean prediction" and made.clean is not None:
            tiles.append((title, colourise(made.clean, colours)))
        elif path is not None and path.exists():
            tiles.append((title, _photo(path)))
    tiles.append(("certified", colourise(made.prediction, colours, abstained=~made.certified)))
    reach = f", R {made.radius:.3g}" if np.isfinite(made.radius) else ""
    label = f"σ {sigma:g}{reach}"
    return _Row(label if alone else f"{entry['method']}\n{label}", tiles)


def _photo(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _seen(
    made: certificate.Certificate,
    labels: npt.NDArray[np.uint8] | None,
    classes: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
    ignore: int | None,
) -> dict[str, tuple[int, int, int]]:
    """Return the names and colours that a row shows: classes in their order, then abstained and ignored."""
    shown = {int(c) for c in np.unique(made.prediction[made.certified])}
    for array in (labels, made.clean):
        if array is not None:
            shown |= {int(c) for c in np.unique(array)}
    found = {name: colours[c] for c, name in enumerate(classes) if c in shown}
    if not made.certified.all():
        found["abstained"] = ABSTAINED
    if ignore is not None and labels is not None and (labels == ignore).any():
        found["ignored"] = IGNORED
    return found


def _drawn(rows: Sequence[_Row], seen: Mapping[str, tuple[int, int, int]]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    titles = list(dict.fromkeys(title for row in rows for title, _ in row.tiles))
    height, width = rows[0].tiles[-1][1].shape[:2]
    wide = (_WIDTH - _ROW_LABEL - _EDGE - _GAP * (len(titles) - 1)) / len(titles)
    high = wide * height / width
    last = {"abstained": 1, "ignored": 2}
    legend = sorted(seen.items(), key=lambda item: last.get(item[0], 0))
    across = max(1, int(_WIDTH / (0.4 + 0.055 * max(len(name) for name, _ in legend))))
    foot = 0.08 + _SWATCH * -(-len(legend) // across)
    total = _TITLE + len(rows) * high + (len(rows) - 1) * _GAP + foot
    drawn = Figure(figsize=(_WIDTH, total), facecolor="white")
    longest = max(len(line) for row in rows for line in row.label.split("\n"))
    size = min(6.5, 72 * high / (0.6 * longest))
    for r, row in enumerate(rows):
        tiles = dict(row.tiles)
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
                axes.set_ylabel(_plain(row.label), labelpad=3, fontsize=size)
    handles = [
        Patch(
            facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255),
            edgecolor="0.4",
            linewidth=0.3,
            label=_plain(name),
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
    """Return `text` so that matplotlib takes no dollar sign for mathematics."""
    return text.replace("$", r"\$")
