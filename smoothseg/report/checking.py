"""Whether the tables of a run say what its ledger gives."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg.errors import DataError
from smoothseg.files import parse_json, read_text
from smoothseg.report import courses, records
from smoothseg.report.rows import rows
from smoothseg.runs import results
from smoothseg.runs.ledger import Ledger

__all__ = ["differences"]


def differences(directory: Path) -> Iterator[str]:
    """Yield where metrics.json and the csv files contradict the ledger, each as `file: row: field: what`.

    What depends on the plugins that are installed is left out. So are table.md and table.tex, which show the same
    numbers rounded.
    """
    if Ledger(directory / "ledger.jsonl").damaged:
        return  # it is named elsewhere, and every table would be, too
    try:
        result = rows(directory)
    except (DataError, KeyError, TypeError, ValueError) as error:
        yield f"ledger.jsonl: it gives no tables ({type(error).__name__}: {error})"
        return
    tables = [
        ("metrics.json", records.json(result), _of_json),
        ("metrics.csv", records.csv(result), _of_csv),
        ("per_class.csv", records.per_class(result), _of_csv),
    ]
    identity = results.read_identity(directory)
    way = courses.csv(results.entries(directory, identity))
    if way is not None:
        tables.append((courses.NAME, way, _of_csv))
    if not any((directory / name).exists() for name, _, _ in tables):
        return  # an unfinished run has none
    for name, made, read in tables:
        path = directory / name
        if not path.exists():
            yield f"{name}: is missing"
            continue
        try:
            stored = read(read_text(path))
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            yield f"{name}: cannot be read ({error})"
            continue
        right = read(made)
        if len(stored) != len(right):
            yield f"{name}: it has {len(stored)} rows, the ledger gives {len(right)}"
            continue
        for number, (there, here) in enumerate(zip(stored, right, strict=True), start=1):
            for field in sorted({*there, *here} - _WORDS):
                if field in there and field in here and there[field] == here[field]:
                    continue
                if field not in there and field in _LATER:
                    continue
                yield f"{name}: row {number}: {field} is not what the ledger gives"


_WORDS = {"denoiser", "segmenter", "certifier", "tolerates"}
"""Fields that plugins have the word on: without them, or with other versions, they read otherwise."""

_LATER = {"noise", "failed", "planned", "samples", "stopped"}
"""Fields that tables did not always have."""


def _of_json(text: str) -> Sequence[Mapping[str, Any]]:
    found = parse_json(text)["rows"]
    if not (isinstance(found, list) and all(isinstance(each, dict) for each in found)):
        raise ValueError("it has no rows")
    return found


def _of_csv(text: str) -> Sequence[Mapping[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))
