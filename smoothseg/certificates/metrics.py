"""What certificates say about a labelled dataset: accuracy, mIoU and abstention, each with its denominator.

`validate` and `update` see one image and give its `Counts`; `compute` turns the counts of all images into
`Scores`. Counts are integers of a few hundred bytes, so a run keeps them and any score can be computed again
without opening an image. The definitions are those of the published tables (Fischer et al., ICML 2021; Laousy
et al., UAI 2023); `DEFINITIONS` states them in a line each. The plain prediction of an unsmoothed model goes
the same way: it abstains nowhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from smoothseg.errors import DataError

__all__ = [
    "DEFINITIONS",
    "ClassScores",
    "Counts",
    "Scores",
    "by_radius",
    "compute",
    "confusion",
    "update",
    "validate",
]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "certified and correct pixels / labelled pixels of all images; "
        "an abstained pixel counts as wrong",
        "mean_iou": "mean over all C classes of certified and correct pixels / pixels labelled or certified "
        "as the class; a class that occurs nowhere counts as 0",
        "abstained": "mean over images of abstained pixels / all pixels of the image, ignored ones included",
        "abstained_of_labelled": "abstained labelled pixels / labelled pixels of all images",
        "accuracy_of_certified": "certified and correct pixels / certified labelled pixels of all images",
        "mean_iou_of_occurring": "mean IoU over the classes that are labelled or certified somewhere",
        "iou": "certified and correct pixels / pixels labelled or certified as the class",
        "certified_correct": "pixels of the class certified as it / pixels of the class",
        "certified_wrong": "pixels of the class certified as another class / pixels of the class",
        "class_abstained": "abstained pixels of the class / pixels of the class",
    }
)
"""Metric name to its definition in one line, with the denominator: the footnotes of every report.

`class_abstained` is `ClassScores.abstained`; the others carry the name of their field.
"""


@dataclasses.dataclass(frozen=True)
class Counts:
    """The pixel counts of one image, from which every score is computed."""

    classes: int
    """C, the number of classes."""

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


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The scores of one class. A share is None where no pixel is labelled as the class."""

    name: str

    pixels: int
    """Labelled pixels of the class in all images: the denominator of the three shares."""

    iou: float
    """Certified and correct pixels / pixels labelled or certified as the class; 0 if there are none.

    An abstained pixel remains in the denominator.
    """

    certified_correct: float | None
    """Pixels of the class certified as it / pixels of the class."""

    certified_wrong: float | None
    """Pixels of the class certified as another class / pixels of the class."""

    abstained: float | None
    """Abstained pixels of the class / pixels of the class."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a dataset, all in 0..1. Those that need labels are None without labelled pixels."""

    images: int
    """Images counted, with or without labels."""

    labelled_pixels: int
    """Pixels with a class as label, in all images."""

    accuracy: float | None
    """Certified and correct pixels / labelled pixels of all images. An abstained pixel counts as wrong."""

    mean_iou: float | None
    """The sum of the classes' IoU / C. A class that occurs nowhere is part of C and adds 0; abstention is no class."""

    abstained: float | None
    """Mean over images of abstained pixels / all pixels, ignored ones included: each image weighs the same.

    None without images.
    """

    abstained_of_labelled: float | None
    """Abstained labelled pixels / labelled pixels of all images. Not in the published tables."""

    accuracy_of_certified: float | None
    """Certified and correct pixels / certified labelled pixels of all images. Not in the published tables.

    None too if no labelled pixel is certified.
    """

    mean_iou_of_occurring: float | None
    """The sum of the classes' IoU / number of classes labelled or certified somewhere. Not in the published tables."""

    per_class: tuple[ClassScores, ...]
    """One entry a class, in the order of the label indices; empty without labelled pixels."""


def validate(
    prediction: LabelMap,
    certified: npt.NDArray[np.bool_] | None,
    labels: LabelMap | None,
    *,
    classes: int,
    ignore: int,
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
    if 0 <= ignore < classes:
        raise DataError(f"ignore: {ignore} is the index of a class; expected {classes} or above")
    lowest, highest = int(prediction.min()), int(prediction.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            f"prediction: expected classes 0..{classes - 1}, got {lowest if lowest < 0 else highest}"
        )
    if labels is not None:
        wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore)
        if wrong.any():
            raise DataError(
                f"labels: expected classes 0..{classes - 1} or ignore {ignore}, got {labels[wrong].flat[0]}"
            )


def update(
    prediction: LabelMap,
    certified: npt.NDArray[np.bool_] | None,
    labels: LabelMap | None,
    *,
    classes: int,
    ignore: int,
) -> Counts:
    """Return the counts of one image.

    prediction: (H, W) class indices, uint8 or uint16; also where the pixel abstains.
    certified: (H, W), False where the pixel abstains; None for a plain prediction, which abstains nowhere.
    labels: (H, W) class indices or `ignore`; None without ground truth.
    classes: C. ignore: the label of pixels that are left out, not a class index.

    Raises `DataError` for shapes that differ and for values that are no class.
    """
    validate(prediction, certified, labels, classes=classes, ignore=ignore)
    sure = prediction.size if certified is None else int(np.count_nonzero(certified))
    if labels is None:
        return Counts(classes, prediction.size, sure, None)
    # As int64 before anything else: neither C nor a matrix index need fit the label maps' own type.
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
) -> tuple[tuple[float, int, int], ...]:
    """Return (radius, certified pixels, certified and correct pixels) for each radius of an image, ascending.

    All arrays are (H, W), `radii` in [0, 1] pixel units; without labels no pixel is correct. More than `levels`
    different radii are rounded down to so many equal steps: no pixel gets a larger one than it has.
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
    correct = np.zeros(own.shape, dtype=bool) if labels is None else (prediction == labels)[certified]
    at = np.searchsorted(values, own)
    sure, right = (np.bincount(at[which], minlength=len(values)) for which in (slice(None), correct))
    return tuple((float(r), int(s), int(c)) for r, s, c in zip(values, sure, right, strict=True))


def confusion(counts: Iterable[Counts], *, classes: int) -> npt.NDArray[np.int64]:
    """Return the confusion matrix summed over images, int64 (C+1, C+1).

    Rows are labels, columns what was certified. Column C holds the abstained pixels; row C is empty.
    Raises `DataError` for counts of another number of classes.
    """
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for image in counts:
        if image.classes != classes:
            raise DataError(f"expected counts over {classes} classes, got {image.classes}")
        for label, column, count in image.confusion or ():
            matrix[label, column] += count
    return matrix


def compute(counts: Iterable[Counts], classes: Sequence[str]) -> Scores:
    """Return the scores of the images with these `counts`; `classes` are the C class names.

    The order of the images does not change the result, not even in its last bit.
    """
    counts = tuple(counts)
    matrix = confusion(counts, classes=len(classes))
    correct = np.diagonal(matrix)[:-1]
    pixels = matrix[:-1].sum(axis=1)
    abstained = matrix[:-1, -1]
    union = pixels + matrix[:, :-1].sum(axis=0) - correct
    iou = correct / np.maximum(union, 1)

    labelled = int(pixels.sum())
    right = int(correct.sum())
    held_back = int(abstained.sum())
    occurring = int(np.count_nonzero(union))
    total_iou = math.fsum(iou)
    shares = [(image.pixels - image.certified) / image.pixels for image in counts]
    return Scores(
        images=len(counts),
        labelled_pixels=labelled,
        accuracy=_share(right, labelled),
        mean_iou=total_iou / len(classes) if labelled else None,
        abstained=math.fsum(shares) / len(shares) if shares else None,
        abstained_of_labelled=_share(held_back, labelled),
        accuracy_of_certified=_share(right, labelled - held_back),
        mean_iou_of_occurring=total_iou / occurring if labelled else None,
        per_class=tuple(
            ClassScores(
                name=name,
                pixels=int(pixels[c]),
                iou=float(iou[c]),
                certified_correct=_share(int(correct[c]), int(pixels[c])),
                certified_wrong=_share(int(pixels[c] - correct[c] - abstained[c]), int(pixels[c])),
                abstained=_share(int(abstained[c]), int(pixels[c])),
            )
            for c, name in enumerate(classes)
        )
        if labelled
        else (),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
