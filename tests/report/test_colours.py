"""Does every label get its colour, and only a label that has one?"""

from __future__ import annotations

import numpy as np
import pytest

from smoothseg.certificates.hierarchy import Hierarchy
from smoothseg.data.palettes import palette as standard
from smoothseg.report.colours import ABSTAINED, IGNORED, colourise, colours_of

PALETTE = ((200, 10, 10), (10, 200, 10), (10, 10, 200))
RED, GREEN, BLUE = PALETTE


def test_labels_become_their_colours() -> None:
    labels = np.array([[0, 2, 255], [1, 1, 0]], np.uint8)
    abstained = np.array([[False, False, False], [False, True, True]])
    coloured = colourise(labels, PALETTE, abstained=abstained, ignore=255)
    expected = [[RED, BLUE, IGNORED], [GREEN, ABSTAINED, ABSTAINED]]
    assert coloured.dtype == np.uint8
    np.testing.assert_array_equal(coloured, np.array(expected, np.uint8))


def test_an_ignore_label_just_above_the_classes_is_ignored() -> None:
    np.testing.assert_array_equal(colourise(np.array([[3, 2]]), PALETTE, ignore=3), [[IGNORED, BLUE]])


def test_a_label_without_colour_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected labels 0\.\.2, got 255"):
        colourise(np.array([[0, 255]], np.uint8), PALETTE)
    with pytest.raises(ValueError, match="got -1"):
        colourise(np.array([[0, -1]]), PALETTE, ignore=255)


def test_a_group_has_the_mean_colour_of_its_classes_or_one_near_it() -> None:
    hierarchy = Hierarchy(("a", "b", "c", "d", "ab", "cd", "all"), ((0, 1, 2, 3), (4, 4, 5, 5), (6, 6, 6, 6)))
    palette = [(200, 0, 0), (0, 0, 200), (100, 0, 90), (100, 0, 110)]
    found = colours_of(hierarchy.names, hierarchy, palette)
    assert found[:4] == palette
    everything = [*found, ABSTAINED, IGNORED]
    for node in range(4, 7):
        for other in set(range(len(everything))) - {node}:
            difference = np.abs(np.subtract(everything[node], everything[other])).max()
            assert difference >= (24 if node < other or other < 4 or other > 6 else 0)
    # The mean of a and b is (100, 0, 100), which c and d are too near to.
    assert np.abs(np.subtract(found[4], (100, 0, 100))).max() <= 45


def test_colours_of_another_number_of_classes_are_not_taken() -> None:
    hierarchy = Hierarchy(("a", "b", "all"), ((0, 1), (2, 2)))
    assert colours_of(("a", "b", "all"), hierarchy, PALETTE)[:2] == list(standard(2))
    assert colours_of(("a", "b", "c"), None, PALETTE) == list(PALETTE)
