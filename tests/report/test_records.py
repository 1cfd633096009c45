"""Do csv and json hold every number of the rows in full precision?"""

from __future__ import annotations

import csv as csv_module
import io
import json as json_module
import math

from smoothseg.certificates.metrics import DEFINITIONS, INFORMATION, ClassScores, Scores
from smoothseg.report import Row
from smoothseg.report.records import csv, json, per_class


def test_csv_parses_back_in_full_precision(grid, row) -> None:
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
        assert float(record["clean_mean_iou"]) == one.clean.mean_iou
        assert "seconds" not in record
    assert records[6]["method"] == "late, later"
    assert [records[6][name] for name in ("radius", "accuracy", "clean_accuracy")] == ["", "", ""]


def test_per_class_csv_has_a_record_a_class(grid, row) -> None:
    rows = [*grid(methods=1), row("late", 1.0, None)]
    records = list(csv_module.DictReader(io.StringIO(per_class(rows))))
    assert [record["class"] for record in records] == ["road", "sky, high", "car"] * 3
    assert float(records[3]["iou"]) == rows[1].certified.per_class[0].iou
    assert float(records[3]["sigma"]) == 0.5
    assert float(records[0]["clean_iou"]) == rows[0].clean.per_class[0].iou
    assert [records[2][name] for name in ("pixels", "certified_correct", "clean_correct")] == ["0", "", ""]


def test_json_parses_back_with_classes_and_definitions(grid, row) -> None:
    rows = [*grid(), row("late", 1.0, None, radius=math.nan, clean=None)]
    document = json_module.loads(json(rows, timing=True))
    assert document["definitions"] == {k: v for k, v in DEFINITIONS.items() if k not in INFORMATION}
    for value, one in zip(document["rows"][:6], rows, strict=False):
        classes = tuple(ClassScores(**c) for c in value["certified"].pop("per_class"))
        certified = Scores(**value["certified"], per_class=classes)
        plain = Scores(**{**value["clean"], "per_class": one.clean.per_class})
        tuples = {name: tuple(value[name]) for name in ("failed", "stopped")}
        assert Row(**{**value, "certified": certified, "clean": plain, **tuples}) == one
    late = document["rows"][6]
    assert (late["radius"], late["certified"], late["clean"]) == (None, None, None)
    assert "seconds" not in json_module.loads(json(rows))["rows"][0]
