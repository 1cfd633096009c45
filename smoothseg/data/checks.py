"""What a dataset, its samples and a segmenter's classes must be before a network sees an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smoothseg.data.keys import KEY
from smoothseg.errors import ConfigError, DataError, PluginError
from smoothseg.protocols import Dataset, Sample

__all__ = ["check_classes", "check_dataset", "check_names", "check_sample"]


_LONGEST = 200
"""Characters of the longest name of a class."""


def check_dataset(dataset: Dataset) -> None:
    """Raise `PluginError` unless keys, classes, palette and ignore are what `Dataset` promises.

    Classes are often named by a file of the user: names that are no line of text raise `ConfigError`.
    """
    name = type(dataset).__name__
    if len(dataset.keys) != len(dataset):
        raise PluginError(f"dataset {name} has {len(dataset)} samples and {len(dataset.keys)} keys")
    seen: dict[str, str] = {}
    for key in dataset.keys:
        if not KEY.fullmatch(key):
            raise PluginError(
                f"dataset {name}: key '{key}' is not fit for a file name (letters, digits, '-_.')"
            )
        if key.casefold() in seen:  # some file systems ignore case
            raise PluginError(f"dataset {name}: keys '{seen[key.casefold()]}' and '{key}' name the same file")
        seen[key.casefold()] = key
    check_names(dataset.classes, f"dataset {name}")
    if len(dataset.palette) != len(dataset.classes):
        raise PluginError(
            f"dataset {name}: {len(dataset.palette)} colours for {len(dataset.classes)} classes"
        )
    if dataset.classes and not len(dataset.classes) <= dataset.ignore <= 255:
        raise PluginError(f"dataset {name}: ignore={dataset.ignore} must be no class index and at most 255")


def check_sample(sample: Sample, key: str, dataset: Dataset) -> None:
    """Raise `DataError` unless image and labels are what the dataset promises."""
    if sample.key != key:
        raise PluginError(f"dataset {type(dataset).__name__}: sample '{key}' says its key is '{sample.key}'")
    image, labels = sample.image, sample.labels
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"{sample.key}: expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
    if not image.size:
        raise DataError(f"{sample.key}: the image has no pixels, its shape is {image.shape}")
    if labels is None:
        return
    if labels.dtype != np.uint8 or labels.shape != image.shape[:2]:
        raise DataError(
            f"{sample.key}: expected uint8 labels {image.shape[:2]}, got {labels.dtype} {labels.shape}"
        )
    wrong = (labels >= len(dataset.classes)) & (labels != dataset.ignore)
    if wrong.any():
        raise DataError(
            f"{sample.key}: label {int(labels[wrong][0])} at {int(wrong.sum())} pixels is neither one of the "
            f"{len(dataset.classes)} classes nor {dataset.ignore} (ignore)"
        )


def check_classes(classes: Sequence[str], dataset: Dataset, whose: str) -> None:
    """Raise `ConfigError` unless the classes of a segmenter (`whose`) are the dataset's; one without any takes all.

    They must be lines of text in any case.
    """
    check_names(classes, whose)
    if dataset.classes and tuple(classes) != tuple(dataset.classes):
        raise ConfigError(
            f"{whose} knows the classes {_shown(classes)}, the dataset has {_shown(dataset.classes)}"
        )


def check_names(classes: Sequence[str], whose: str) -> None:
    """Raise `ConfigError` for a name that tables and terminals could not show on a line."""
    for number, name in enumerate(classes):
        if not (isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()):
            shown = f"{name[:_LONGEST]!r}" if isinstance(name, str) else type(name).__name__
            raise ConfigError(
                f"{whose} names class {number} {shown}: expected 1 to {_LONGEST} characters, none of which is a "
                "control character or a line break"
            )


def _shown(classes: Sequence[str]) -> str:
    return f"{', '.join(classes[:4])}{', ...' if len(classes) > 4 else ''} ({len(classes)})"
