"""The learning rate of a step."""

from __future__ import annotations

import math

import pytest

from smoothseg_training.steps import rate


def test_the_rate_rises_linearly_and_falls_as_a_cosine(segmenter_training):
    training = segmenter_training(lr=2.0, warmup=3)
    assert rate(training, 0, 0.0) == pytest.approx(0.5)
    assert rate(training, 1, 0.0) == pytest.approx(1.0)
    assert rate(training, 50, 0.5) == pytest.approx(1.0)
    assert rate(training, 50, 0.25) == pytest.approx(1 + math.cos(math.pi / 4))
    assert rate(training, 50, 1.0) == pytest.approx(0.0)
