"""How a table looks in plain characters, in a terminal and in a text file.

`text` and `table` have the same lines; only a terminal shows styles.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smoothseg.report.layout import NO_ROWS, Layout, Line, comparable, long, wide
from smoothseg.report.rows import Row

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["table", "text"]

WIDTH = 80
LEAST_LABEL = 14
"""Method names are wrapped, but never into a column narrower than this."""

_PIECE = re.compile(r"[^ +,:/]*[ +,:/]*")
"""A part of a label that stays on one line where possible: a word and the punctuation after it."""

INDENT = "  "

GAPS = (3, 2)
"""Spaces between column groups; the first number that fits is used."""

_Span = tuple[str, str]
"""A piece of a line and its style in the terminal."""


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

    A line for each method and a column group for each sigma where that fits, otherwise a line for each (method, sigma).
    """
    lines = _table_lines(rows, title=title, width=width, timing=timing)
    return "".join("".join(piece for piece, _ in line).rstrip() + "\n" for line in lines)


def _table_lines(rows: Sequence[Row], *, title: str, width: int, timing: bool) -> list[list[_Span]]:
    lines: list[list[_Span]] = []
    if title:
        lines += [[(part, "bold")] for part in textwrap.wrap(title, width)] + [[]]
    if not rows:
        return [*lines, [(NO_ROWS, "")]]
    layout, gap = _fitting(rows, width, timing)
    lines += _drawn(layout, width, gap)
    lines.append([])
    for note in layout.notes:
        lines += [[(part, "dim")] for part in textwrap.wrap(note, width, subsequent_indent="  ")]
    return lines


def _fitting(rows: Sequence[Row], width: int, timing: bool) -> tuple[Layout, int]:
    """Return the wide layout if it fits `width`, otherwise the long one; and the gap between groups."""
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
    """Return `label` in lines of at most `width`, all but the first indented; only words that are too long break."""
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
