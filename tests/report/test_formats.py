"""Do tables and files show every number of the rows, in its place, and fit where they are shown?"""

from __future__ import annotations

import csv as csv_module
import dataclasses
import io
import json as json_module
import math
import re
import subprocess
import sys
from itertools import chain

import pytest
from rich.console import Console

from smoothseg.certificates.metrics import DEFINITIONS, ClassScores, Scores
from smoothseg.report import FORMATS, Row, csv, json, markdown, per_class, table, text

SIGMAS = (0.25, 0.5, 1.0)
RADII = {sigma: round(0.6744897501960817 * sigma, 12) for sigma in (0.1, 0.12, 0.2, 0.3, *SIGMAS)}


def scores(accuracy: float, mean_iou: float, abstained: float) -> Scores:
    return Scores(
        images=100,
        labelled_pixels=2000,
        accuracy=accuracy,
        mean_iou=mean_iou,
        abstained=abstained,
        abstained_of_labelled=abstained / 3,
        accuracy_of_certified=math.sqrt(accuracy),
        mean_iou_of_occurring=mean_iou / 2,
        per_class=(
            ClassScores("road", 1500, mean_iou / 3, 0.5, 0.25, 0.25),
            ClassScores("sky, high", 500, 0.0, 0.0, 1.0, 0.0),
            ClassScores("car", 0, 0.0, None, None, None),
        ),
    )


CLEAN = scores(0.9412, 0.6789, 0.0)


def row(method: str, sigma: float, certified: Scores | None, **changes) -> Row:
    settings = {
        "method": method,
        "denoiser": "adm",
        "segmenter": "hrnet",
        "certifier": "holm",
        "sigma": sigma,
        "radius": RADII[sigma],
        "scale": 1.0,
        "images": 100,
        "certified": certified,
        "clean": CLEAN,
        "seconds": 92.6912,
    }
    return Row(**{**settings, **changes})


def grid(*, methods: int = 2, sigmas: tuple[float, ...] = SIGMAS) -> list[Row]:
    """Rows whose certified scores differ from place to place; the first method is the best everywhere."""
    return [
        row(
            f"method {m}",
            sigma,
            scores(0.88 - 0.081 * m - 0.0173 * s, 0.59 - 0.067 * m - 0.0131 * s, 0.11 + s / 50 + m / 250),
        )
        for m in range(methods)
        for s, sigma in enumerate(sigmas)
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(rows: list[Row]) -> list[list[str]]:
    return [[percent(getattr(r.certified, m)) for m in ("accuracy", "mean_iou", "abstained")] for r in rows]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_table_has_a_line_a_method_and_a_group_a_sigma() -> None:
    rows = grid()
    lines = text(rows).splitlines()
    assert re.findall(r"σ \S+", lines[0]) == ["σ 0.25", "σ 0.5", "σ 1"]
    assert lines[1].split() == ["clean", "R", "0.169", "R", "0.337", "R", "0.674"]
    assert lines[2].split() == ["method", "acc", "mIoU", *["acc", "mIoU", "abst"] * 3]
    numbers = shown(rows)
    assert lines[4].split() == ["method", "0", "94.1", "67.9", *chain(*numbers[:3])]
    assert lines[5].split() == ["method", "1", "94.1", "67.9", *chain(*numbers[3:])]


def test_table_columns_are_aligned() -> None:
    lines = text(
        [row("m", 0.25, scores(1.0, 0.05, 0.0)), row("n", 0.25, scores(0.5, 0.25, 1.0))]
    ).splitlines()
    assert lines[4].endswith("100.0  5.0   0.0")
    assert lines[5].endswith(" 50.0 25.0 100.0")


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("methods", [1, 2, 7])
@pytest.mark.parametrize("sigmas", [(0.5,), SIGMAS, (0.1, 0.12, 0.2, 0.25, 0.3, 0.5, 1.0)])
def test_table_fits_80_columns_and_has_every_number(
    timing: bool, methods: int, sigmas: tuple[float, ...]
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
        assert f"{RADII[sigma]:.3g}" in words


def test_many_sigmas_become_a_line_each() -> None:
    rows = grid(sigmas=(0.1, 0.2, 0.25, 0.5, 1.0))
    lines = text(rows).splitlines()
    assert lines[1].split() == ["method", "σ", "R", "acc", "mIoU", "abst", "acc", "mIoU"]
    assert lines[3].split() == ["method", "0", "0.1", "0.0674", *shown(rows)[0], "94.1", "67.9"]
    assert lines[4].split() == ["0.2", "0.135", *shown(rows)[1], "94.1", "67.9"]
    assert lines[8].split()[:3] == ["method", "1", "0.1"]


def test_a_wide_terminal_shows_many_sigmas_side_by_side() -> None:
    lines = text(grid(sigmas=(0.1, 0.2, 0.25, 0.5, 1.0)), width=160).splitlines()
    assert lines[0].count("σ") == 5


def test_rows_that_do_not_exist_yet_are_dashes() -> None:
    rows = grid()
    rows[4] = dataclasses.replace(rows[4], certified=None)
    del rows[5]
    line = text(rows).splitlines()[5]
    assert line.split() == ["method", "1", "94.1", "67.9", *shown(rows[3:4])[0], *"––––––"]
    assert cells_of(markdown(rows).splitlines()[3])[6:] == ["–"] * 6


def test_numbers_of_different_radii_do_not_stand_side_by_side() -> None:
    rows = [*grid(methods=1), row("other", 0.25, scores(0.5, 0.4, 0.3), radius=0.411)]
    lines = text(rows).splitlines()
    assert "R" in lines[1].split()
    assert lines[6].split()[:3] == ["other", "0.25", "0.411"]


def test_numbers_over_different_images_say_over_how_many() -> None:
    rows = grid(methods=1)
    rows[2] = dataclasses.replace(rows[2], images=7)
    drawn = text(rows)
    assert [line.split()[-1] for line in drawn.splitlines()[3:6]] == ["100", "100", "7"]
    assert "over 100 images" not in drawn
    assert "over 100 images" in text(rows[:2])


def test_methods_of_one_name_are_told_apart_by_what_differs() -> None:
    rows = [row("hrnet", 0.25, scores(0.8, 0.5, 0.1), scale=scale) for scale in (0.25, 0.5)]
    assert [cells_of(line)[0] for line in markdown(rows).splitlines()[2:4]] == [
        "hrnet (scale 0.25)",
        "hrnet (scale 0.5)",
    ]


def test_two_rows_for_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="one row a method and sigma"):
        text([*grid(), grid()[0]])


def test_best_of_each_sigma_is_bold_and_least_abstention_is_not() -> None:
    rows = [
        row("a", 0.25, scores(0.6, 0.3, 0.1)),
        row("b", 0.25, scores(0.5, 0.4, 0.2)),
        row("a", 0.5, scores(0.31, 0.2, 0.3)),
        row("b", 0.5, scores(0.3100001, 0.1, 0.4)),
    ]
    lines = markdown(rows).splitlines()
    assert cells_of(lines[2])[3:] == ["**60.0**", "30.0", "10.0", "**31.0**", "**20.0**", "30.0"]
    assert cells_of(lines[3])[3:] == ["50.0", "**40.0**", "20.0", "**31.0**", "10.0", "40.0"]


def test_a_method_alone_is_not_the_best() -> None:
    assert "**" not in markdown(grid(methods=1))


def test_terminal_marks_the_best_and_prints_the_same_characters() -> None:
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


def test_terminal_shows_seconds_and_files_only_when_asked() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(table(grid()))
    assert "92.7" in out.getvalue()
    for name, form in FORMATS.items():
        assert "92.6" not in form(grid()), name
        assert "92.7" not in form(grid()), name
        assert re.search(r"92\.(7|6912)", form(grid(), timing=True)), name


def test_the_same_rows_measured_again_give_the_same_files() -> None:
    again = [dataclasses.replace(r, seconds=1.5 * r.seconds) for r in grid()]
    for form in FORMATS.values():
        assert form(grid()) == form(again)
        assert form(grid()).endswith("\n")


@pytest.mark.parametrize("metric", ["accuracy", "mean_iou", "abstained"])
@pytest.mark.parametrize("name", ["table", "markdown"])
def test_tables_define_their_numbers(name: str, metric: str) -> None:
    assert DEFINITIONS[metric] in re.sub(r"\s+", " ", FORMATS[name](grid()))


def test_markdown_parses_back() -> None:
    rows = grid()
    lines = markdown(rows).splitlines()
    head = cells_of(lines[0])
    assert head[:3] == ["method", "clean<br>acc", "clean<br>mIoU"]
    assert head[3:6] == [f"σ 0.25<br>R 0.169<br>{name}" for name in ("acc", "mIoU", "abst")]
    body = [[cell.strip("*") for cell in cells_of(line)] for line in lines[2:4]]
    assert body[1] == ["method 1", "94.1", "67.9", *chain(*shown(rows[3:]))]
    assert {len(cells_of(line)) for line in lines[:4]} == {12}


def test_markdown_escapes_what_would_end_a_cell() -> None:
    line = markdown([row("a|b", 0.25, scores(0.5, 0.4, 0.1))]).splitlines()[2]
    assert cells_of(line)[0] == r"a\|b"


def test_csv_parses_back_in_full_precision() -> None:
    rows = [*grid(), row("late, later", 1.0, None, radius=math.nan, clean=None)]
    records = list(csv_module.DictReader(io.StringIO(csv(rows))))
    assert len(records) == 7
    for record, one in zip(records[:6], rows[:6], strict=True):
        assert record["method"] == one.method
        assert float(record["sigma"]) == one.sigma
        assert float(record["radius"]) == one.radius
        assert int(record["labelled_pixels"]) == 2000
        for metric in (
            "accuracy",
            "mean_iou",
            "abstained",
            "abstained_of_labelled",
            "accuracy_of_certified",
            "mean_iou_of_occurring",
        ):
            assert float(record[metric]) == getattr(one.certified, metric)
        assert float(record["clean_mean_iou"]) == CLEAN.mean_iou
        assert "seconds" not in record
    assert records[6]["method"] == "late, later"
    assert [records[6][name] for name in ("radius", "accuracy", "clean_accuracy")] == ["", "", ""]


def test_per_class_csv_has_a_record_a_class() -> None:
    rows = [*grid(methods=1), row("late", 1.0, None)]
    records = list(csv_module.DictReader(io.StringIO(per_class(rows))))
    assert [record["class"] for record in records] == ["road", "sky, high", "car"] * 3
    assert float(records[3]["iou"]) == rows[1].certified.per_class[0].iou
    assert float(records[3]["sigma"]) == 0.5
    assert float(records[0]["clean_iou"]) == CLEAN.per_class[0].iou
    assert [records[2][name] for name in ("pixels", "certified_correct", "clean_correct")] == ["0", "", ""]


def test_json_parses_back_with_classes_and_definitions() -> None:
    rows = [*grid(), row("late", 1.0, None, radius=math.nan, clean=None)]
    document = json_module.loads(json(rows, timing=True))
    assert document["definitions"] == dict(DEFINITIONS)
    for value, one in zip(document["rows"][:6], rows, strict=False):
        classes = tuple(ClassScores(**c) for c in value["certified"].pop("per_class"))
        certified = Scores(**value["certified"], per_class=classes)
        plain = Scores(**{**value["clean"], "per_class": CLEAN.per_class})
        assert Row(**{**value, "certified": certified, "clean": plain}) == one
    late = document["rows"][6]
    assert (late["radius"], late["certified"], late["clean"]) == (None, None, None)
    assert "seconds" not in json_module.loads(json(rows))["rows"][0]


def test_unlabelled_images_show_abstention_alone() -> None:
    rows = [row("m", 0.25, Scores(100, 0, None, None, 0.125, None, None, None, ()), clean=None)]
    lines = text(rows).splitlines()
    assert lines[4].split() == ["m", "–", "–", "12.5"]
    assert "clean" not in text(rows)


def test_no_rows_are_no_results() -> None:
    assert text([]) == markdown([]) == "No results yet.\n"
    assert csv([]).count("\n") == 1
    assert json_module.loads(json([]))["rows"] == []


def test_reports_import_neither_torch_nor_drawing() -> None:
    code = "import sys, smoothseg.report; print([m for m in ('torch', 'rich', 'PIL', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
