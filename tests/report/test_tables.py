"""Does a table in characters show every number of the rows, in its place, and fit where it is shown?"""

from __future__ import annotations

import dataclasses
import io
import re
from itertools import chain

import pytest
from rich.console import Console

from smoothseg.certificates.metrics import Scores
from smoothseg.report import Row
from smoothseg.report.markup import markdown
from smoothseg.report.tables import table, text

SIGMAS = (0.25, 0.5, 1.0)
RADII = {sigma: round(0.6744897501960817 * sigma, 12) for sigma in (0.1, 0.12, 0.2, 0.3, *SIGMAS)}


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(rows: list[Row]) -> list[list[str]]:
    return [[percent(getattr(r.certified, m)) for m in ("accuracy", "mean_iou", "abstained")] for r in rows]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_table_has_a_line_a_method_and_a_group_a_sigma(grid) -> None:
    rows = grid()
    lines = text(rows).splitlines()
    assert re.findall(r"σ \S+", lines[0]) == ["σ 0.25", "σ 0.5", "σ 1"]
    assert lines[1].split() == ["clean", "R", "0.168", "R", "0.337", "R", "0.674"]
    assert lines[2].split() == ["method", "acc", "mIoU", *["acc", "mIoU", "abst"] * 3]
    numbers = shown(rows)
    assert lines[4].split() == ["method", "0", "94.1", "67.9", *chain(*numbers[:3])]
    assert lines[5].split() == ["method", "1", "94.1", "67.9", *chain(*numbers[3:])]


def test_table_columns_are_aligned(row, scores) -> None:
    lines = text(
        [row("m", 0.25, scores(1.0, 0.05, 0.0)), row("n", 0.25, scores(0.5, 0.25, 1.0))]
    ).splitlines()
    assert lines[4].endswith("100.0  5.0   0.0")
    assert lines[5].endswith(" 50.0 25.0 100.0")


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("methods", [1, 2, 7])
@pytest.mark.parametrize("sigmas", [(0.5,), SIGMAS, (0.1, 0.12, 0.2, 0.25, 0.3, 0.5, 1.0)])
def test_table_fits_80_columns_and_has_every_number(
    grid, row, down, timing: bool, methods: int, sigmas: tuple[float, ...]
) -> None:
    rows = grid(methods=methods, sigmas=sigmas)
    rows.append(
        row(
            "adm:steps=multi,respacing=250,weights=a/rather/long/path.safetensors + hrnet",
            sigmas[0],
            rows[0].certified,
        )
    )
    drawn = text(rows, timing=timing, title="Certified segmentation " * 5)
    assert max(map(len, drawn.splitlines())) <= 80
    words = drawn.split()
    for number in chain(*shown(rows)):
        assert number in words
    assert ("92.7" in words) == timing
    for sigma in sigmas:
        assert f"{sigma:g}" in words
        assert down(RADII[sigma]) in words


def test_many_sigmas_become_a_line_each(grid) -> None:
    rows = grid(sigmas=(0.1, 0.2, 0.25, 0.5, 1.0))
    lines = text(rows).splitlines()
    assert lines[1].split() == ["method", "σ", "R", "acc", "mIoU", "abst", "acc", "mIoU"]
    assert lines[3].split() == ["method", "0", "0.1", "0.0674", *shown(rows)[0], "94.1", "67.9"]
    assert lines[4].split() == ["0.2", "0.134", *shown(rows)[1], "94.1", "67.9"]
    assert lines[8].split()[:3] == ["method", "1", "0.1"]


def test_a_wide_terminal_shows_many_sigmas_side_by_side(grid) -> None:
    lines = text(grid(sigmas=(0.1, 0.2, 0.25, 0.5, 1.0)), width=160).splitlines()
    assert lines[0].count("σ") == 5


def test_rows_that_do_not_exist_yet_are_dashes(grid) -> None:
    rows = grid()
    rows[4] = dataclasses.replace(rows[4], certified=None)
    del rows[5]
    line = text(rows).splitlines()[5]
    assert line.split() == ["method", "1", "94.1", "67.9", *shown(rows[3:4])[0], *"––––––"]
    assert cells_of(markdown(rows).splitlines()[3])[6:] == ["–"] * 6


def test_numbers_of_different_radii_do_not_stand_side_by_side(grid, row, scores) -> None:
    rows = [*grid(methods=1), row("other", 0.25, scores(0.5, 0.4, 0.3), radius=0.411)]
    lines = text(rows).splitlines()
    assert "R" in lines[1].split()
    assert lines[6].split()[:3] == ["other", "0.25", "0.411"]


def test_numbers_over_different_images_say_over_how_many(grid) -> None:
    rows = grid(methods=1)
    rows[2] = dataclasses.replace(rows[2], images=7)
    drawn = text(rows)
    assert [line.split()[-1] for line in drawn.splitlines()[3:6]] == ["100", "100", "7"]
    assert "over 100 images" not in drawn
    assert "over 100 images" in text(rows[:2])


def test_two_rows_for_one_place_are_refused(grid) -> None:
    with pytest.raises(ValueError, match="one row a method and sigma"):
        text([*grid(), grid()[0]])


def test_terminal_marks_the_best_and_prints_the_same_characters(grid) -> None:
    rows = grid()
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True, color_system="standard").print(
        table(rows, title="Streets", timing=False)
    )
    coloured = out.getvalue()
    best = rows[0].certified
    assert f"\x1b[1;32m{percent(best.accuracy)}\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == text(rows, title="Streets").splitlines()


def test_unlabelled_images_show_abstention_alone(row) -> None:
    rows = [row("m", 0.25, Scores(100, 0, None, None, 0.125, None, None, None, ()), clean=None)]
    lines = text(rows).splitlines()
    assert lines[4].split() == ["m", "–", "–", "12.5"]
    assert "clean" not in text(rows)
