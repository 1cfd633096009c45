"""What is counted of one image: its confusion matrix, its certified pixels, and how many there are at each radius.

Counts are integers of a few hundred bytes. A run keeps them, so that any score can be computed again without opening an
image; `smoothseg.certificates.metrics` does so. The plain prediction of an unsmoothed model is counted the same way: it
abstains nowhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.hierarchy import Hierarchy, contains
from smoothseg.errors import DataError

__all__ = ["Counts", "by_radius", "update", "validate"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclasses.dataclass(frozen=True)
class Counts:
    """The pixel counts of one image, from which every score is computed."""

    classes: int
    """C, the number of classes; with a hierarchy that of all its nodes, of which labels have the first ones only."""

    pixels: int
    """All pixels of the image, ignored ones included."""

    certified: int
    """The pixels among them that do not abstain, ignored ones included."""

    confusion: tuple[tuple[int, int, int], ...] | None
    """The entries above 0 of the (C+1) x (C+1) confusion matrix, row by row, as (label, column, pixels).

    Column c < C holds the pixels certified as class c, column C the abstained ones. Ignored pixels are left
    out. None for an image without labels.
    """

    def __post_init__(self) -> None:
        if not (self.classes > 0 and 0 <= self.certified <= self.pixels and self.pixels > 0):
            raise DataError(
                f"counts: expected classes > 0 and 0 <= certified <= pixels > 0, "
                f"got {self.classes}, {self.certified}, {self.pixels}"
            )
        for label, column, count in self.confusion or ():
            if not (0 <= label < self.classes and 0 <= column <= self.classes and count > 0):
                raise DataError(
                    f"counts: ({label}, {column}, {count}) is no entry of a confusion matrix "
                    f"of {self.classes} classes"
                )

    def correct(self, hierarchy: Hierarchy | None = None) -> int:
        """Return the labelled pixels that are certified as their class, or as a node of `hierarchy` that has it."""
        entries = self.confusion or ()
        if hierarchy is None:
            return sum(count for label, column, count in entries if label == column)
        members = hierarchy.members
        nodes, leaves = members.shape
        return sum(
            count
            for label, column, count in entries
            if label < leaves and column < min(nodes, self.classes) and members[column, label]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        """Return the counts that `to_json` gave as `value`; raise `DataError` if it is anything else."""
        try:
            entries = value["confusion"]
            return cls(
                classes=int(value["classes"]),
                pixels=int(value["pixels"]),
                certified=int(value["certified"]),
                confusion=None
                if entries is None
                else tuple((int(label), int(column), int(count)) for label, column, count in entries),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not the counts of an image: {error!r}") from None


def validate(
    prediction: LabelMap,
    certified: npt.NDArray[np.bool_] | None,
    labels: LabelMap | None,
    *,
    classes: int,
    ignore: int,
    leaves: int | None = None,
) -> None:
    """Raise `DataError` unless `update` can count this image; the arguments are those of `update`."""
    for name, array in (("prediction", prediction), ("labels", labels)):
        if array is not None and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"{name}: expected integers, got {array.dtype}")
    if certified is not None and certified.dtype != np.bool_:
        raise TypeError(f"certified: expected bool, got {certified.dtype}")
    if prediction.ndim != 2 or not prediction.size:
        raise DataError(f"prediction: expected a shape (H, W), got {prediction.shape}")
    for name, other in (("certified", certified), ("labels", labels)):
        if other is not None and other.shape != prediction.shape:
            raise DataError(f"{name}: expected the prediction's shape {prediction.shape}, got {other.shape}")
    known = classes if leaves is None else leaves
    if 0 <= ignore < known:
        raise DataError(f"ignore: {ignore} is the index of a class; expected {known} or above")
    lowest, highest = int(prediction.min()), int(prediction.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            f"prediction: expected classes 0..{classes - 1}, got {lowest if lowest < 0 else highest}"
        )
    if labels is not None:
        wrong = ((labels < 0) | (labels >= known)) & (labels != ignore)
        if wrong.any():
            raise DataError(
                f"labels: expected classes 0..{known - 1} or ignore {ignore}, got {labels[wrong].flat[0]}"
            )


def update(
    prediction: LabelMap,
    certified: npt.NDArray[np.bool_] | None,
    labels: LabelMap | None,
    *,
    classes: int,
    ignore: int,
    leaves: int | None = None,
) -> Counts:
    """Return the counts of one image.

    prediction: (H, W) class indices, uint8 or uint16; also where the pixel abstains.
    certified: (H, W), False where the pixel abstains; None for a plain prediction, which abstains nowhere.
    labels: (H, W) class indices or `ignore`; None without ground truth.
    classes: C. ignore: the label of pixels that are left out, not a class index. leaves: how many of the classes labels
        can have, None for all; the others are nodes of a hierarchy, which only predictions have.

    Raises `DataError` for shapes that differ and for values that are no class.
    """
    validate(prediction, certified, labels, classes=classes, ignore=ignore, leaves=leaves)
    sure = prediction.size if certified is None else int(np.count_nonzero(certified))
    if labels is None:
        return Counts(classes, prediction.size, sure, None)
    # int64 before anything else: neither C nor a matrix index need fit the label maps' own type.
    columns = prediction.astype(np.int64)
    if certified is not None:
        columns[~certified] = classes
    labelled = labels != ignore
    index = labels[labelled].astype(np.int64) * (classes + 1) + columns[labelled]
    flat = np.bincount(index, minlength=(classes + 1) ** 2)
    entries = ((*divmod(int(i), classes + 1), int(flat[i])) for i in np.flatnonzero(flat))
    return Counts(classes, prediction.size, sure, tuple(entries))


def by_radius(
    prediction: LabelMap,
    certified: npt.NDArray[np.bool_],
    radii: npt.NDArray[np.floating[Any]],
    labels: LabelMap | None,
    *,
    levels: int = 1000,
    hierarchy: Hierarchy | None = None,
) -> tuple[tuple[float, int, int], ...]:
    """Return (radius, certified pixels, certified and correct pixels) for each radius of an image, ascending.

    All arrays are (H, W), `radii` in [0, 1] pixel units; without labels no pixel is correct. hierarchy: of the
    prediction, whose nodes are correct where they have the label; None for classes. More than `levels`
    different radii are rounded down to that many equal steps: no pixel gets a larger radius than it has.
    """
    own = radii[certified].astype(np.float64)
    if not own.size:
        return ()
    values = np.unique(own)
    if len(values) > levels:
        step = float(values[-1]) / levels
        whole = np.floor(own / step)
        own = (whole - (whole * step > own)) * step  # the quotient may have been rounded up to the next step
        values = np.unique(own)
    correct = (
        np.zeros(own.shape, dtype=bool)
        if labels is None
        else contains(prediction, labels, hierarchy)[certified]
    )
    at = np.searchsorted(values, own)
    sure, right = (np.bincount(at[which], minlength=len(values)) for which in (slice(None), correct))
    return tuple((float(r), int(s), int(c)) for r, s, c in zip(values, sure, right, strict=True))
