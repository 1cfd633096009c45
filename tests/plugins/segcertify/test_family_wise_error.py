"""How often an image carries a false certificate, for a model whose smoothed probabilities are known.

The base model says class 1 where a pixel plus its noise exceeds a threshold; with the pixel PhiInv(p) * sigma
above it, the smoothed model's probability of class 1 is exactly p. At p = tau nothing may be certified.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

import smoothseg_segcertify as plugin
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.noise import NoisyImage
from smoothseg.smoothing.sampling import Draw
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter
from smoothseg_segcertify import statistics

TAU, ALPHA, N, SIGMA = 0.75, 0.05, 100, 0.25


def fresh_hits(rng, probability, images):
    """Return hits (images, K) of class 1 in N samples, each with noise of its own."""
    above = SIGMA * norm.ppf(probability)
    return sum(
        (above + SIGMA * rng.standard_normal((images, len(above)), dtype=np.float32) > 0).astype(np.int32)
        for _ in range(N)
    )


def repeated_hits(rng, probability, images, batch_size=10):
    """Return hits of a sampler that uses one noise draw for a whole batch, SegCertify's published mistake."""
    above = SIGMA * norm.ppf(probability)
    return sum(
        batch_size * (above + SIGMA * rng.standard_normal((images, len(above))) > 0).astype(np.int32)
        for _ in range(N // batch_size)
    )


def images_with_errors(recipe, hits, null, *, at_least=1):
    """Return the number of rows of `hits` (images, K) with `at_least` certified pixels among those of `null`."""
    certifier = recipe(n=N, alpha=ALPHA, tau=TAU).load()
    return sum(
        int(certifier.decide(row[None], N, sigma=SIGMA).certified[0, null].sum()) >= at_least for row in hits
    )


def exceeds(errors, images, rate):
    """Whether so many errors are evidence of a higher rate."""
    return binomtest(int(errors), images, rate, alternative="greater").pvalue < 1e-4


def test_error_rate_of_holm_is_the_one_that_the_binomial_gives():
    images, pixels = 20_000, 5
    hits = fresh_hits(np.random.default_rng(1), np.full(pixels, TAU), images)
    errors = images_with_errors(plugin.HolmRecipe, hits, np.arange(pixels))

    # An image of true nulls alone has an error exactly when its least p-value passes the first step.
    p = statistics.p_values(N, TAU)
    expected = 1 - (1 - p[p <= ALPHA / pixels].max()) ** pixels
    assert 0.02 < expected <= ALPHA
    assert binomtest(int(errors), images, expected).pvalue > 1e-4


@pytest.mark.parametrize("recipe", [plugin.HolmRecipe, plugin.BonferroniRecipe])
def test_error_rate_keeps_to_alpha_beside_pixels_that_are_rightly_certified(recipe):
    images = 10_000
    probability = np.array([TAU, 0.999, TAU, 0.999, 0.98, 0.6])
    hits = fresh_hits(np.random.default_rng(2), probability, images)
    errors = images_with_errors(recipe, hits, probability <= TAU)

    assert not exceeds(errors, images, ALPHA)
    assert errors > 0.2 * ALPHA * images


def test_error_rate_keeps_to_alpha_under_complete_dependence():
    images, pixels = 10_000, 4
    hits = np.repeat(fresh_hits(np.random.default_rng(3), np.array([TAU]), images), pixels, axis=1)
    errors = images_with_errors(plugin.HolmRecipe, hits, np.arange(pixels))

    assert errors > 0
    assert not exceeds(errors, images, ALPHA)


def test_kfwer_keeps_k_errors_to_alpha_where_fewer_errors_are_common():
    images = 4_000
    probability = np.array([TAU] * 10 + [0.999] * 6)
    null = probability <= TAU
    hits = fresh_hits(np.random.default_rng(4), probability, images)

    def recipe(**options):
        return plugin.KFWERRecipe(k=3, **options)

    assert exceeds(images_with_errors(recipe, hits, null), images, ALPHA)
    assert not exceeds(images_with_errors(recipe, hits, null, at_least=3), images, ALPHA)


def test_repeated_noise_breaks_the_error_rate():
    images, pixels = 1_000, 5
    hits = repeated_hits(np.random.default_rng(5), np.full(pixels, TAU), images)
    errors = images_with_errors(plugin.HolmRecipe, hits, np.arange(pixels))

    assert exceeds(errors, images, ALPHA)
    assert errors / images > 0.5


def rejected_pixels(seed):
    """Return how many of the pixels of an image at exactly tau, and how many pixels, a level-0.01 test rejects.

    The samples come from the draw that runs use.
    """
    level = round(0.625 * 255)
    sigma = (level / 255 - 0.5) / norm.ppf(TAU)
    image = np.full((40, 50, 3), level, dtype=np.uint8)
    model = BaseModel(CountingDenoiser(), ThresholdSegmenter(), Geometry(scale=1.0))
    draw = Draw(model, image, "key", sigma=sigma, seed=seed, batch_size=10)
    certificate = plugin.HolmRecipe(n0=9, n=N).load().certify(draw)
    p = np.where(certificate.prediction == 1, statistics.p_values(N, TAU)[certificate.hits], 1.0)
    return int((p <= 0.01).sum()), p.size


def test_draws_of_a_run_reject_true_nulls_no_more_often_than_they_may():
    rejected, pixels = rejected_pixels(seed=6)

    assert not exceeds(rejected, pixels, 0.01)


def test_a_draw_that_repeats_noise_within_a_batch_is_caught(monkeypatch):
    fresh = NoisyImage.samples

    def repeating(self, indices):
        return fresh(self, indices)[:1].expand(len(indices), -1, -1, -1)

    monkeypatch.setattr(NoisyImage, "samples", repeating)
    rejected, pixels = rejected_pixels(seed=6)

    assert exceeds(rejected, pixels, 0.01)
    assert rejected / pixels > 0.15


def test_error_rate_of_several_tau_is_one_alpha_over_all_of_them():
    images, taus = 10_000, (0.6, TAU, 0.9)
    probability = np.array([0.6, 0.6, TAU, TAU, 0.9, 0.9, 0.999, 0.999])
    hits = fresh_hits(np.random.default_rng(7), probability, images)
    certifier = plugin.HolmRecipe(n=N, alpha=ALPHA, taus=taus).load()
    allowed = SIGMA * norm.ppf(probability)  # a radius of this or more is more than the pixel has
    errors = 0
    for row in hits:
        radii = certifier.decide(row[None], N, sigma=SIGMA).radii[0]
        errors += bool((radii >= allowed - 1e-6).any())
    assert not exceeds(errors, images, ALPHA)
    assert errors > 0.2 * ALPHA * images
