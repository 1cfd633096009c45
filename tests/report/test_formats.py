"""Do all formats agree on what they show, define and leave out?"""

from __future__ import annotations

import dataclasses
import io
import json as json_module
import re
import subprocess
import sys

import pytest
from rich.console import Console

from smoothseg.certificates.metrics import DEFINITIONS
from smoothseg.report.formats import FORMATS
from smoothseg.report.markup import markdown
from smoothseg.report.records import csv, json
from smoothseg.report.tables import table, text


def test_terminal_shows_seconds_and_files_only_when_asked(grid) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(table(grid()))
    assert "92.7" in out.getvalue()
    for name, form in FORMATS.items():
        assert "92.6" not in form(grid()), name
        assert "92.7" not in form(grid()), name
        assert re.search(r"92\.(7|6912)", form(grid(), timing=True)), name


def test_the_same_rows_measured_again_give_the_same_files(grid) -> None:
    again = [dataclasses.replace(r, seconds=1.5 * r.seconds) for r in grid()]
    for form in FORMATS.values():
        assert form(grid()) == form(again)
        assert form(grid()).endswith("\n")


@pytest.mark.parametrize("metric", ["accuracy", "mean_iou", "abstained"])
@pytest.mark.parametrize("name", ["table", "markdown"])
def test_tables_define_their_numbers(grid, name: str, metric: str) -> None:
    assert DEFINITIONS[metric] in re.sub(r"\s+", " ", FORMATS[name](grid()))


def test_no_rows_are_no_results() -> None:
    assert text([]) == markdown([]) == "No results yet.\n"
    assert csv([]).count("\n") == 1
    assert json_module.loads(json([]))["rows"] == []


def test_reports_import_neither_torch_nor_drawing() -> None:
    code = "import sys, smoothseg.report; print([m for m in ('torch', 'rich', 'PIL', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
