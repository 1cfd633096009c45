"""How much is certified at which radius: curves from the counts in the ledger, without opening an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from smoothseg.certificates.counts import Counts
from smoothseg.certificates.hierarchy import Hierarchy

__all__ = ["Curve", "curve"]


@dataclasses.dataclass(frozen=True)
class Curve:
    """The certified share of one method at one sigma, as a function of the l2 radius.

    steps: (radius, share), with radii ascending in [0, 1] pixel units and shares descending. At every radius up to this
    one and above the one before, `share` of the pixels are certified (and correct, if `labelled`). Beyond the last
    radius none are. Empty if nothing is certified.
    labelled: whether the share is of labelled pixels and counts correct ones only, which is certified accuracy;
    without labels it is the certified share of all pixels.
    """

    method: str
    sigma: float
    steps: tuple[tuple[float, float], ...]
    labelled: bool


def curve(
    method: str, sigma: float, entries: Sequence[Mapping[str, Any]], hierarchy: Hierarchy | None = None
) -> Curve:
    """Return the curve of one method and sigma from its ledger lines `entries`, one for each image.

    hierarchy: of what is certified; a node is correct where it has the label. Every pixel counts at its own radius
    where the ledger has one, otherwise at that of its image.
    """
    counts = [Counts.from_json(entry["certified"]) for entry in entries]
    labelled = any(each.confusion for each in counts)
    total = 0
    at: dict[float, int] = {}
    for entry, each in zip(entries, counts, strict=True):
        correct = each.correct(hierarchy)
        total += sum(pixels for _, _, pixels in each.confusion or ()) if labelled else each.pixels
        reached = entry.get("by_radius")
        if reached is None:
            radius = entry["radius"]
            reached = [] if radius is None else [(radius, each.certified, correct)]
        for radius, sure, right in reached:
            at[radius] = at.get(radius, 0) + (right if labelled else sure)
    steps = []
    left = sum(at.values())
    for radius in sorted(at):
        steps.append((float(radius), left / total if total else 0.0))
        left -= at[radius]
    return Curve(method, sigma, tuple(steps), labelled)
