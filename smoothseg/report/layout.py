"""Which columns and cells a table of rows has, before any format draws it.

The wide layout is that of the papers' tables: a line for each method, a group of columns for each sigma. Whatever
stands side by side must have the same radius and the same number of images. The long layout has a line for each
(method, sigma), with its radius.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from smoothseg.certificates.metrics import DEFINITIONS, INFORMATION, Scores
from smoothseg.certificates.rounding import rounded_down
from smoothseg.errors import one_line, visible
from smoothseg.report.rows import Row

__all__ = ["DASH", "NO_ROWS", "Cell", "Group", "Layout", "Line", "comparable", "long", "wide"]

DASH = "–"
"""Stands where a number is missing."""

NO_ROWS = "No results yet."
"""Stands in place of a table without rows."""

_Identity = tuple[str, str, str, str, float, str]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value as it is shown; `best` if no other method has a better one at this sigma."""

    text: str
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Columns under a common heading, which has a line for each part and may be empty."""

    heading: tuple[str, ...]
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A method's label, and a cell for each column of the layout's groups."""

    label: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A table without its drawing; `notes` are the footnotes."""

    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def comparable(rows: Sequence[Row]) -> bool:
    """Tell whether `wide` can show `rows`: one number of images, one radius a sigma, one clean score a method."""
    radii: dict[float, set[str]] = {}
    clean: dict[_Identity, set[Scores]] = {}
    for row in rows:
        radii.setdefault(row.sigma, set()).add(_number(row.radius))
        if row.clean is not None:
            clean.setdefault(_identity(row), set()).add(row.clean)
    return (
        len({row.images for row in rows}) == 1
        and all(len(values) == 1 for values in radii.values())
        and all(len(values) == 1 for values in clean.values())
    )


def wide(rows: Sequence[Row], *, timing: bool) -> Layout:
    """Return a line for each method, a column group for each sigma; `rows` are `comparable`. `timing` adds seconds."""
    labels = _labels(rows)
    sigmas = sorted({row.sigma for row in rows})
    at = {(_identity(row), row.sigma): row for row in rows}
    radius = {row.sigma: _number(row.radius) for row in rows}
    with_clean = any(row.clean is not None for row in rows)
    timing = timing and any(row.seconds is not None for row in rows)

    columns: list[list[Cell]] = []
    groups: list[Group] = []
    if with_clean:
        groups.append(Group(("clean",), ("acc", "mIoU")))
        plain = [next((r.clean for r in rows if r.clean and _identity(r) == i), None) for i in labels]
        columns += [_cells(_each(plain, "accuracy")), _cells(_each(plain, "mean_iou"))]
    for sigma in sigmas:
        groups.append(Group((f"σ {sigma:g}", f"R {radius[sigma]}"), _columns(rows)))
        found = [at.get((i, sigma)) for i in labels]
        columns += _certified(
            [row.certified if row else None for row in found],
            [_place(row) for row in found],
            informative=_grouped(rows),
        )
    if timing:
        groups.append(Group((), ("s/img",)))
        times = [[r.seconds for r in rows if _identity(r) == i and r.seconds is not None] for i in labels]
        columns.append([Cell(_seconds(sum(each) / len(each) if each else None)) for each in times])
    lines = tuple(
        Line(label, cells) for label, cells in zip(labels.values(), zip(*columns, strict=True), strict=True)
    )
    return Layout(tuple(groups), lines, _notes(rows, with_clean, timing, mean=len(sigmas) > 1))


def long(rows: Sequence[Row], *, timing: bool) -> Layout:
    """Return a line for each (method, sigma), methods together and sigmas ascending. `timing` adds the seconds."""
    labels = _labels(rows)
    place = {identity: i for i, identity in enumerate(labels)}
    rows = sorted(rows, key=lambda row: (place[_identity(row)], row.sigma))
    with_clean = any(row.clean is not None for row in rows)
    timing = timing and any(row.seconds is not None for row in rows)
    with_images = len({row.images for row in rows}) > 1

    groups = [Group((), ("σ", "R"))]
    columns = [[Cell(f"{row.sigma:g}") for row in rows], [Cell(_number(row.radius)) for row in rows]]
    groups.append(Group(("certified",), _columns(rows)))
    columns += _certified(
        [row.certified for row in rows], [_place(row) for row in rows], informative=_grouped(rows)
    )
    if with_clean:
        groups.append(Group(("clean",), ("acc", "mIoU")))
        plain = [row.clean for row in rows]
        columns += [_cells(_each(plain, "accuracy")), _cells(_each(plain, "mean_iou"))]
    if with_images:
        groups.append(Group((), ("images",)))
        columns.append([Cell(str(row.images)) for row in rows])
    if timing:
        groups.append(Group((), ("s/img",)))
        columns.append([Cell(_seconds(row.seconds)) for row in rows])
    lines = tuple(
        Line(labels[_identity(row)], cells)
        for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    )
    return Layout(tuple(groups), lines, _notes(rows, with_clean, timing, mean=False))


def _identity(row: Row) -> _Identity:
    return row.method, row.denoiser, row.segmenter, row.certifier, row.scale, row.noise


def _labels(rows: Sequence[Row]) -> dict[_Identity, str]:
    """Return a label for each method in order of appearance; what differs tells apart methods of one name."""
    seen = {(_identity(row), row.sigma) for row in rows}
    if len(seen) != len(rows):
        raise ValueError("expected one row a method and sigma, got several")
    identities = list(dict.fromkeys(_identity(row) for row in rows))
    labels = {}
    for identity in identities:
        method, denoiser, segmenter, certifier, scale, noise = identity
        namesakes = [other for other in identities if other[0] == method]
        said = (method, denoiser, segmenter, certifier, f"scale {scale:g}", f"{noise} noise")
        differs = [len({other[part] for other in namesakes}) > 1 for part in range(len(said))]
        extra = [text for text, differ in zip(said, differs, strict=True) if differ]
        # a name that is a line of a table stays one, whoever wrote the run
        labels[identity] = one_line(f"{method} ({', '.join(extra)})" if extra else method)
    return labels


_Place = tuple[float, int, tuple[str, ...], int | None]
"""What rows must have in common to be compared: sigma, images, those that failed, and how many pixels may be wrong.

Rows that promise something unknown (None) are compared with none.
"""


def _place(row: Row | None) -> _Place:
    return (0.0, 0, (), None) if row is None else (row.sigma, row.images, row.failed, row.tolerates)


def _grouped(rows: Sequence[Row]) -> bool:
    return any(row.grouped for row in rows)


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return ("acc", "mIoU", "abst", *(("CIG", "cCIG") if _grouped(rows) else ()))


def _certified(
    scores: Sequence[Scores | None], places: Sequence[_Place], *, informative: bool
) -> list[list[Cell]]:
    # The least abstention is not marked: abstaining little while certifying wrong classes is no merit. Nor is the
    # highest accuracy where a group of all classes is always right: there the information gain is marked.
    if informative:
        return [
            _cells(_each(scores, "accuracy")),
            _cells(_each(scores, "mean_iou"), rank_within=places),
            _cells(_each(scores, "abstained")),
            *(_cells(_each(scores, name), rank_within=places) for name in INFORMATION),
        ]
    return [
        _cells(_each(scores, "accuracy"), rank_within=places),
        _cells(_each(scores, "mean_iou"), rank_within=places),
        _cells(_each(scores, "abstained")),
    ]


def _each(scores: Sequence[Scores | None], metric: str) -> list[float | None]:
    return [None if one is None else getattr(one, metric) for one in scores]


def _cells(values: Sequence[float | None], rank_within: Sequence[_Place] | None = None) -> list[Cell]:
    """Return shares as percent; the highest in each value of `rank_within` is marked, and what rounds to it."""
    shown = [DASH if value is None else f"{100 * value:.1f}" for value in values]
    if rank_within is None:
        return [Cell(text) for text in shown]
    best: dict[_Place, str] = {}
    for place in set(rank_within):
        here = [v for v, p in zip(values, rank_within, strict=True) if p == place and v is not None]
        if len(here) > 1 and place[-1] is not None:
            best[place] = f"{100 * max(here):.1f}"
    return [Cell(text, best.get(p) == text) for text, p in zip(shown, rank_within, strict=True)]


def _number(value: float | None) -> str:
    return DASH if value is None or math.isnan(value) else rounded_down(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _notes(rows: Sequence[Row], with_clean: bool, timing: bool, *, mean: bool) -> tuple[str, ...]:
    images = {row.images for row in rows}
    over = f" over {_plural(next(iter(images)))}" if len(images) == 1 else ""
    notes = [
        f"In percent{over}. σ and the l2 radius R: pixel values in 0..1.",
        f"Noise: {_noise(rows)}. R is rounded down."
        + (
            " With gaussian noise certificates can be false."
            if any(r.noise == "gaussian" for r in rows)
            else ""
        ),
        f"acc: {DEFINITIONS['accuracy']}.",
        f"mIoU: {DEFINITIONS['mean_iou']}.",
        f"abst: {DEFINITIONS['abstained']}.",
    ]
    if _grouped(rows):
        notes[2:4] = [
            f"{notes[2][:-1]}, and one certified as a group of classes is correct if its class is in it.",
            f"{notes[3][:-1]}; what is certified as a group is certified as no class.",
        ]
        names = zip(("CIG", "cCIG"), INFORMATION, strict=True)
        notes += [f"{short}: {DEFINITIONS[name]}." for short, name in names]
    notes += _promises(rows)
    notes += _failed(rows)
    notes += _stopped(rows)
    notes += _unfinished(rows)
    if with_clean:
        notes.append("clean: the plain prediction without noise and denoiser, which abstains nowhere.")
    if timing:
        notes.append(f"s/img: measured seconds an image{', mean over σ' if mean else ''}.")
    return tuple(notes)


def _noise(rows: Sequence[Row]) -> str:
    """Return the kind of noise of all rows; where they differ, each kind with its methods."""
    labels = _labels(rows)
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        methods.setdefault(row.noise, {})[labels[_identity(row)]] = None
    if len(methods) == 1:
        return visible(next(iter(methods)))
    return "; ".join(f"{visible(noise)} for {', '.join(found)}" for noise, found in methods.items())


def _promises(rows: Sequence[Row]) -> list[str]:
    """Return a note for each promise that is weaker than that no certified pixel is wrong, or is not known."""
    labels = _labels(rows)
    methods: dict[int | None, dict[str, None]] = {}
    for row in rows:
        if row.tolerates != 0:
            methods.setdefault(row.tolerates, {})[labels[_identity(row)]] = None
    notes = []
    for allowed, names in methods.items():
        said = f"Up to {allowed} certified pixel{'' if allowed == 1 else 's'} of an image may be wrong"
        if allowed is None:
            said = (
                "What is promised is not known here, because the certifier is not installed with its options"
            )
        notes.append(f"{said}: {', '.join(names)}.")
    return notes


def _failed(rows: Sequence[Row]) -> list[str]:
    """Return a note for each number of images that failed, with the methods and sigmas where they did."""
    labels = _labels(rows)
    where: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        if row.failed:
            at = where.setdefault((len(row.failed), row.images + len(row.failed)), [])
            at.append(f"{labels[_identity(row)]} at σ {row.sigma:g}")
    return [
        f"{failed} of {_plural(images)} failed and {'is' if failed == 1 else 'are'} left out: {', '.join(names)}."
        for (failed, images), names in where.items()
    ]


def _stopped(rows: Sequence[Row]) -> list[str]:
    """Return a note on the samples and the reasons of each row whose certifier may stop at any time."""
    labels = _labels(rows)
    notes = []
    for row in rows:
        if row.stopped and row.samples is not None:
            reasons = ", ".join(f"{visible(reason)} {count}" for reason, count in row.stopped)
            notes.append(
                f"{labels[_identity(row)]} at σ {row.sigma:g}: {row.samples:.0f} noise samples an image; "
                f"stopped by {reasons}."
            )
    return notes


def _unfinished(rows: Sequence[Row]) -> list[str]:
    """Return a note if a row lacks images that are still to come, with the smallest number there is so far."""
    open_ = [row for row in rows if row.planned is not None and row.images + len(row.failed) < row.planned]
    if not open_:
        return []
    least = min(open_, key=lambda row: row.images)
    return [f"Unfinished: {least.images} of {_plural(least.planned or 0)} so far."]


def _plural(images: int) -> str:
    return f"{images} image{'' if images == 1 else 's'}"
