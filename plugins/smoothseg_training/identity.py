"""When are two trainings the same? When they agree on the recipe, the data and the weights they start from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smoothseg.errors import RunMismatchError
from smoothseg.protocols import Dataset
from smoothseg_training.options import Training

__all__ = ["check_same", "content", "defaults", "identity_of"]


def identity_of(
    described: Mapping[str, Any],
    data: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    used: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what identifies a training: the recipe, the data and the weights, wherever their files are."""
    identity = {
        **described,
        "images": data.get("images"),
        "content": data.get("content"),
        "weights": dict(used),
    }
    if validation is not None:
        identity |= {"validation_content": validation.get("content")}
    return identity


def defaults(training: Training) -> dict[str, Any]:
    """Return the default of each option: its value in a file that was written before the option existed."""
    return {
        field.name: field.default
        for field in dataclasses.fields(training)
        if field.default is not dataclasses.MISSING
    }


def content(dataset: Dataset) -> str:
    """Return 16 hexadecimal digits that identify the images of a dataset, wherever its folder is.

    They are a digest of all keys, and of the pixels and labels of the first, the middle and the last sample. Reading
    all of them would take longer than many trainings.
    """
    digest = hashlib.sha256(repr(tuple(dataset.keys)).encode())
    for index in sorted({0, len(dataset) // 2, len(dataset) - 1}):
        sample = dataset[index]
        for array in (sample.image, sample.labels):
            digest.update(b"none" if array is None else repr(array.shape).encode() + array.tobytes())
    return digest.hexdigest()[:16]


def check_same(there: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise `RunMismatchError` with every difference if `path` belongs to another training."""
    before, after = _flat(there), _flat(now)
    differences = [
        f"{key} is {after.get(key, 'not set')}, was {before.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "not set") != after.get(key, "not set")
    ]
    if differences:
        raise RunMismatchError(
            f"{path} belongs to another training: {'; '.join(differences)}. "
            "Choose another --output or start over with --fresh"
        )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat
