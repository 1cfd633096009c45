"""What must a dataset promise?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from smoothseg.data import checks as core
from smoothseg.errors import DataError, PluginError, first_line
from smoothseg.protocols import Dataset, Sample
from smoothseg.testing.promises import Check, assert_all, protocol_check

__all__ = ["check_dataset", "dataset_checks"]


def check_dataset(dataset: Dataset, *, samples: int = 3) -> None:
    """Assert the promises of `Dataset` on its first `samples` samples."""
    assert_all(dataset_checks(dataset, samples=samples))


class _Part:
    """A dataset that has only what is given, to look at one promise at a time."""

    def __init__(self, **given: Any) -> None:
        self.keys = given.get("keys", ())
        self.classes = given.get("classes", ())
        self.palette = given.get("palette", ())
        self.ignore = given.get("ignore", 255)
        self._length = given.get("length", 0)

    def __len__(self) -> int:
        return int(self._length)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what smoothseg refuses before a run into a broken promise."""
    try:
        yield
    except (PluginError, DataError) as error:
        raise AssertionError(first_line(error)) from None


def dataset_checks(dataset: Dataset, samples: int) -> tuple[Check, ...]:
    """Return the checks of a dataset, in order; the arguments are those of `check_dataset`."""
    part = type(type(dataset).__name__, (_Part,), {})  # the messages name the dataset's class

    def keys() -> None:
        with _refusals():
            core.check_dataset(part(keys=dataset.keys, length=len(dataset)))

    def legend() -> None:
        with _refusals():
            core.check_dataset(
                part(classes=dataset.classes, palette=dataset.palette, ignore=dataset.ignore),
            )

    @functools.cache
    def first() -> list[Sample]:
        return [dataset[index] for index in range(min(samples, len(dataset)))]

    def images() -> None:
        for index, sample in enumerate(first()):
            with _refusals():
                core.check_sample(dataclasses.replace(sample, labels=None), dataset.keys[index], dataset)

    def deterministic() -> None:
        for index, sample in enumerate(first()):
            again = dataset[index]
            assert np.array_equal(sample.image, again.image), (
                f"{sample.key}: reading it twice gives two images"
            )
            if sample.labels is None or again.labels is None:
                same = sample.labels is again.labels
            else:
                same = np.array_equal(sample.labels, again.labels)
            assert same, f"{sample.key}: reading it twice gives two label maps"

    def labels() -> None:
        for sample in first():
            with _refusals():
                core.check_sample(sample, sample.key, dataset)

    return (
        protocol_check(dataset, "dataset"),
        Check(
            "keys",
            "keys are unique and fit for file names",
            "A certificate is filed under its image's key, and the key seeds its noise.",
            keys,
        ),
        Check(
            "legend",
            "every class has a colour, and ignore is no class",
            "Labels are looked up in the classes and drawn in the palette.",
            legend,
        ),
        Check(
            "images",
            "images are 8-bit RGB under their keys",
            "Noise is added to 8-bit RGB, and sigma and radius are in units of its range.",
            images,
            True,
        ),
        Check(
            "deterministic",
            "reading a sample twice gives the same",
            "A certificate is about one image, and a run that goes on must find it.",
            deterministic,
        ),
        Check(
            "labels",
            "labels are classes or ignore, a value a pixel",
            "Accuracy and IoU compare the prediction with them, pixel by pixel.",
            labels,
        ),
    )
