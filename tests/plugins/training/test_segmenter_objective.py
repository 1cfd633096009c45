"""The loss and the figures of a segmenter against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from smoothseg import DataError, networks
from smoothseg.components.plugins import plugins
from smoothseg.testing import CountingDenoiser
from smoothseg_training.data import Batch, Cache
from smoothseg_training.segmenter_objective import SegmenterObjective, class_weights, disagreement


def _blocks(**options):
    return plugins()["dataset"].recipe({"name": "blocks", **options}).load()


def _segmenter(training, dataset=None, validation=None):
    dataset = dataset or _blocks()
    return SegmenterObjective(
        training, dataset, Cache(dataset, limit=0), validation and Cache(validation, limit=0)
    )


def _batch(generator, rows=3, size=(12, 16)):
    labels = generator.integers(0, 3, (rows, *size)).astype(np.uint8)
    labels[:, 0, :5] = 255
    return Batch(generator.integers(0, 256, (rows, *size, 3)).astype(np.uint8), labels, 1.0)


@pytest.mark.parametrize("weighting", ["none", "sqrt-inverse"])
def test_loss_is_cross_entropy_of_the_upsampled_scores(segmenter_training, weighting):
    objective = _segmenter(segmenter_training(class_weights=weighting))
    batch = _batch(np.random.default_rng(0))
    scores = torch.randn(3, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    loss = objective.loss(lambda images: scores, batch, torch.Generator())
    weights = class_weights(Cache(_blocks(), limit=0), 3, weighting)
    large = F.interpolate(scores, (12, 16), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(large, torch.from_numpy(batch.labels).long(), weights, ignore_index=255)
    torch.testing.assert_close(loss, expected)


def test_disagreement_is_the_divergence_from_the_mean_and_the_entropy_of_the_mean():
    generator = torch.Generator().manual_seed(3)
    scores = 2 * torch.randn(3, 2, 4, 5, 6, generator=generator, dtype=torch.float64)
    shares = scores.softmax(dim=2).numpy()
    mean = shares.mean(axis=0)
    divergence, entropy = disagreement(scores)
    assert float(divergence) == pytest.approx(
        np.mean([stats.entropy(mean, copy, axis=1).mean() for copy in shares])
    )
    assert float(entropy) == pytest.approx(stats.entropy(mean, axis=1).mean())
    same = scores[:1].expand(3, -1, -1, -1, -1)
    assert float(disagreement(same)[0]) == pytest.approx(0, abs=1e-12)


def test_consistency_sees_every_image_under_several_draws_of_its_noise(segmenter_training):
    plain = _segmenter(segmenter_training(noise_sigma=0.25))
    objective = _segmenter(segmenter_training(noise_sigma=0.25, consistency=5.0, copies=3, entropy=0.5))
    batch, seen = _batch(np.random.default_rng(0)), []
    scores = torch.randn(9, 3, 12, 16, generator=torch.Generator().manual_seed(1))

    def network(images):
        seen.append(images)
        return scores[: len(images)]

    loss = objective.loss(network, batch, torch.Generator().manual_seed(2))
    copies = seen[0].unflatten(0, (3, 3))
    clean = torch.from_numpy(batch.images).permute(0, 3, 1, 2) / 255
    noise = copies - clean
    assert float(noise.std()) == pytest.approx(0.25, rel=0.05)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        correlation = float((noise[one] * noise[other]).mean()) / 0.25**2
        assert abs(correlation) < 0.1
    labels = torch.from_numpy(batch.labels).long().repeat(3, 1, 1)
    divergence, entropy = disagreement(scores.unflatten(0, (3, 3)))
    expected = F.cross_entropy(scores, labels, ignore_index=255) + 5 * divergence + 0.5 * entropy
    torch.testing.assert_close(loss, expected)
    plain.loss(network, batch, torch.Generator())
    assert len(seen[1]) == 3


def test_a_batch_of_ignored_pixels_has_loss_zero(segmenter_training):
    batch = Batch(np.zeros((2, 4, 6, 3), np.uint8), np.full((2, 4, 6), 255, np.uint8), 1.0)
    loss = _segmenter(segmenter_training()).loss(
        lambda images: torch.ones(2, 3, 4, 6), batch, torch.Generator()
    )
    assert float(loss) == 0.0


@pytest.mark.parametrize(
    ("changes", "deviations"),
    [
        ({}, (0.0, 0.0)),
        ({"noise_sigma": 0.25}, (0.25, 0.25)),
        ({"noise_sigma": 0.25, "image_scale": 0.5}, (0.25 * 0.3125, 0.25 * 0.3125)),
        ({"noise_range": (0.1, 0.5)}, (0.1, 0.5)),
    ],
)
def test_training_noise_has_the_stated_deviation_on_every_image(segmenter_training, changes, deviations):
    seen = []

    def network(images):
        seen.append(images)
        return torch.zeros(6, 3, 48, 64)

    scale = changes.get("image_scale", 1.0)
    batch = Batch(np.full((6, 48, 64, 3), 51, np.uint8), np.zeros((6, 48, 64), np.uint8), scale)
    _segmenter(segmenter_training(**changes)).loss(network, batch, torch.Generator().manual_seed(0))
    assert seen[0].mean().item() == pytest.approx(0.2, abs=0.01)
    measured = seen[0].flatten(1).std(1)
    assert measured.min() >= deviations[0] * 0.95
    assert measured.max() <= deviations[1] * 1.05 + 1e-6
    rows = [float((seen[0][i] - seen[0][j]).abs().sum()) for i in range(6) for j in range(i)]
    assert all(rows) == bool(changes)  # every image has noise of its own


def test_noise_fraction_leaves_the_rest_clean(segmenter_training):
    seen = []

    def network(images):
        seen.append(images)
        return torch.zeros(len(images), 3, 4, 6)

    objective = _segmenter(segmenter_training(noise_sigma=0.25, noise_fraction=0.5))
    batch = Batch(np.zeros((200, 4, 6, 3), np.uint8), np.zeros((200, 4, 6), np.uint8), 1.0)
    objective.loss(network, batch, torch.Generator().manual_seed(0))
    assert 70 <= int((seen[0].flatten(1).abs().sum(1) > 0).sum()) <= 130


def test_class_weights_are_the_inverse_shares_and_average_to_one(labelled):
    dataset = labelled([[0, 0, 0, 0], [0, 0, 0, 1]], [[255, 255, 0, 0], [0, 0, 0, 1]])
    weights = class_weights(Cache(dataset, limit=0), 3, "inverse")
    share = np.array([12, 2]) / 14
    assert weights[1] / weights[0] == pytest.approx(6.0)
    assert (weights[:2].numpy() * share).sum() == pytest.approx(1.0)
    root = class_weights(Cache(dataset, limit=0), 3, "sqrt-inverse")
    assert root[1] / root[0] == pytest.approx(6.0**0.5)
    assert torch.isfinite(root).all()
    fourth = class_weights(Cache(dataset, limit=0), 3, "fourth-root-inverse")
    assert fourth[1] / fourth[0] == pytest.approx(6.0**0.25)
    with pytest.raises(DataError, match="none of the classes"):
        class_weights(Cache(labelled([[255, 255]]), limit=0), 3, "inverse")


def test_accuracy_and_iou_of_known_predictions(labelled, segmenter_training):
    dataset = labelled([[0, 0, 1, 1, 255, 1]], [[0, 1, 1, 1, 1, 1]])
    constant = (
        torch.nn.functional.one_hot(torch.tensor([[[0, 0, 0, 1, 1, 1]]]), 3).permute(0, 3, 1, 2).float()
    )
    figures = _segmenter(segmenter_training(), validation=dataset).measure(
        lambda images: constant, torch.device("cpu")
    )
    # class 0: 3 hits of 3 labelled and 6 predicted; class 1: 5 hits of 8 labelled and 5 predicted; class 2 unseen
    assert figures["accuracy"] == pytest.approx(8 / 11)
    assert figures["miou"] == pytest.approx((3 / 6 + 5 / 8) / 2)


class Recorded(CountingDenoiser):
    """Gives grey, and remembers what it was told."""

    def denoise(self, noisy, sigma, *, seeds):
        super().denoise(noisy, sigma, seeds=seeds)
        return torch.full_like(noisy, 0.5)


class Grey:
    """A dataset of one grey image."""

    classes, ignore = ("a", "b", "c"), 255

    def __len__(self):
        return 1


def test_noisy_images_are_denoised_at_the_noise_that_resizing_leaves(segmenter_training):
    training = segmenter_training(
        noise_range=(0.2, 0.6), noise_fraction=0.5, denoiser="identity", image_scale=0.5, crop="12x16"
    )
    denoiser, seen = Recorded(), []
    objective = SegmenterObjective(training, Grey(), Cache(Grey(), limit=0), None, denoiser)
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3)).astype(np.uint8)
    batch = Batch(images, np.zeros((8, 12, 16), np.uint8), 0.5)

    def network(given):
        seen.append(given)
        return torch.zeros(8, 3, 12, 16)

    objective.loss(network, batch, torch.Generator().manual_seed(0))
    left = networks.sigma_left(1.0, (24, 32), (12, 16))
    assert 0 < len(denoiser.sigmas) < 8
    assert all(0.2 * left <= sigma <= 0.6 * left for sigma in denoiser.sigmas)
    assert len(set(denoiser.sigmas)) == len(set(denoiser.seeds)) == len(denoiser.sigmas)
    grey = [bool((row == 0.5).all()) for row in seen[0]]
    assert sum(grey) == len(denoiser.sigmas)
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    for row, original, denoised in zip(seen[0], clean, grey, strict=True):
        assert denoised or torch.equal(row, original)
