"""How much was certified after how many samples, from the ledger of a run: for certifiers that may stop at any time."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from smoothseg.certificates.counts import Counts
from smoothseg.report.records import records_of

__all__ = ["NAME", "Course", "course", "csv"]

NAME = "samples.csv"
"""The name of the table in the run directory."""

_Entries = Mapping[tuple[str, float], Mapping[str, Mapping[str, Any]]]
"""Ledger lines by (method, sigma) and key, as `results.entries` gives them."""


@dataclasses.dataclass(frozen=True)
class Course:
    """The certified share of one method at one sigma on the way to its certificates.

    steps: (samples that test, share of the pixels), the mean over all images. An image that stopped keeps its share.
    """

    method: str
    sigma: float
    steps: tuple[tuple[int, float], ...]


def course(method: str, sigma: float, entries: Sequence[Mapping[str, Any]]) -> Course | None:
    """Return the course of one method and sigma from its ledger lines; None if one of them did not look on its way."""
    ways = [_way(entry) for entry in entries]
    if not ways or not all(ways):
        return None
    steps = []
    for trials in sorted({trials for way in ways for trials, _, _ in way}):
        shares = []
        for way in ways:
            at = bisect.bisect_right(way, trials, key=lambda step: step[0])
            shares.append(way[at - 1][1] if at else 0.0)
        steps.append((trials, sum(shares) / len(shares)))
    return Course(method, sigma, tuple(steps))


def _way(entry: Mapping[str, Any]) -> list[tuple[int, float, float | None]]:
    """Return trials, certified and hopeless share of each look at one image, and of its certificate; else nothing."""
    stopping, counted = entry.get("stopping"), Counts.from_json(entry["certified"])
    if stopping is None:
        return []
    way = [
        (trials, certified / counted.pixels, None if hopeless is None else hopeless / counted.pixels)
        for trials, certified, hopeless in stopping["looks"]
    ]
    if not way or way[-1][0] < stopping["trials"]:
        way.append((stopping["trials"], counted.certified / counted.pixels, None))
    return way


def csv(found: _Entries) -> str | None:
    """Return a record for each look at each image, and the reason of its end in the last; None without any."""
    header = ("method", "sigma", "image", "trials", "certified", "hopeless", "stopped")
    records: list[dict[str, Any]] = []
    for (method, sigma), each in found.items():
        for key, entry in each.items():
            way = _way(entry)
            records.extend(dict(zip(header, (method, sigma, key, *step), strict=False)) for step in way)
            if entry.get("stopping"):
                records[-1]["stopped"] = entry["stopping"]["reason"]
    return records_of(header, records) if records else None
