"""Do the metrics give the published numbers, and what hand computation gives?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smoothseg import DataError
from smoothseg.certificates.counts import Counts, update
from smoothseg.certificates.metrics import DEFINITIONS, ClassScores, Scores, compute, confusion

HERE = Path(__file__).resolve()
FOLDERS = [HERE.parents[1] / "golden" / "metrics", HERE.parents[2].parent / "shared" / "golden" / "metrics"]
NAMES = ("a", "b", "c")
VOID = 255


def count(prediction, certified, labels, classes: int = 3) -> Counts:
    return update(
        np.array(prediction, np.uint8),
        None if certified is None else np.array(certified, bool),
        None if labels is None else np.array(labels, np.uint8),
        classes=classes,
        ignore=VOID,
    )


def golden_counts(folder: Path, which: str, kind: str) -> tuple[list[Counts], dict[str, Any]]:
    """The counts of the four golden images; their ignore label -1 becomes 255, the range of a dataset's."""
    expected = json.loads((folder / "expected.json").read_text())
    abstain = expected["abstain"]
    counts = []
    with np.load(folder / "metrics.npz") as arrays:
        for i in range(4):
            labels = arrays[f"{which}_label{i}"][0]
            decided = arrays[f"{which}_{kind}{i}"][0]
            counts.append(
                update(
                    # What an abstained pixel would have been must not matter: any class will do.
                    np.where(decided == abstain, 2, decided).astype(np.uint8),
                    None if kind == "baseline" else decided != abstain,
                    np.where(labels == -1, VOID, labels).astype(np.uint8),
                    classes=expected["num_classes"],
                    ignore=VOID,
                )
            )
    (result,) = (v for k, v in expected["sets"][which]["results"].items() if k.startswith(kind))
    return counts, result


@pytest.mark.golden
@pytest.mark.parametrize("folder", FOLDERS, ids=["copy", "shared"])
@pytest.mark.parametrize("which", ["ignorem1", "ignore255"])
@pytest.mark.parametrize("kind", ["baseline", "certify"])
def test_scores_are_the_published_ones(folder: Path, which: str, kind: str) -> None:
    if not folder.exists():
        pytest.skip("the shared golden data are not here")
    counts, result = golden_counts(folder, which, kind)
    np.testing.assert_array_equal(confusion(counts, classes=6), result["confusion"])
    scores = compute(counts, "abcdef")
    assert scores.accuracy == pytest.approx(result["accuracy"], abs=1e-9)
    assert scores.mean_iou == pytest.approx(result["mean_iou_reported"], abs=1e-9)
    assert scores.abstained == pytest.approx(result["abstain_reported"], abs=1e-9)
    assert [c.iou for c in scores.per_class] == pytest.approx(result["iou_C_plus_1"][:-1], abs=1e-9)
    extra = result["extra_not_original"]
    assert scores.abstained_of_labelled == pytest.approx(extra["abstain_over_labelled_pixels"], abs=1e-9)
    assert scores.accuracy_of_certified == pytest.approx(extra["accuracy_among_certified"], abs=1e-9)
    assert scores.mean_iou_of_occurring == pytest.approx(extra["mean_iou_present_classes_only"], abs=1e-9)
    for one, image in zip(counts, result["per_image"], strict=True):
        alone = compute([one], "abcdef")
        assert alone.accuracy == (
            None if image["accuracy"] is None else pytest.approx(image["accuracy"], abs=1e-9)
        )
        assert 1 - alone.abstained == pytest.approx(image["non_abstain"], abs=1e-9)
        if alone.per_class:
            assert [c.iou for c in alone.per_class] == pytest.approx(image["iou"][:-1], abs=1e-9)


def test_every_score_of_a_small_case_is_the_hand_computed_one() -> None:
    first = count(
        [[0, 1, 1], [1, 0, 1]],
        [[1, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [1, 1, VOID]],
    )
    second = count([[1, 0]], [[1, 0]], [[1, 1]])
    assert first == Counts(3, 6, 4, ((0, 0, 1), (0, 1, 1), (0, 3, 1), (1, 0, 1), (1, 1, 1)))
    assert compute([first, second], NAMES) == Scores(
        images=2,
        labelled_pixels=7,
        accuracy=3 / 7,
        mean_iou=(1 / 4 + 2 / 5 + 0) / 3,
        abstained=(2 / 6 + 1 / 2) / 2,
        abstained_of_labelled=2 / 7,
        accuracy_of_certified=3 / 5,
        mean_iou_of_occurring=(1 / 4 + 2 / 5) / 2,
        per_class=(
            ClassScores("a", 3, 1 / 4, 1 / 3, 1 / 3, 1 / 3),
            ClassScores("b", 4, 2 / 5, 2 / 4, 1 / 4, 1 / 4),
            ClassScores("c", 0, 0.0, None, None, None),
        ),
        information_gain=3 / 7,
        class_information_gain=(1 / 3 + 2 / 4) / 2,
    )


def test_abstained_pixels_count_as_wrong_even_where_the_class_is_right() -> None:
    labels = [[0, 1, 2, 2]]
    assert compute([count(labels, [[1, 1, 1, 1]], labels)], NAMES).accuracy == 1.0
    held_back = compute([count(labels, [[1, 0, 1, 0]], labels)], NAMES)
    assert held_back.accuracy == 0.5
    assert [c.iou for c in held_back.per_class] == [1.0, 0.0, 0.5]
    assert held_back.accuracy_of_certified == 1.0


def test_ignored_pixels_change_abstention_alone() -> None:
    without = compute([count([[0, 1]], [[1, 1]], [[0, 2]])], NAMES)
    ignored = compute([count([[0, 1, 1, 2]], [[1, 1, 0, 1]], [[0, 2, VOID, VOID]])], NAMES)
    assert ignored.abstained == 0.25
    assert dataclasses.replace(ignored, abstained=0.0) == without


def test_a_class_certified_but_never_labelled_occurs() -> None:
    scores = compute([count([[0, 2]], None, [[0, 0]], classes=4)], "abcd")
    assert scores.mean_iou == 0.5 / 4
    assert scores.mean_iou_of_occurring == 0.5 / 2
    assert scores.per_class[2].pixels == 0


def test_a_plain_prediction_abstains_nowhere() -> None:
    plain = count([[0, 1, 2]], None, [[0, 1, 1]])
    assert plain == count([[0, 1, 2]], [[1, 1, 1]], [[0, 1, 1]])
    assert compute([plain], NAMES).abstained == 0.0


def test_without_labels_only_abstention_is_known() -> None:
    scores = compute([count([[0, 1, 2, 2]], [[1, 1, 1, 0]], None)], NAMES)
    assert scores == Scores(1, 0, None, None, 0.25, None, None, None, ())


def test_an_image_without_labels_weighs_in_abstention_alone() -> None:
    labelled = count([[0, 1]], [[1, 1]], [[0, 1]])
    scores = compute([labelled, count([[0, 1]], [[0, 0]], None)], NAMES)
    assert scores.accuracy == 1.0
    assert scores.abstained == 0.5


def test_nothing_labelled_gives_no_score_instead_of_zero() -> None:
    scores = compute([count([[0, 1]], [[1, 0]], [[VOID, VOID]])], NAMES)
    assert scores == Scores(1, 0, None, None, 0.5, None, None, None, ())


def test_no_certified_labelled_pixel_leaves_accuracy_of_certified_unknown() -> None:
    scores = compute([count([[0, 1]], [[0, 0]], [[0, 1]])], NAMES)
    assert (scores.accuracy, scores.accuracy_of_certified) == (0.0, None)


def test_no_images_give_no_scores() -> None:
    scores = compute([], NAMES)
    assert (scores.images, scores.accuracy, scores.abstained) == (0, None, None)


def test_the_order_of_images_does_not_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    counts = [
        count(rng.integers(0, 3, (5, n)), rng.random((5, n)) < 0.7, rng.integers(0, 3, (5, n)))
        for n in range(1, 60)
    ]
    assert compute(counts, NAMES) == compute(reversed(counts), NAMES)


def test_counts_over_other_classes_are_not_mixed() -> None:
    with pytest.raises(DataError, match="expected counts over 3 classes, got 4"):
        compute([count([[0]], None, [[0]], classes=4)], NAMES)


def test_every_score_has_a_definition() -> None:
    fields = {f.name for f in dataclasses.fields(Scores)} - {"images", "labelled_pixels", "per_class"}
    shares = {"iou", "certified_correct", "certified_wrong", "class_abstained"}
    assert fields | shares == set(DEFINITIONS)
    assert all("/" in text or "mean" in text for text in DEFINITIONS.values())
