"""Which numbers a file for computing holds: the rows as csv and json, their classes as csv.

Shares have full precision. The information gain is there if a row may have groups of classes. csv leaves a field empty
where there is no number; json has null. A name that a spreadsheet would take for a formula has an apostrophe before it
in csv, as spreadsheets show text; json has it as it is.
"""

from __future__ import annotations

import csv as csv_module
import dataclasses
import io
import json as json_module
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smoothseg.certificates.metrics import DEFINITIONS, INFORMATION, Scores
from smoothseg.errors import visible
from smoothseg.report.rows import Row

__all__ = ["csv", "json", "per_class", "records_of"]

_FORMULA = ("=", "+", "-", "@")
"""How a formula begins in a spreadsheet; a tab or a line break before it is shown as an escape."""

_SCORES = tuple(
    f.name for f in dataclasses.fields(Scores) if f.name in DEFINITIONS and f.name not in INFORMATION
)
_SETTINGS = (
    *("method", "denoiser", "segmenter", "certifier", "tolerates"),
    *("sigma", "noise", "radius", "scale", "images", "failed"),
)


def csv(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return one record for each row: shares in 0..1 in full precision, an empty field where there is no number."""
    scores = (*_SCORES, *(INFORMATION if _grouped(rows) else ()))
    header = [*_SETTINGS, "labelled_pixels", *scores, "clean_accuracy", "clean_mean_iou", "samples"]
    if timing:
        header.append("seconds")
    records = []
    for row in rows:
        values = {**_settings(row), "samples": row.samples, "seconds": row.seconds}
        if row.certified is not None:
            values |= {name: getattr(row.certified, name) for name in ("labelled_pixels", *scores)}
        if row.clean is not None:
            values |= {"clean_accuracy": row.clean.accuracy, "clean_mean_iou": row.clean.mean_iou}
        records.append(values)
    return records_of(header, records)


def per_class(rows: Sequence[Row]) -> str:
    """Return csv with one record for each row and class: the class's labelled pixels, IoU and shares."""
    shares = ("pixels", "iou", "certified_correct", "certified_wrong", "abstained")
    records = []
    for row in rows:
        clean = {one.name: one for one in row.clean.per_class} if row.clean else {}
        for one in row.certified.per_class if row.certified else ():
            values = _settings(row)
            values |= {"class": one.name} | {name: getattr(one, name) for name in shares}
            if one.name in clean:
                plain = clean[one.name]
                values |= {"clean_iou": plain.iou, "clean_correct": plain.certified_correct}
            records.append(values)
    return records_of([*_SETTINGS, "class", *shares, "clean_iou", "clean_correct"], records)


def json(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return an object with the metrics' `definitions` and the `rows`, each with its scores by class."""
    plain, grouped = [], _grouped(rows)
    for row in rows:
        value = dataclasses.asdict(row)
        value["radius"] = _finite(row.radius)
        if not timing:
            del value["seconds"]
        if not grouped:
            del value["grouped"]
            for scores in filter(None, (value["certified"], value["clean"])):
                for name in INFORMATION:
                    del scores[name]
        plain.append(value)
    definitions = {name: text for name, text in DEFINITIONS.items() if grouped or name not in INFORMATION}
    document = {"definitions": definitions, "rows": plain}
    text = json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # what a terminal would obey, and halves of characters, which no encoding has
    return "".join(c if c.isprintable() or c == "\n" else json_module.dumps(c)[1:-1] for c in text)


def _grouped(rows: Sequence[Row]) -> bool:
    """Return whether the information gain says something: of a table of classes alone it is the accuracy."""
    return any(row.grouped for row in rows)


def _settings(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _SETTINGS} | {"failed": len(row.failed)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(value: Any) -> Any:
    """Return a name so that a spreadsheet reads no formula, and a terminal no command; anything else as it is."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def records_of(header: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Return csv with these columns, and a line for each record; an empty field where a record has no value."""
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_text(_finite(record.get(name))) for name in header] for record in records)
    return out.getvalue()
