"""How `streets` renders: the camera's geometry, hidden surfaces, things seen through, and a pixel's vote."""

from __future__ import annotations

import numpy as np
import pytest

from smoothseg_streets import texture
from smoothseg_streets.labels import BUILDING, FENCE, POLE, ROAD, SKY, TREE
from smoothseg_streets.rendering.canvas import Canvas, vote
from smoothseg_streets.rendering.view import View
from smoothseg_streets.scene import Camera


def view(*, roll=0.0, horizon=0.0):
    return View.of(Camera(height=1.5, focal=0.8, horizon=horizon, roll=roll), height=60, width=80)


def test_a_point_projects_as_through_a_pinhole():
    focal = 0.8 * 80
    ((column, row),) = view().project(np.array([[2.0, 0.5, 8.0]], dtype=np.float32))
    assert column == pytest.approx(39.5 + focal * 2.0 / 8.0, abs=1e-4)
    assert row == pytest.approx(29.5 + focal * (1.5 - 0.5) / 8.0, abs=1e-4)


def test_what_is_as_high_as_the_camera_lies_on_the_horizon_whatever_the_roll():
    tilted = view(roll=0.05, horizon=0.1)
    points = np.array([[x, 1.5, z] for x, z in ((-3, 6), (0, 4), (5, 9))], dtype=np.float32)
    flat = tilted.project(points)
    expected = np.interp(flat[:, 0], np.arange(80), tilted.horizon)
    np.testing.assert_allclose(flat[:, 1], expected, atol=1e-3)


def test_twice_the_size_puts_a_point_at_the_same_place():
    camera = Camera(height=1.7, focal=0.9, horizon=-0.1, roll=0.01)
    point = np.array([[-1.3, 0.2, 5.0]], dtype=np.float32)
    small = View.of(camera, height=45, width=70).project(point)
    large = View.of(camera, height=90, width=140).project(point)
    # Pixel k covers k to k + 1, so its centre lies half a pixel on.
    np.testing.assert_allclose((large + 0.5) / 2, small + 0.5, atol=0.02)


def test_the_label_of_a_pixel_is_that_of_most_samples_and_the_rarer_on_a_tie():
    samples = np.array(
        [
            [ROAD, ROAD, SKY, POLE, SKY, TREE, BUILDING, SKY],
            [ROAD, POLE, SKY, POLE, FENCE, ROAD, BUILDING, BUILDING],
        ],
        dtype=np.uint8,
    )
    np.testing.assert_array_equal(vote(samples), [[ROAD, POLE, FENCE, BUILDING]])


def test_the_vote_is_the_mode_for_every_arrangement_of_four_samples():
    random = np.random.default_rng(3)
    samples = random.integers(0, 12, size=(40, 60)).astype(np.uint8)
    found = vote(samples)
    for r in range(20):
        for c in range(30):
            counts = np.bincount(samples[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].ravel(), minlength=12)
            assert counts[found[r, c]] == counts.max()


def test_the_nearer_thing_keeps_its_samples_and_what_is_seen_through_keeps_its_label():
    canvas = Canvas(2, 3)

    def plain(value, count):
        return np.full((count, 3), value, dtype=np.float32)

    canvas.put(np.array([0]), plain(0.5, 1), POLE)
    canvas.label(np.array([1, 2]), FENCE)
    canvas.lay_over(np.array([1, 2]), plain(1.0, 2), np.array([0.25, 1.0], dtype=np.float32))
    canvas.put(np.flatnonzero(canvas.colour_open), plain(0.0, 5), SKY)
    canvas.close()
    np.testing.assert_array_equal(canvas.labels, [[POLE, FENCE, FENCE], [SKY, SKY, SKY]])
    np.testing.assert_allclose(canvas.colours[..., 0], [[0.5, 0.25, 1.0], [0, 0, 0]])


@pytest.mark.parametrize("field", [texture.BLOTCHES, texture.GRAIN, texture.LEAVES])
def test_texture_is_standardised_and_fades_with_the_footprint(field):
    u, v = np.meshgrid(np.arange(0, 40, 0.1, dtype=np.float32), np.arange(0, 40, 0.1, dtype=np.float32))
    spread = [float(texture.sample(field, u, v, texel=0.1, footprint=f).std()) for f in (0.05, 0.2, 0.8, 3.0)]
    assert spread[0] == pytest.approx(1.0, abs=0.15)
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.9 * spread[0]


def test_texture_belongs_to_the_place_and_not_to_the_sampling():
    u = np.linspace(3, 9, 50, dtype=np.float32)
    line = texture.sample(texture.GRAIN, u, np.float32(2.0), texel=0.05, footprint=0.01)
    single = [texture.sample(texture.GRAIN, x, np.float32(2.0), texel=0.05, footprint=0.01) for x in u[::7]]
    np.testing.assert_array_equal(line[::7], single)
