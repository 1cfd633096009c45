"""Does a table in markdown show every number in its place and mark the best?"""

from __future__ import annotations

import dataclasses
import re
from itertools import chain

from smoothseg.report import Row
from smoothseg.report.markup import latex, markdown


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(rows: list[Row]) -> list[list[str]]:
    return [[percent(getattr(r.certified, m)) for m in ("accuracy", "mean_iou", "abstained")] for r in rows]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_methods_of_one_name_are_told_apart_by_what_differs(row, scores) -> None:
    rows = [row("hrnet", 0.25, scores(0.8, 0.5, 0.1), scale=scale) for scale in (0.25, 0.5)]
    assert [cells_of(line)[0] for line in markdown(rows).splitlines()[2:4]] == [
        "hrnet (scale 0.25)",
        "hrnet (scale 0.5)",
    ]


def test_tables_say_the_kind_of_noise_and_whose_it_is_where_they_differ(row, scores) -> None:
    alike = [row(name, 0.25, scores(0.8, 0.5, 0.1)) for name in ("a", "b")]
    mixed = [*alike, row("c", 0.25, scores(0.7, 0.5, 0.1), noise="gaussian")]
    namesakes = [alike[0], dataclasses.replace(alike[0], noise="gaussian")]
    assert "- Noise: lattice. R is rounded down.\n" in markdown(alike)
    assert "% Noise: lattice. R is rounded down.\n" in latex(alike)
    assert "- Noise: lattice for a, b; gaussian for c. R is rounded down. With gaussian noise" in markdown(
        mixed
    )
    assert [line.split(" | ")[0] for line in markdown(mixed).splitlines()[2:5]] == ["| a", "| b", "| c"]
    assert [line.split(" | ")[0] for line in markdown(namesakes).splitlines()[2:4]] == [
        "| a (lattice noise)",
        "| a (gaussian noise)",
    ]


def test_best_of_each_sigma_is_bold_and_least_abstention_is_not(row, scores) -> None:
    rows = [
        row("a", 0.25, scores(0.6, 0.3, 0.1)),
        row("b", 0.25, scores(0.5, 0.4, 0.2)),
        row("a", 0.5, scores(0.31, 0.2, 0.3)),
        row("b", 0.5, scores(0.3100001, 0.1, 0.4)),
    ]
    lines = markdown(rows).splitlines()
    assert cells_of(lines[2])[3:] == ["**60.0**", "30.0", "10.0", "**31.0**", "**20.0**", "30.0"]
    assert cells_of(lines[3])[3:] == ["50.0", "**40.0**", "20.0", "**31.0**", "10.0", "40.0"]


def test_methods_are_compared_with_those_that_promise_the_same(row, scores) -> None:
    rows = [
        row("loose", 0.25, scores(0.9, 0.6, 0.1), tolerates=4),
        row("strict", 0.25, scores(0.8, 0.5, 0.1)),
        row("other", 0.25, scores(0.7, 0.4, 0.1)),
        row("gone", 0.25, scores(0.95, 0.7, 0.1), tolerates=None),
    ]
    text = markdown(rows)
    assert "**80.0**" in text
    assert "**90.0**" not in text
    assert "**95.0**" not in text
    assert "- Up to 4 certified pixels of an image may be wrong: loose.\n" in text
    assert (
        "- What is promised is not known here, because the certifier is not installed with its options: gone.\n"
        in text
    )
    assert "bold: the best accuracy and mIoU at this σ, among those that allow as many wrong pixels." in text
    assert "% Up to 4 certified pixels of an image may be wrong: loose.\n" in latex(rows)


def test_a_method_alone_is_not_the_best(grid) -> None:
    assert "**" not in markdown(grid(methods=1))


def test_markdown_parses_back(grid) -> None:
    rows = grid()
    lines = markdown(rows).splitlines()
    head = cells_of(lines[0])
    assert head[:3] == ["method", "clean<br>acc", "clean<br>mIoU"]
    assert head[3:6] == [f"σ 0.25<br>R 0.168<br>{name}" for name in ("acc", "mIoU", "abst")]
    body = [[cell.strip("*") for cell in cells_of(line)] for line in lines[2:4]]
    assert body[1] == ["method 1", "94.1", "67.9", *chain(*shown(rows[3:]))]
    assert {len(cells_of(line)) for line in lines[:4]} == {12}


def test_markdown_escapes_what_would_end_a_cell(row, scores) -> None:
    line = markdown([row("a|b", 0.25, scores(0.5, 0.4, 0.1))]).splitlines()[2]
    assert cells_of(line)[0] == r"a\|b"
