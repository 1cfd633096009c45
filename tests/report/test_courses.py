"""How much was certified after how many samples: the curve of the page, samples.csv, and the notes of tables."""

from __future__ import annotations

import csv
import io

import pytest

from smoothseg.report import checking
from smoothseg.report.charts import course_chart
from smoothseg.report.courses import Course, course
from smoothseg.report.courses import csv as table_of
from smoothseg.report.html import page
from smoothseg.report.rows import rows
from smoothseg.report.tables import text
from smoothseg.runs import manifest

ANYTIME = "anytime:n0=4,max_n=60,block=10,alpha=0.05,gain=0.05"


def line(looks, *, trials, certified, pixels=100, reason="max_n"):
    """Return a ledger line of a certificate that may stop at any time."""
    return {
        "stopping": {"reason": reason, "looks": looks, "trials": trials, "certifier": {"name": "anytime"}},
        "certified": {"classes": 2, "pixels": pixels, "certified": certified, "confusion": None},
    }


def test_a_course_is_the_mean_over_images_and_a_stopped_image_keeps_its_share():
    short = line([[10, 0, None], [20, 50, None]], trials=20, certified=50, reason="gain")
    long = line([[10, 20, None], [20, 30, None], [30, 80, None]], trials=35, certified=90)
    assert course("any", 0.5, [short, long]) == Course(
        "any", 0.5, ((10, 0.1), (20, 0.4), (30, pytest.approx(0.65)), (35, pytest.approx(0.7)))
    )


def test_images_that_were_interrupted_before_their_first_look_have_a_course_too():
    one = line([], trials=3, certified=0, reason="interrupted")
    assert course("any", 0.5, [one]) == Course("any", 0.5, ((3, 0.0),))


def test_a_certifier_of_fixed_n_has_no_course():
    fixed = {"certified": {"classes": 2, "pixels": 100, "certified": 5, "confusion": None}}
    assert course("holm", 0.5, [fixed]) is None
    assert course("none", 0.5, []) is None
    assert table_of({("holm", 0.5): {"a": fixed}}) is None


def test_the_table_has_a_record_for_each_look_and_says_why_it_ended():
    found = {("=any", 0.5): {"a": line([[10, 0, 5], [20, 50, 7]], trials=25, certified=60, reason="share")}}
    records = list(csv.DictReader(io.StringIO(table_of(found))))
    assert [record["trials"] for record in records] == ["10", "20", "25"]
    assert [record["certified"] for record in records] == ["0.0", "0.5", "0.6"]
    assert [record["hopeless"] for record in records] == ["0.05", "0.07", ""]
    assert [record["stopped"] for record in records] == ["", "", "share"]
    assert {record["method"] for record in records} == {"'=any"}  # no formula


def test_a_chart_stands_in_its_frame():
    chart = course_chart([Course("one", 0.25, ((50, 0.0), (100, 0.9))), Course("two", 0.5, ((50, 0.2),))])
    assert [one.method for one in chart.lines] == ["one", "two"]
    ends = [point for one in chart.lines for point in one.points]
    assert all(
        chart.left <= point.x <= chart.right and chart.top <= point.y <= chart.bottom for point in ends
    )
    assert "one, σ 0.25: 90.0% after 100 samples" in ends[0].text
    assert course_chart([]) is None


def test_a_run_shows_its_course_and_says_what_stopped_it(make):
    run = make("any", certifier=ANYTIME, denoiser="identity", sigma=[0.2])
    shown = page(run)
    assert "Certified share over samples" in shown
    (row,) = rows(run)
    assert sum(count for _, count in row.stopped) == 3
    assert 14 <= row.samples <= 64
    said = " ".join(text([row]).split())
    assert f"{row.samples:.0f} noise samples an image; stopped by" in said
    records = list(csv.DictReader(io.StringIO((run / "samples.csv").read_text())))
    assert {record["image"] for record in records} == {"a", "b", "c"}
    assert list(checking.differences(run)) == list(manifest.differences(run)) == []
    table = (run / "samples.csv").read_text()
    (run / "samples.csv").write_text(table.replace(f",{row.stopped[0][0]}\n", ",share\n"))
    assert any("samples.csv" in fault and "stopped" in fault for fault in checking.differences(run))


def test_a_run_of_fixed_n_has_no_such_table(make):
    run = make()
    assert not (run / "samples.csv").exists()
    assert "Certified share over samples" not in page(run)
