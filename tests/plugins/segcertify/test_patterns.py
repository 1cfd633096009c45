"""Tallies of whole label maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smoothseg_segcertify.patterns import Matches, Patterns

A = np.array([[0, 1, 2], [0, 300, 1]], dtype=np.int16)
B = np.array([[0, 1, 2], [1, 0, 1]], dtype=np.int16)
C = np.array([[0, 1, 3], [0, 0, 0]], dtype=np.int16)


def tally(*maps):
    patterns = Patterns()
    for pattern in maps:
        patterns.add(torch.from_numpy(np.stack([pattern])))
    return patterns


def test_most_frequent_pattern_wins_over_a_smaller_one():
    np.testing.assert_array_equal(tally(A, B, C, B, C, C).mode(), C)


def test_a_tie_goes_to_the_lexicographically_smallest_pattern():
    # A comes before B although its label 300 is larger than any of B: the first difference decides.
    np.testing.assert_array_equal(tally(C, B, A).mode(), A)
    np.testing.assert_array_equal(tally(B, C, A, C, B).mode(), B)


def test_labels_above_255_are_compared_as_numbers():
    one, many = B.copy(), B.copy()
    one[1, 0], many[1, 0] = 1, 256

    np.testing.assert_array_equal(tally(many, one).mode(), one)


def test_the_type_of_the_labels_does_not_change_the_pattern():
    patterns = Patterns()
    patterns.add(torch.from_numpy(np.stack([B, C]).astype(np.uint8)))
    patterns.add(torch.from_numpy(np.stack([C]).astype(np.int64)))

    np.testing.assert_array_equal(patterns.mode(), C)


def test_no_samples_have_no_mode():
    with pytest.raises(ValueError, match="no samples"):
        Patterns().mode()


def test_a_single_differing_pixel_is_no_match():
    matches = Matches(B)
    near = B.copy()
    near[1, 2] += 1
    matches.add(torch.from_numpy(np.stack([B, near, A, B]).astype(np.int16)))
    matches.add(torch.from_numpy(np.stack([near, B]).astype(np.uint8)))

    assert matches.count == 3


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"expected labels \(B, 2, 3\)"):
        Matches(B).add(torch.zeros(1, 3, 2))
