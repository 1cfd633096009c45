"""Which text formats there are, by name, and which of them a run is written in.

Tables are for reading and show percent; csv and json are for computing and hold shares in full precision. The same rows
give the same bytes: measured seconds are left out unless `timing` is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from smoothseg.files import write_atomically
from smoothseg.report.courses import NAME as COURSES
from smoothseg.report.markup import latex, markdown
from smoothseg.report.records import csv, json, per_class
from smoothseg.report.rows import Row
from smoothseg.report.tables import text

__all__ = ["FORMATS", "Format", "write_tables"]


class Format(Protocol):
    """Turns rows into text that ends in a newline."""

    def __call__(self, rows: Sequence[Row], *, timing: bool = False) -> str:
        """Return `rows` as text; `timing` adds the measured seconds per image."""


FORMATS: Mapping[str, Format] = MappingProxyType(
    {"table": text, "markdown": markdown, "latex": latex, "csv": csv, "json": json}
)
"""Every text format by the name it has on the command line."""


def write_tables(directory: Path, result: Sequence[Row], *, courses: str | None = None) -> None:
    """Write the tables of a run, or of several together: metrics.json and .csv, per_class.csv, table.md and .tex.

    courses: the content of samples.csv, where there is one.
    """
    for name, content in (
        *(() if courses is None else ((COURSES, courses),)),
        ("metrics.json", FORMATS["json"](result)),
        ("metrics.csv", FORMATS["csv"](result)),
        ("per_class.csv", per_class(result)),
        ("table.md", FORMATS["markdown"](result)),
        ("table.tex", FORMATS["latex"](result)),
    ):
        write_atomically(directory / name, content.encode("utf-8", "backslashreplace"))
