"""Crops: where they come from, that labels follow images, and that nothing but seed and step decides them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smoothseg import Sample
from smoothseg.components.plugins import plugins
from smoothseg_training.data import Batches, Cache, augment, resized


def _blocks(**options):
    return plugins()["dataset"].recipe({"name": "blocks", **options}).load()


def _ramp(height, width):
    """Return a sample whose red channel tells the row and whose green channel tells the column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return Sample("ramp", np.stack([rows, columns, rows * 0], axis=-1), columns)


def _same(one, other):
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


def test_a_batch_is_a_function_of_seed_and_step(segmenter_training):
    batches = Batches(Cache(_blocks(), limit=1e9), segmenter_training())
    again = Batches(Cache(_blocks(), limit=0), segmenter_training())
    assert _same(batches[4], again[4])
    assert not _same(batches[4], batches[5])
    assert not _same(batches[4], Batches(Cache(_blocks(), limit=0), segmenter_training(seed=1))[4])


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_read_ahead_are_the_same_in_the_same_order(segmenter_training, workers):
    batches = Batches(Cache(_blocks(), limit=1000), segmenter_training())
    with batches.ahead(2, workers=workers) as stream:
        for step in range(2, 9):
            assert _same(next(stream), batches[step])


def test_what_goes_wrong_in_a_background_thread_reaches_the_caller(segmenter_training):
    batches = Batches(Cache(_blocks(labels=False), limit=0), segmenter_training())
    with pytest.raises(Exception, match="has no labels"), batches.ahead(0, workers=2) as stream:
        next(stream)


def test_image_scales_are_drawn_one_a_step_and_told_with_the_batch(denoiser_training):
    training = denoiser_training(image_scales=(0.5, 1.0), crop="10x14", scale_range=(1, 1), batch_size=2)
    batches = Batches(Cache(_blocks(), limit=1e9), training)
    scales = [batches[step].image_scale for step in range(12)]
    assert set(scales) == {0.5, 1.0}
    assert scales == [Batches(Cache(_blocks(), limit=0), training)[step].image_scale for step in range(12)]
    step = scales.index(0.5)  # half of 20x28 is the whole crop, mirrored or not
    halves = [resized(sample.image, (10, 14)) for sample in _blocks()]
    for image in batches[step].images:
        assert any(np.array_equal(image, half) or np.array_equal(image[:, ::-1], half) for half in halves)


def test_the_cache_holds_what_fits_and_reads_the_rest_again():
    dataset = _blocks(count=4)
    one = dataset[0].image.nbytes + dataset[0].labels.nbytes
    cache = Cache(dataset, limit=2 * one)
    first = [cache[index] for index in range(4)]
    assert [cache[index] is first[index] for index in range(4)] == [True, True, False, False]


def test_without_augmentation_a_crop_of_the_images_size_is_the_image(segmenter_training):
    training = segmenter_training(crop="20x28", scale_range=(1, 1), flip=False, jitter=0)
    sample = _blocks()[1]
    image, labels = augment(sample, training, np.random.default_rng(0), image_scale=1.0)
    np.testing.assert_array_equal(image, sample.image)
    np.testing.assert_array_equal(labels, sample.labels)


def test_labels_stay_on_their_pixels_through_scaling_cropping_and_mirroring(segmenter_training):
    training = segmenter_training(crop="30x24", scale_range=(1.5, 3.0), jitter=0)
    mirrored = 0
    for seed in range(20):
        image, labels = augment(_ramp(40, 60), training, np.random.default_rng(seed), image_scale=1.0)
        assert image.shape == (30, 24, 3)
        assert np.abs(image[..., 1].astype(int) - labels.astype(int)).max() <= 1
        mirrored += int(image[0, 0, 1]) > int(image[0, -1, 1])
        assert image[0, 0, 0] < image[-1, 0, 0]
    assert 4 <= mirrored <= 16


def test_the_scale_is_raised_until_the_image_covers_the_crop(segmenter_training):
    training = segmenter_training(crop="40x16", scale_range=(0.5, 2.0), jitter=0, flip=False)
    for seed in range(8):
        image, _ = augment(_ramp(20, 28), training, np.random.default_rng(seed), image_scale=1.0)
        assert image.shape == (40, 16, 3)
        assert (int(image[0, 0, 0]), int(image[-1, 0, 0])) == (0, 19)


def test_downscaling_is_antialiased_and_labels_are_not_mixed():
    checker = np.tile(np.array([[0, 254], [254, 0]], dtype=np.uint8), (8, 10))
    image = resized(np.stack([checker] * 3, axis=-1), (8, 10))
    assert np.abs(image[1:-1, 1:-1].astype(int) - 127).max() <= 1
    assert set(np.unique(resized(checker, (8, 10)))) <= {0, 254}
    expected = Image.fromarray(np.stack([checker] * 3, axis=-1)).resize((10, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.asarray(expected))


def test_photometric_changes_keep_the_order_of_grey_values(segmenter_training):
    grey = np.repeat(np.repeat(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], 3, axis=2), 4, axis=0)
    training = segmenter_training(crop="4x30", scale_range=(1, 1), flip=False, jitter=0.3)
    changed = 0
    for seed in range(5):
        image, _ = augment(
            Sample("grey", grey, grey[..., 0]), training, np.random.default_rng(seed), image_scale=1.0
        )
        assert (np.diff(image[0].astype(int), axis=0) >= 0).all()
        changed += not np.array_equal(image, grey)
    assert changed == 5


def test_softening_blurs_the_image_and_leaves_the_labels(segmenter_training):
    options = {"crop": "20x28", "scale_range": (1, 1), "flip": False, "jitter": 0}
    sharp, soft = segmenter_training(**options), segmenter_training(**options, soften=4.0)
    sample = _blocks()[1]
    detail = []
    for seed in range(20):
        image, labels = augment(sample, soft, np.random.default_rng(seed), image_scale=1.0)
        plain = augment(sample, sharp, np.random.default_rng(seed), image_scale=1.0)
        assert image.shape == (20, 28, 3)
        np.testing.assert_array_equal(labels, plain[1])
        assert abs(float(image.mean()) - float(plain[0].mean())) < 6
        detail.append(np.abs(np.diff(image.astype(float), axis=1)).max())
    assert min(detail) < 150 < max(detail)  # from a quarter of the resolution to nearly all of it
    assert len({round(value) for value in detail}) > 3


def test_nothing_is_drawn_for_softening_that_is_off(segmenter_training):
    options = {"crop": "12x16", "jitter": 0.3}
    first = augment(_blocks()[1], segmenter_training(**options), np.random.default_rng(3), image_scale=1.0)
    again = augment(
        _blocks()[1], segmenter_training(**options, soften=1.0), np.random.default_rng(3), image_scale=1.0
    )
    np.testing.assert_array_equal(first[0], again[0])


def test_every_image_is_used_once_before_any_is_used_twice(segmenter_training):
    samples = Cache(_Recording(5), limit=0)
    batches = Batches(samples, segmenter_training(batch_size=3))
    for step in range(5):
        batches[step]
    seen = samples.dataset.seen
    assert [sorted(seen[start : start + 5]) for start in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert seen[:5] != seen[5:10] or seen[5:10] != seen[10:]


class _Recording:
    def __init__(self, count):
        from smoothseg.components.plugins import plugins

        self._blocks = plugins()["dataset"].recipe(f"blocks:count={count}").load()
        self.seen = []

    def __len__(self):
        return len(self._blocks)

    def __getitem__(self, index):
        self.seen.append(index)
        return self._blocks[index]
