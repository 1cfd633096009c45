"""Are previews small, true to single pixels where it matters, and read as they were written?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smoothseg.errors import DataError
from smoothseg.report import previews

PALETTE = ((10, 20, 30), (200, 100, 50))


def test_thinning_keeps_single_pixels_and_small_arrays():
    array = np.arange(50 * 30).reshape(50, 30)
    assert (previews.thinned(array, 50) == array).all()
    small = previews.thinned(array, 10)
    assert small.shape == previews.reduced(50, 30, 10) == (10, 6)
    assert small[0, 0] == array[2, 2]
    assert small[-1, -1] == array[47, 27]
    assert set(small.ravel()) <= set(array.ravel())


def test_photos_are_reduced_and_labels_are_not(tmp_path):
    image = np.zeros((1000, 1300, 3), dtype=np.uint8)
    labels = np.ones((1000, 1300), dtype=np.uint8)
    labels[0, :7] = 255
    previews.save_image(tmp_path, "k", image, labels, PALETTE, 255)
    with Image.open(previews.image_path(tmp_path, "k")) as picture:
        assert picture.size == (640, 492)
    assert (previews.read_labels(tmp_path, "k") == labels).all()
    with Image.open(previews.labels_path(tmp_path, "k")) as picture:
        colours = np.asarray(picture.convert("RGB"))
    assert tuple(colours[0, 0]) == (0, 0, 0)
    assert tuple(colours[5, 5]) == PALETTE[1]
    assert previews.read_labels(tmp_path, "other") is None


def test_noise_is_clipped_and_not_averaged_away(tmp_path):
    noisy = np.random.Generator(np.random.Philox(3)).normal(0.5, 0.5, (900, 1200, 3)).astype(np.float32)
    previews.save_view(tmp_path, "k", "m", 0.5, noisy, np.full((45, 60, 3), 2.0))
    with Image.open(previews.noisy_path(tmp_path, "k", 0.5)) as picture:
        assert picture.size == (640, 480)
        assert np.asarray(picture.convert("L")).std() > 40
    with Image.open(previews.denoised_path(tmp_path, "k", "m", 0.5)) as picture:
        assert picture.size == (60, 45)
        assert np.asarray(picture).min() == 255


def test_previews_are_complete_when_all_are_there(tmp_path):
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    previews.save_image(tmp_path, "k", image, None, PALETTE, None)
    previews.save_view(tmp_path, "k", "m", 0.25, image, image)
    assert previews.complete(tmp_path, "k", "m", [0.25], labelled=False)
    assert not previews.complete(tmp_path, "k", "m", [0.25], labelled=True)
    assert not previews.complete(tmp_path, "k", "m", [0.25, 0.5], labelled=False)
    assert not previews.complete(tmp_path, "k", "other", [0.25], labelled=False)


def test_a_legend_is_read_as_it_was_written(tmp_path):
    assert previews.read_legend(tmp_path) == (None, None)
    previews.write_legend(tmp_path, PALETTE, 255)
    assert previews.read_legend(tmp_path) == (list(PALETTE), 255)
    previews.write_legend(tmp_path, None, None)
    assert previews.read_legend(tmp_path) == (None, None)
    (tmp_path / "legend.json").write_text("{}")
    with pytest.raises(DataError, match=r"legend\.json cannot be read"):
        previews.read_legend(tmp_path)
