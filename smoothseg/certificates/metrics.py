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
from smoothseg.certificates.hierarchy import Hierarchy
from smoothseg.errors import DataError

__all__ = ["DEFINITIONS", "INFORMATION", "ClassScores", "Scores", "compute", "confusion"]

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
        "information_gain": "sum over the labelled pixels certified as a group with their class, or as it, of "
        "1 - log(classes in the group) / log C, / labelled pixels of all images",
        "class_information_gain": "mean of the information gain over the classes that are labelled somewhere",
    }
)
"""Metric name to its definition in one line, with the denominator: the footnotes of every report.

`class_abstained` is `ClassScores.abstained`; the others carry the name of their field.
"""

INFORMATION = ("information_gain", "class_information_gain")
"""The scores that say something only where pixels may be certified as groups of classes."""


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The scores of one class. A share is None where no pixel is labelled as the class."""

    name: str

    pixels: int
    """Labelled pixels of the class in all images: the denominator of the three shares."""

    iou: float
    """Certified and correct pixels / pixels labelled or certified as the class; 0 if there are none.

    An abstained pixel remains in the denominator, and so does one that is certified as a group of more classes. To be
    certified as a group is to be certified as it or as a node within it.
    """

    certified_correct: float | None
    """Pixels of the class certified as it, or as a group that has it / pixels of the class."""

    certified_wrong: float | None
    """Pixels of the class certified as another class, or a group without it / pixels of the class."""

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
    """One entry for each class, in the order of the label indices, and then for each group of a hierarchy.

    Empty without labelled pixels.
    """

    information_gain: float | None = None
    """Certified information gain (Anani et al., ICML 2024): a labelled pixel certified as a node that has its class
    scores 1 - log(classes in the node) / log C, any other 0; the mean over the labelled pixels of all images.

    Where only classes are certified it is the accuracy.
    """

    class_information_gain: float | None = None
    """The mean of the information gain over the classes that are labelled somewhere, each class by itself."""


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


def compute(counts: Iterable[Counts], classes: Sequence[str], hierarchy: Hierarchy | None = None) -> Scores:
    """Return the scores of the images with these `counts`; `classes` are the C class names.

    hierarchy: of what is certified; `classes` are then the names of all its nodes, the C classes first. A pixel is
    correct if its node has its label. IoU and mean IoU of classes count what is certified as a class.

    The order of the images does not change the result, not even in its last bit.
    """
    counts = tuple(counts)
    matrix = confusion(counts, classes=len(classes))
    members = np.eye(len(classes), dtype=bool) if hierarchy is None else hierarchy.members
    leaves = members.shape[1]
    if matrix[leaves:].any():
        raise DataError(f"expected labels below {leaves}, the number of classes")
    labels, sure = matrix[:leaves].sum(axis=1), matrix[:leaves, :-1]
    # By node: how many pixels are labelled as one of its classes, certified as it or within it, both, or abstained;
    # and how many of the labelled ones are certified as a node that has their own class.
    pixels = members @ labels
    within = (members if hierarchy is None else hierarchy.within).astype(np.int64)
    certified = within @ sure.sum(axis=0)
    both = (members @ sure * within).sum(axis=1)
    abstained = members @ matrix[:leaves, -1]
    right = (sure * members.T).sum(axis=1)
    correct = members @ right
    union = pixels + certified - both
    iou = both / np.maximum(union, 1)

    labelled, held_back = int(labels.sum()), int(matrix[:leaves, -1].sum())
    occurring = int(np.count_nonzero(union[:leaves]))
    total_iou = math.fsum(iou[:leaves])
    shares = [(image.pixels - image.certified) / image.pixels for image in counts]
    gains = _gains(sure * members.T, members.sum(axis=1))
    own = [float(gains[c] / labels[c]) for c in np.flatnonzero(labels)]
    return Scores(
        images=len(counts),
        labelled_pixels=labelled,
        accuracy=_share(int(right.sum()), labelled),
        mean_iou=total_iou / leaves if labelled else None,
        abstained=math.fsum(shares) / len(shares) if shares else None,
        abstained_of_labelled=_share(held_back, labelled),
        accuracy_of_certified=_share(int(right.sum()), labelled - held_back),
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
        information_gain=math.fsum(gains) / labelled if labelled else None,
        class_information_gain=math.fsum(own) / len(own) if own else None,
    )


def _gains(right: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the information gain by label, (C), summed over its pixels.

    right: pixels certified as a node that has their label, (C, nodes). sizes: classes in each node. One class alone is
    no information, and counts as 1 where it is certified, so that the gain is the accuracy wherever only classes are
    certified.
    """
    most = len(right)
    each = np.ones(len(sizes)) if most == 1 else 1 - np.log(sizes) / math.log(most)
    gains: npt.NDArray[np.float64] = right @ each
    return gains


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
