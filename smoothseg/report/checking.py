"""Whether the tables of a run say what its ledger gives."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg.errors import DataError
from smoothseg.report import records
from smoothseg.report.rows import rows

__all__ = ["differences"]


def differences(directory: Path) -> Iterator[str]:
    """Yield where metrics.json, metrics.csv and per_class.csv contradict the ledger, each as `file: row: field: what`.

    Fields that only one of the two has are left out: another version of smoothseg may have written the table. So are
    table.md and table.tex, which show the same numbers rounded.
    """
    try:
        result = rows(directory)
    except (DataError, KeyError, TypeError, ValueError) as error:
        yield f"ledger.jsonl: no tables can be made of it: {error!r}"
        return
    for name, made, read in (
        ("metrics.json", records.json(result), _of_json),
        ("metrics.csv", records.csv(result), _of_csv),
        ("per_class.csv", records.per_class(result), _of_csv),
    ):
        path = directory / name
        if not path.exists():
            continue
        try:
            stated = read(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield f"{name}: cannot be read: {error}"
            continue
        right = read(made)
        if len(stated) != len(right):
            yield f"{name}: it has {len(stated)} rows, the ledger gives {len(right)}"
            continue
        for number, (there, here) in enumerate(zip(stated, right, strict=True), start=1):
            for field in here:
                if field in there and there[field] != here[field]:
                    yield f"{name}: row {number}: {field} is {there[field]!r}, the ledger gives {here[field]!r}"


def _of_json(text: str) -> Sequence[Mapping[str, Any]]:
    found = json.loads(text)["rows"]
    if not (isinstance(found, list) and all(isinstance(each, dict) for each in found)):
        raise ValueError("it has no rows")
    return found


def _of_csv(text: str) -> Sequence[Mapping[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))
