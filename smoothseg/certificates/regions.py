"""Which connected regions a certified segmentation has, and what is certain of each.

A region is found in the prediction, so its pixels are fixed before any perturbation. The bounds of its class among them
are those of `smoothseg.certificates.bounds`, whose argument holds for any set of pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from smoothseg.certificates.bounds import ClassBounds, LabelMap, Mask, bounds
from smoothseg.certificates.hierarchy import Hierarchy

__all__ = ["Region", "regions"]


@dataclasses.dataclass(frozen=True)
class Region:
    """A connected region of one class, as predicted."""

    name: str
    """The class."""

    pixels: int
    """Its pixels in the prediction."""

    certified: int
    """Those that keep the class whatever happens: no perturbation within the radius takes more of it away."""

    top: int
    left: int
    bottom: int
    right: int
    """The box around it, in pixels: rows `top` to `bottom` - 1, columns `left` to `right` - 1."""

    within: ClassBounds | None = None
    """With labels: the bounds of its class among its pixels; None where none of them is labelled."""


def regions(
    prediction: LabelMap,
    certified: Mask,
    classes: Sequence[str],
    *,
    least: int = 1,
    labels: LabelMap | None = None,
    ignore: int | None = None,
    hierarchy: Hierarchy | None = None,
) -> tuple[Region, ...]:
    """Return the connected regions of the predicted classes with at least `least` pixels, the largest first.

    Pixels are connected along their sides. The prediction names a region's pixels, certified or not; the certified
    ones keep its class. With labels (and `ignore`, as in `bounds`) a region also has the bounds of its class among its
    pixels. hierarchy: of the prediction, whose nodes `classes` then names; a group's region has the pixels predicted as
    it, not those of nodes within it.
    """
    from scipy import ndimage

    found = []
    for index, name in enumerate(classes):
        numbers, count = ndimage.label(prediction == index)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)
        held = np.bincount(numbers[certified], minlength=count + 1)
        for number, place in enumerate(ndimage.find_objects(numbers), start=1):
            if sizes[number] < least:
                continue
            within = None
            inside = numbers[place] == number
            truth = None if labels is None else labels[place]
            if truth is not None and (inside & (truth != ignore)).any():
                part = bounds(
                    np.where(inside, index, 0),
                    certified[place],
                    classes,
                    radius=math.nan,
                    labels=truth,
                    ignore=ignore,
                    region=inside,
                    hierarchy=hierarchy,
                )
                within = part.classes[index]
            rows, columns = place
            box = rows.start, columns.start, rows.stop, columns.stop
            found.append(Region(name, int(sizes[number]), int(held[number]), *box, within))
    return tuple(sorted(found, key=lambda region: (-region.pixels, region.top, region.left)))
