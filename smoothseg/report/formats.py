"""Rows as text: a table for the terminal, markdown, csv and json.

Tables are for reading and show percent; csv and json are for computing and hold shares in full precision.
The same rows give the same bytes: measured seconds stay out unless `timing` is true.
"""

from __future__ import annotations

import csv as csv_module
import dataclasses
import io
import itertools
import json as json_module
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from smoothseg.certificates.metrics import DEFINITIONS, Scores
from smoothseg.files import write_atomically
from smoothseg.report.layout import Layout, Line, comparable, long, wide
from smoothseg.report.rows import Row

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["FORMATS", "Format", "csv", "json", "latex", "markdown", "per_class", "table", "text"]

WIDTH = 80
LEAST_LABEL = 14
"""Method names are wrapped, but never into a column narrower than this."""

_PIECE = re.compile(r"[^ +,:/]*[ +,:/]*")
"""What of a label stays on one line where possible: a word and the punctuation after it."""

INDENT = "  "

GAPS = (3, 2)
"""Blanks between column groups, the first that fits."""

_EMPTY = "No results yet."
_SCORES = tuple(f.name for f in dataclasses.fields(Scores) if f.name in DEFINITIONS)
_SETTINGS = ("method", "denoiser", "segmenter", "certifier", "sigma", "radius", "scale", "images")

_Span = tuple[str, str]
"""A piece of a line and its style in the terminal."""


class Format(Protocol):
    """Rows to text that ends in a newline."""

    def __call__(self, rows: Sequence[Row], *, timing: bool = False) -> str:
        """Return `rows` as text; `timing` adds the measured seconds an image."""


def table(rows: Sequence[Row], *, title: str = "", width: int = WIDTH, timing: bool = True) -> RenderableType:
    """Return what rich prints in a terminal of `width` columns: the lines of `text`, with styles.

    The best accuracy and mIoU of each sigma are marked where there are several methods.
    """
    from rich.console import Group
    from rich.text import Text

    return Group(
        *(
            Text.assemble(*line, no_wrap=True, overflow="ignore")
            for line in _table_lines(rows, title=title, width=width, timing=timing)
        )
    )


def text(rows: Sequence[Row], *, timing: bool = False, title: str = "", width: int = WIDTH) -> str:
    """Return a table of plain characters, at most `width` wide if `width` leaves room for the numbers.

    A line a method and a column group a sigma where that fits, otherwise a line a (method, sigma).
    """
    lines = _table_lines(rows, title=title, width=width, timing=timing)
    return "".join("".join(piece for piece, _ in line).rstrip() + "\n" for line in lines)


def markdown(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return a markdown table with its footnotes as a list; the best of each sigma is bold."""
    if not rows:
        return _EMPTY + "\n"
    layout = wide(rows, timing=timing) if comparable(rows) else long(rows, timing=timing)
    head = ["method"]
    for group in layout.groups:
        head += ["<br>".join((*group.heading, column)) for column in group.columns]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for line in layout.lines:
        cells = (f"**{cell.text}**" if cell.best else cell.text for cell in line.cells)
        lines.append([line.label.replace("|", r"\|"), *cells])
    notes = [*layout.notes]
    if any(cell.best for line in layout.lines for cell in line.cells):
        notes.append("bold: the best accuracy and mIoU at this σ.")
    return (
        "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + "\n"
        + "".join(f"- {note}\n" for note in notes)
    )


def csv(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return one record a row, shares in 0..1 in full precision, an empty field where there is no number."""
    header = [*_SETTINGS, "labelled_pixels", *_SCORES, "clean_accuracy", "clean_mean_iou"]
    if timing:
        header.append("seconds")
    records = []
    for row in rows:
        values = {name: getattr(row, name) for name in (*_SETTINGS, "seconds")}
        if row.certified is not None:
            values |= {name: getattr(row.certified, name) for name in ("labelled_pixels", *_SCORES)}
        if row.clean is not None:
            values |= {"clean_accuracy": row.clean.accuracy, "clean_mean_iou": row.clean.mean_iou}
        records.append(values)
    return _records(header, records)


def per_class(rows: Sequence[Row]) -> str:
    """Return csv with one record a row and class: the class's labelled pixels, IoU and shares."""
    shares = ("pixels", "iou", "certified_correct", "certified_wrong", "abstained")
    records = []
    for row in rows:
        clean = {one.name: one for one in row.clean.per_class} if row.clean else {}
        for one in row.certified.per_class if row.certified else ():
            values = {name: getattr(row, name) for name in _SETTINGS}
            values |= {"class": one.name} | {name: getattr(one, name) for name in shares}
            if one.name in clean:
                plain = clean[one.name]
                values |= {"clean_iou": plain.iou, "clean_correct": plain.certified_correct}
            records.append(values)
    return _records([*_SETTINGS, "class", *shares, "clean_iou", "clean_correct"], records)


def json(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return an object with the metrics' `definitions` and the `rows`, each with its per-class scores."""
    plain = []
    for row in rows:
        value = dataclasses.asdict(row)
        value["radius"] = _finite(row.radius)
        if not timing:
            del value["seconds"]
        plain.append(value)
    document = {"definitions": dict(DEFINITIONS), "rows": plain}
    return json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def latex(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return a LaTeX tabular for booktabs, with its footnotes as comments; the best of each sigma is bold.

    It needs `\\usepackage{booktabs}`; letters that mean something to LaTeX are escaped.
    """
    if not rows:
        return f"% {_EMPTY}\n"
    layout = wide(rows, timing=timing) if comparable(rows) else long(rows, timing=timing)
    spans = [len(group.columns) for group in layout.groups]
    lines = [f"\\begin{{tabular}}{{l{''.join(' ' + 'r' * span for span in spans)}}}", r"\toprule"]
    for level in range(max(len(group.heading) for group in layout.groups)):
        cells = [
            rf"\multicolumn{{{span}}}{{c}}{{{_latex(group.heading[level]) if level < len(group.heading) else ''}}}"
            for group, span in zip(layout.groups, spans, strict=True)
        ]
        lines.append(" & ".join(["", *cells]) + r" \\")
    first, rules = 2, []
    for group, span in zip(layout.groups, spans, strict=True):
        if group.heading:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    if rules:
        lines.append("".join(rules))
    lines.append(
        " & ".join(["method", *(_latex(c) for group in layout.groups for c in group.columns)]) + r" \\"
    )
    lines.append(r"\midrule")
    for line in layout.lines:
        cells = [
            rf"\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text) for cell in line.cells
        ]
        lines.append(" & ".join([_latex(line.label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in layout.notes)]
    return "\n".join(lines) + "\n"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "σ": r"$\sigma$", "τ": r"$\tau$", "α": r"$\alpha$",
        "–": "--",
    }
)  # fmt: skip


def _latex(text: str) -> str:
    return text.translate(_LATEX)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {"table": text, "markdown": markdown, "latex": latex, "csv": csv, "json": json}
)
"""Every text format by the name it has on the command line."""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _records(header: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_finite(record.get(name)) for name in header] for record in records)
    return out.getvalue()


def _table_lines(rows: Sequence[Row], *, title: str, width: int, timing: bool) -> list[list[_Span]]:
    lines: list[list[_Span]] = []
    if title:
        lines += [[(part, "bold")] for part in textwrap.wrap(title, width)] + [[]]
    if not rows:
        return [*lines, [(_EMPTY, "")]]
    layout, gap = _fitting(rows, width, timing)
    lines += _drawn(layout, width, gap)
    lines.append([])
    for note in layout.notes:
        lines += [[(part, "dim")] for part in textwrap.wrap(note, width, subsequent_indent="  ")]
    return lines


def _fitting(rows: Sequence[Row], width: int, timing: bool) -> tuple[Layout, int]:
    """Return the layout of the papers' tables if it fits `width`, else the long one; and the gap between groups."""
    layouts = [wide(rows, timing=timing)] if comparable(rows) else []
    layouts.append(long(rows, timing=timing))
    for layout in layouts:
        labels = {line.label for line in layout.lines}
        for gap in GAPS:
            room = width - _numbers_width(layout, gap)
            if all(len(label) <= room or _breaks_well(label, room) for label in labels):
                return layout, gap
    return layouts[-1], GAPS[-1]


def _column_widths(layout: Layout) -> list[list[int]]:
    """Return the width of every column, group by group; a group is at least as wide as its heading."""
    widths = []
    first = 0
    for group in layout.groups:
        each = [
            max(len(name), *(len(line.cells[first + i].text) for line in layout.lines))
            for i, name in enumerate(group.columns)
        ]
        each[0] += max(0, max(map(len, group.heading), default=0) - _group_width(each))
        widths.append(each)
        first += len(each)
    return widths


def _group_width(columns: Sequence[int]) -> int:
    return sum(columns) + len(columns) - 1


def _numbers_width(layout: Layout, gap: int) -> int:
    return sum(gap + _group_width(columns) for columns in _column_widths(layout))


def _drawn(layout: Layout, width: int, gap_width: int) -> list[list[_Span]]:
    widths = _column_widths(layout)
    gap = " " * gap_width
    room = max(LEAST_LABEL, width - _numbers_width(layout, gap_width))
    labels = {line.label: _wrapped(line.label, room) for line in layout.lines}
    label_width = max(len("method"), *(len(part) for parts in labels.values() for part in parts))

    depth = max(len(group.heading) for group in layout.groups)
    lines: list[list[_Span]] = []
    for level in range(depth):
        pieces = [" " * label_width]
        for group, columns in zip(layout.groups, widths, strict=True):
            # A heading of one part stands right above its columns.
            part = level - (depth - len(group.heading))
            pieces.append((group.heading[part] if part >= 0 else "").center(_group_width(columns)))
        lines.append([(gap.join(pieces), "bold")])
    names = [
        " ".join(name.rjust(w) for name, w in zip(group.columns, columns, strict=True))
        for group, columns in zip(layout.groups, widths, strict=True)
    ]
    lines.append([(gap.join(["method".ljust(label_width), *names]), "bold")])
    lines.append([(gap.join(["─" * label_width, *("─" * _group_width(w) for w in widths)]), "dim")])

    for label, parts in labels.items():
        drawn = [_cells_of(line, widths, gap) for line in layout.lines if line.label == label]
        # The parts of a wrapped label stand beside the method's lines, and below them if there are more.
        for name, cells in itertools.zip_longest(parts, drawn):
            lines.append([((name or "").ljust(label_width), ""), *(cells or ())])
    return lines


def _cells_of(line: Line, widths: Sequence[Sequence[int]], gap: str) -> list[_Span]:
    cells = iter(line.cells)
    spans: list[_Span] = []
    for columns in widths:
        for i, width in enumerate(columns):
            cell = next(cells)
            spans.append(((" " if i else gap) + " " * (width - len(cell.text)), ""))
            spans.append((cell.text, "bold green" if cell.best else ""))
    return spans


def _breaks_well(label: str, width: int) -> bool:
    pieces = _PIECE.findall(label)
    return width >= LEAST_LABEL and all(len(INDENT + piece.rstrip()) <= width for piece in pieces)


def _wrapped(label: str, width: int) -> list[str]:
    """Return `label` in lines of at most `width`, all but the first indented; only a long word is torn."""
    lines = [""]
    for piece in _PIECE.findall(label):
        if len(lines[-1] + piece.rstrip()) > width and lines[-1].strip():
            lines.append(INDENT)
        while len(lines[-1] + piece.rstrip()) > width:
            room = width - len(lines[-1])
            lines[-1] += piece[:room]
            piece = piece[room:]
            lines.append(INDENT)
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def write_tables(directory: Path, result: Sequence[Row]) -> None:
    """Write the tables of a run, or of several together: metrics.json and .csv, per_class.csv, table.md and .tex."""
    for name, content in (
        ("metrics.json", FORMATS["json"](result)),
        ("metrics.csv", FORMATS["csv"](result)),
        ("per_class.csv", per_class(result)),
        ("table.md", FORMATS["markdown"](result)),
        ("table.tex", FORMATS["latex"](result)),
    ):
        write_atomically(directory / name, content.encode())
