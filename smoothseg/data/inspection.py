"""What a dataset holds: how many images of which sizes, how many pixels of each class, and which files are unusable."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from smoothseg.errors import DataError, IncompleteError
from smoothseg.protocols import Dataset, Sample

__all__ = ["Inspection", "Loadable", "Share", "inspect"]


class Loadable(Protocol):
    """A dataset's recipe."""

    def load(self) -> Dataset:
        """Return the dataset."""


@dataclasses.dataclass(frozen=True)
class Share:
    """How much of the labelled images a class covers.

    pixels: how many pixels. images: how many images hold at least one. share: of the pixels that are not ignored;
    0 if there are none.
    """

    name: str
    pixels: int
    images: int
    share: float


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found.

    images: samples that could be read. labelled: of these, how many have labels. sizes: how many images there are of
    each (height, width), the most frequent first. classes: in the order of the label indices.
    ignored: how many pixels of the labelled images are ignored, and their share of all these pixels.
    problems: one line for every file that is missing or cannot be used.
    """

    images: int
    labelled: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    classes: tuple[Share, ...]
    ignored: tuple[int, float]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "sizes": [
                {"height": height, "width": width, "images": count} for (height, width), count in self.sizes
            ],
            "classes": [dataclasses.asdict(share) for share in self.classes],
            "ignored": {"pixels": self.ignored[0], "share": self.ignored[1]},
            "problems": list(self.problems),
        }


def inspect(recipe: Loadable, *, on_image: Callable[[int, int], None] | None = None) -> Inspection:
    """Read every image and annotation of the dataset that `recipe` loads, and continue after one that cannot be used.

    on_image: progress, called with the number of samples read and the number of all.

    A dataset that cannot be loaded at all raises the error of its `load`. What `IncompleteError` names is a problem
    like any other, and the rest is read.
    """
    problems: list[str] = []
    try:
        dataset = recipe.load()
    except IncompleteError as error:
        problems += error.problems
        dataset = error.rest
    sizes: Counter[tuple[int, int]] = Counter()
    pixels = np.zeros(256, dtype=np.int64)
    holding = np.zeros(256, dtype=np.int64)
    labelled = 0
    for index in range(len(dataset)):
        if on_image is not None:
            on_image(index, len(dataset))
        try:
            sample = dataset[index]
            counts = _counts(sample, dataset)
        except DataError as error:
            problems.append(str(error))
            continue
        sizes[sample.image.shape[0], sample.image.shape[1]] += 1
        if counts is not None:
            labelled += 1
            pixels += counts
            holding += counts > 0
    if on_image is not None:
        on_image(len(dataset), len(dataset))
    ignored = int(pixels[dataset.ignore])
    total = int(pixels.sum())
    counted = max(1, total - ignored)
    classes = tuple(
        Share(name, int(pixels[label]), int(holding[label]), int(pixels[label]) / counted)
        for label, name in enumerate(dataset.classes)
    )
    return Inspection(
        images=sizes.total(),
        labelled=labelled,
        sizes=tuple(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))),
        classes=classes,
        ignored=(ignored, ignored / max(1, total)),
        problems=tuple(problems),
    )


def _counts(sample: Sample, dataset: Dataset) -> Any:
    """Return how many pixels have each label 0..255, int64 (256,); None without labels.

    Raises `DataError` for a label that is neither a class nor ignored.
    """
    if sample.labels is None:
        return None
    counts = np.bincount(sample.labels.ravel(), minlength=256)
    for label in np.flatnonzero(counts).tolist():
        if label >= len(dataset.classes) and label != dataset.ignore:
            raise DataError(f"{sample.key}: label {label} is neither a class nor ignored ({dataset.ignore})")
    return counts
