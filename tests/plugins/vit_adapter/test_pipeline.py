"""Sliding windows and published sizes, on networks whose answer is known."""

from __future__ import annotations

import pytest
import torch

from smoothseg_vit_adapter.architecture import PRESETS, Pipeline
from smoothseg_vit_adapter.pipeline import fitted, sizes, slide, windows

RULE = Pipeline(mode="slide", crop=8, stride=5, short=20, long=50, multiple=8)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 13), (23, 8), (5, 40)])
def test_windows_cover_every_pixel_and_stay_inside(size):
    seen = torch.zeros(size)
    for top, left, bottom, right in windows(size, crop=8, stride=5):
        assert 0 <= top < bottom <= size[0]
        assert 0 <= left < right <= size[1]
        assert (bottom - top, right - left) == (min(8, size[0]), min(8, size[1]))
        seen[top:bottom, left:right] += 1
    assert (seen > 0).all()


@pytest.mark.parametrize("size", [(1, 1), (9, 13), (23, 8), (5, 40)])
def test_what_every_window_agrees_on_is_the_mean(size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(slide(lambda part: part, images, crop=8, stride=5), images)


def test_windows_weigh_the_same_where_they_overlap():
    calls = []

    def network(part):
        calls.append(len(calls))
        return torch.full((1, 1, 2, 2), float(calls[-1]))

    scores = slide(network, torch.zeros(1, 3, 4, 10), crop=4, stride=3)
    assert scores[0, 0, 0].tolist() == [0, 0, 0, 0.5, 1, 1, 1.5, 2, 2, 2]


def test_scores_of_a_window_are_interpolated_to_it():
    scores = slide(lambda part: part[..., ::4, ::4], torch.ones(1, 3, 32, 48), crop=32, stride=16)
    torch.testing.assert_close(scores, torch.ones(1, 3, 32, 48))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((10, 20), [(20, 40), (24, 40)]),
        ((40, 60), [(20, 30), (24, 32)]),
        ((10, 100), [(5, 50), (8, 56)]),  # the long side decides
        ((1, 1000), [(1, 50), (8, 56)]),  # nothing vanishes
    ],
)
def test_the_short_side_then_the_multiple_decide_the_size(size, expected):
    assert sizes(size, RULE) == expected
    assert fitted(torch.zeros(1, 3, *size), RULE).shape[-2:] == expected[-1]


def test_without_a_rule_images_stay_as_they_are():
    images = torch.rand(1, 3, 7, 9)
    assert sizes((7, 9), PRESETS["small"].pipeline) == []
    assert fitted(images, PRESETS["small"].pipeline) is images
