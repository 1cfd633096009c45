"""What certificates say about a labelled dataset: accuracy, mIoU and abstention, each with its denominator.

`compute` turns the counts of all images into `Scores`. The definitions are those of the published tables (Fischer et
al., ICML 2021; Laousy et al., UAI 2023); `DEFINITIONS` states each in a line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.counts import Counts
from smoothseg.errors import DataError

__all__ = ["DEFINITIONS", "ClassScores", "Scores", "compute", "confusion"]

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
    """The sum of the classes' IoU / C. A class that occurs nowhere counts in C and adds 0; abstention is no class."""

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
    """One entry for each class, in the order of the label indices; empty without labelled pixels."""


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
