"""Are the pixels of an image counted as they are, and is refused what cannot be counted?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from smoothseg import DataError
from smoothseg.certificates.counts import Counts, by_radius, update

VOID = 255


def count(prediction, certified, labels) -> Counts:
    return update(
        np.array(prediction, np.uint8),
        None if certified is None else np.array(certified, bool),
        None if labels is None else np.array(labels, np.uint8),
        classes=3,
        ignore=VOID,
    )


def test_counts_survive_json() -> None:
    counts = count([[0, 1, 2]], [[1, 0, 1]], [[0, 1, VOID]])
    assert Counts.from_json(json.loads(json.dumps(counts.to_json()))) == counts
    bare = count([[0, 1, 2]], [[1, 0, 1]], None)
    assert Counts.from_json(json.loads(json.dumps(bare.to_json()))) == bare


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"classes": 3, "pixels": 4, "certified": 5, "confusion": None},
        {"classes": 3, "pixels": 4, "certified": 4, "confusion": [[0, 1]]},
        {"classes": 3, "pixels": 4, "certified": 4, "confusion": [[3, 0, 1]]},
        {"classes": 3, "pixels": 4, "certified": 4, "confusion": [[0, 4, 1]]},
        {"classes": 3, "pixels": 4, "certified": 4, "confusion": [[0, 0, 0]]},
    ],
)
def test_what_are_no_counts_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Counts.from_json(value)


def test_more_than_256_classes_are_counted() -> None:
    prediction = np.array([[299, 7, 299]], np.uint16)
    counts = update(
        prediction, np.array([[True, True, False]]), np.array([[5, 7, 9]], np.uint8), classes=300, ignore=301
    )
    assert counts.confusion == ((5, 299, 1), (7, 7, 1), (9, 300, 1))


def test_all_256_values_may_be_classes_of_a_uint8_prediction() -> None:
    prediction = np.array([[255, 0]], np.uint8)
    counts = update(
        prediction, np.array([[False, True]]), np.array([[255, 0]], np.uint8), classes=256, ignore=-1
    )
    assert counts.confusion == ((0, 0, 1), (255, 256, 1))


@pytest.mark.parametrize(
    ("prediction", "certified", "labels", "message"),
    [
        ([[0, 1]], [[1], [1]], None, r"certified: expected the prediction's shape \(1, 2\), got \(2, 1\)"),
        ([[0, 1]], [[1, 1]], [[0, 1, 1]], r"labels: expected the prediction's shape \(1, 2\), got \(1, 3\)"),
        ([[0, 1]], None, [[0, 3]], "labels: expected classes 0..2 or ignore 255, got 3"),
        ([[0, 3]], None, [[0, 1]], "prediction: expected classes 0..2, got 3"),
        ([0, 1], None, None, r"prediction: expected a shape \(H, W\), got \(2,\)"),
    ],
)
def test_what_cannot_be_counted_is_named(prediction, certified, labels, message: str) -> None:
    with pytest.raises(DataError, match=message):
        count(prediction, certified, labels)


def test_an_ignore_label_that_is_a_class_is_refused() -> None:
    with pytest.raises(DataError, match="ignore: 1 is the index of a class"):
        update(np.zeros((1, 2), np.uint8), None, None, classes=3, ignore=1)


def test_floats_and_missing_masks_are_programming_mistakes() -> None:
    labels = np.zeros((1, 2), np.uint8)
    with pytest.raises(TypeError, match="prediction: expected integers, got float64"):
        update(np.zeros((1, 2)), None, labels, classes=3, ignore=VOID)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="certified: expected bool, got uint8"):
        update(labels, labels, labels, classes=3, ignore=VOID)  # type: ignore[arg-type]


def test_pixels_are_counted_at_their_own_radius():
    prediction = np.array([[0, 1, 1], [0, 0, 1]])
    certified = np.array([[True, True, False], [True, True, True]])
    radii = np.array([[0.2, 0.1, np.nan], [0.1, 0.3, 0.2]], dtype=np.float32)
    labels = np.array([[0, 0, 1], [0, 255, 1]])
    small, middle, large = (float(np.float32(value)) for value in (0.1, 0.2, 0.3))
    assert by_radius(prediction, certified, radii, labels) == (
        (small, 2, 1),
        (middle, 2, 2),
        (large, 1, 0),
    )
    assert by_radius(prediction, certified, radii, None) == (
        (small, 2, 0),
        (middle, 2, 0),
        (large, 1, 0),
    )
    assert by_radius(prediction, np.zeros_like(certified), radii, labels) == ()


def test_many_radii_are_rounded_down():
    radii = np.linspace(0.1, 0.9, 600, dtype=np.float32).reshape(20, 30)
    everywhere = np.ones(radii.shape, dtype=bool)
    counted = by_radius(np.zeros(radii.shape, dtype=int), everywhere, radii, None, levels=50)
    assert len(counted) <= 51
    assert sum(pixels for _, pixels, _ in counted) == radii.size
    for radius, _, _ in counted:
        at_least = sum(pixels for other, pixels, _ in counted if other >= radius)
        assert at_least == int((radii.astype(np.float64) >= radius).sum())
