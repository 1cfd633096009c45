"""Nodes of a hierarchy: which classes they have, and what metrics and bounds make of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from smoothseg.certificates import counts, metrics
from smoothseg.certificates.bounds import bounds
from smoothseg.certificates.hierarchy import Hierarchy, contains, from_header, names_of
from smoothseg.certificates.regions import regions
from smoothseg.errors import DataError

HIERARCHY = Hierarchy(
    ("road", "car", "truck", "tree", "vehicle", "obstacle"),
    ((0, 1, 2, 3), (0, 4, 4, 3), (0, 5, 5, 5)),
)
MEMBERS = [{0}, {1}, {2}, {3}, {1, 2}, {1, 2, 3}]
VOID = 4
"""The index of the first group, which a dataset of four classes may well use for what it ignores."""


def test_a_hierarchy_says_which_classes_a_node_has():
    assert HIERARCHY.classes == ("road", "car", "truck", "tree")
    assert HIERARCHY.sizes.tolist() == [1, 1, 1, 1, 2, 3]
    assert HIERARCHY.groups == {"vehicle": ("car", "truck"), "obstacle": ("car", "truck", "tree")}
    for a, b in itertools.product(range(6), repeat=2):
        assert HIERARCHY.within[a, b] == (MEMBERS[b] <= MEMBERS[a])
        assert HIERARCHY.meets[a, b] == bool(MEMBERS[a] & MEMBERS[b])


@pytest.mark.parametrize(
    ("names", "levels", "said"),
    [
        ("ab", ((1, 0),), "level 0 is not that of the classes"),
        ("ab", (), "1 to 64 levels"),
        ("aa", ((0, 1),), "'a' is given twice"),
        ("abc", ((0, 1), (2,)), "level 1 does not give each of the 2 classes a node"),
        ("abc", ((0, 1), (2, 3)), "level 1 does not give each"),
        ("abc", ((0, 1), (2, -1)), "level 1 does not give each"),
        ("abc", ((0, 1), (0, 0)), "'a' has other classes at level 1 than before"),
        ("abcde", ((0, 1, 2), (3, 3, 2), (4, 3, 4)), "level 2 divides 'd' of the level before"),
        ("abc", ((0, 1),), "'c' is on no level"),
    ],
)
def test_what_is_no_hierarchy_is_refused(names, levels, said):
    with pytest.raises(DataError, match=said):
        Hierarchy(tuple(names), levels)


@pytest.mark.parametrize("levels", [3, [3], [[0, 1], ["a", "b"]], [[0.0, 1.0]], [[True, False]], [[]], []])
def test_a_header_with_other_levels_is_refused(levels):
    with pytest.raises(DataError, match="hierarchy: "):
        from_header(["a", "b"], levels)


def test_a_header_gives_the_hierarchy_back():
    assert from_header(list(HIERARCHY.names), [list(each) for each in HIERARCHY.levels]) == HIERARCHY
    assert from_header(["a", "b"], None) is None
    assert names_of(object(), ["a", "b"]) == ("a", "b")


def test_a_node_contains_a_label_that_is_one_of_its_classes():
    prediction = np.array([4, 4, 4, 5, 0, 0, 4], np.uint8)
    labels = np.array([1, 2, 3, 3, 0, 1, 255], np.uint8)
    assert contains(prediction, labels, HIERARCHY).tolist() == [True, True, False, True, True, False, False]
    assert contains(prediction, labels, None).tolist() == [False, False, False, False, True, False, False]


def count(prediction, certified, labels):
    arrays = np.array([prediction]), np.array([certified], bool), np.array([labels])
    return counts.update(*arrays, classes=6, ignore=VOID, leaves=4)


def test_every_score_of_a_small_case_is_the_hand_computed_one():
    #            road  road  car   vehicle vehicle obstacle abstained ignored vehicle
    counted = count(
        [0, 0, 1, 4, 4, 5, 3, 4, 4],
        [1, 1, 1, 1, 1, 1, 0, 1, 1],
        [0, 1, 1, 2, 3, 3, 3, VOID, 1],
    )
    scores = metrics.compute([counted], HIERARCHY.names, HIERARCHY)
    vehicle, obstacle = 1 - math.log(2) / math.log(4), 1 - math.log(3) / math.log(4)

    assert counted.correct(HIERARCHY) == 5
    assert scores.labelled_pixels == 8
    assert scores.accuracy == 5 / 8
    assert scores.abstained == 1 / 9
    assert scores.accuracy_of_certified == 5 / 7
    assert scores.information_gain == pytest.approx((2 + 2 * vehicle + obstacle) / 8, abs=1e-15)
    by_class = [1.0, (1 + vehicle) / 3, vehicle, obstacle / 3]
    assert scores.class_information_gain == pytest.approx(sum(by_class) / 4, abs=1e-15)
    names = [each.name for each in scores.per_class]
    assert names == list(HIERARCHY.names)
    # road: one of two certified; car: one of three labelled; truck and tree are certified as no class.
    assert [each.iou for each in scores.per_class[:4]] == [1 / 2, 1 / 3, 0, 0]
    assert scores.mean_iou == pytest.approx((1 / 2 + 1 / 3) / 4)
    car, vehicles = scores.per_class[1], scores.per_class[4]
    assert (car.pixels, car.certified_correct, car.certified_wrong, car.abstained) == (3, 2 / 3, 1 / 3, 0)
    # Certified as a vehicle or within it: 4, of which 3 are labelled so, and 4 are labelled so.
    assert (vehicles.pixels, vehicles.iou) == (4, 3 / 5)
    assert (vehicles.certified_correct, vehicles.certified_wrong) == (3 / 4, 1 / 4)


def test_of_classes_alone_the_information_gain_is_the_accuracy():
    rng = np.random.default_rng(1)
    prediction, labels = rng.integers(0, 4, (2, 30)), rng.integers(0, 4, (2, 30))
    flat = counts.update(prediction, rng.random((2, 30)) < 0.7, labels, classes=4, ignore=255)
    scores = metrics.compute([flat], HIERARCHY.classes)
    assert scores.information_gain == scores.accuracy
    shares = [each.certified_correct for each in scores.per_class]
    assert scores.class_information_gain == pytest.approx(np.mean(shares), abs=1e-15)


def test_a_group_of_all_classes_tells_nothing():
    whole = Hierarchy(("a", "b", "all"), ((0, 1), (2, 2)))
    counted = counts.update(
        np.full((1, 4), 2), np.ones((1, 4), bool), np.array([[0, 1, 1, 0]]), classes=3, ignore=255, leaves=2
    )
    scores = metrics.compute([counted], whole.names, whole)
    assert (scores.accuracy, scores.information_gain, scores.class_information_gain) == (1.0, 0.0, 0.0)


def test_labels_that_are_groups_are_refused():
    with pytest.raises(DataError, match=r"expected classes 0\.\.3 or ignore"):
        count([0], [1], [5])
    with pytest.raises(DataError, match="expected labels below 4"):
        metrics.compute([counts.Counts(6, 1, 1, ((4, 0, 1),))], HIERARCHY.names, HIERARCHY)


def test_by_radius_counts_nodes_with_the_label_as_correct():
    found = counts.by_radius(
        np.array([[4, 4, 0]]), np.ones((1, 3), bool), np.array([[0.1, 0.2, 0.2]]), np.array([[1, 3, 0]]),
        hierarchy=HIERARCHY,
    )  # fmt: skip
    assert found == ((0.1, 1, 1), (0.2, 2, 1))


def outcomes(prediction, certified):
    """Yield every segmentation that gives each certified pixel a class of its node, and the others any class."""
    choices = [
        sorted(MEMBERS[node]) if sure else range(4) for node, sure in zip(prediction, certified, strict=True)
    ]
    yield from map(np.array, itertools.product(*choices))


@pytest.mark.parametrize("seed", range(6))
def test_bounds_are_those_of_every_segmentation_within_the_nodes(seed):
    rng = np.random.default_rng(seed)
    prediction, certified = rng.integers(0, 6, 6), rng.random(6) < 0.75
    labels = rng.integers(0, 4, 6)
    found = bounds(
        prediction[None], certified[None], HIERARCHY.names,
        radius=0.1, labels=labels[None], hierarchy=HIERARCHY,
    )  # fmt: skip
    every = list(outcomes(prediction, certified))
    for node, members in enumerate(MEMBERS):
        bound = found.classes[node]
        inside = np.isin(labels, sorted(members))
        shown = [np.isin(each, sorted(members)) for each in every]
        sizes = [int(each.sum()) for each in shown]
        assert (bound.pixels_at_least, bound.pixels_at_most) == (min(sizes), max(sizes))
        ious = [(each & inside).sum() / max((each | inside).sum(), 1) for each in shown]
        if bound.iou is not None:
            assert bound.iou == pytest.approx(min(ious), abs=1e-12)
        if bound.recall is not None:
            recalls = [(each & inside).sum() / inside.sum() for each in shown]
            assert bound.recall == pytest.approx(min(recalls), abs=1e-12)
        if bound.stable_iou is not None:
            assert bound.stable_iou == pytest.approx(min(sizes) / max(sizes), abs=1e-12)
    counted = [c for c in range(4) if (labels == c).any()]
    means = [
        np.mean([((each == c) & (labels == c)).sum() / ((each == c) | (labels == c)).sum() for c in counted])
        for each in every
    ]
    assert found.mean_iou <= min(means) + 1e-9
    right = [labels[i] in MEMBERS[prediction[i]] and certified[i] for i in range(6)]
    assert found.accuracy == pytest.approx(sum(right) / 6)


def test_bounds_without_labels_are_the_same_sizes():
    prediction, certified = np.array([[0, 1, 4, 5, 2]]), np.array([[True, True, True, True, False]])
    found = bounds(prediction, certified, HIERARCHY.names, radius=0.1, hierarchy=HIERARCHY)
    sizes = {each.name: (each.pixels_at_least, each.pixels_at_most) for each in found.classes}
    assert sizes == {
        "road": (1, 2), "car": (1, 4), "truck": (0, 3), "tree": (0, 2), "vehicle": (2, 4), "obstacle": (3, 4)
    }  # fmt: skip
    assert found.abstained == 1


def test_a_region_of_a_group_keeps_its_certified_pixels():
    prediction = np.array([[4, 4, 4, 0], [4, 1, 0, 0]])
    certified = np.array([[True, True, False, True], [True, True, True, True]])
    labels = np.array([[1, 2, 2, 0], [3, 1, 0, 0]])
    found = regions(prediction, certified, HIERARCHY.names, labels=labels, ignore=255, hierarchy=HIERARCHY)
    assert [(each.name, each.pixels, each.certified) for each in found] == [
        ("vehicle", 4, 3), ("road", 3, 3), ("car", 1, 1)
    ]  # fmt: skip
    within = found[0].within
    assert (within.labelled, within.recall, within.iou) == (3, 2 / 3, 2 / 4)
