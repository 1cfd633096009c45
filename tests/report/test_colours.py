"""Does every label get its colour, and only a label that has one?"""

from __future__ import annotations

import numpy as np
import pytest

from smoothseg.report.colours import ABSTAINED, IGNORED, colourise

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
