"""Thresholds on hits against scipy, statsmodels, plain sorted procedures and simulation."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest, norm
from statsmodels.stats.multitest import multipletests

from smoothseg_segcertify import statistics


def sorted_step_down(p, allowance):
    """Return which p-values a step-down procedure accepts, by sorting them one by one."""
    accepted = np.zeros(len(p), dtype=bool)
    for rank, pixel in enumerate(np.argsort(p, kind="stable")):
        if not p[pixel] <= allowance(rank):
            break
        accepted[pixel] = True
    return accepted


def random_image(seed, pixels=None):
    """Return hits (K), n, tau, alpha of an image with ties, certain and hopeless pixels."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 120))
    pixels = pixels or int(rng.integers(1, 300))
    tau = float(rng.uniform(0.5, 0.95))
    alpha = float(rng.choice([0.3, 0.05, 0.01, 0.001]))
    probability = np.where(rng.random(pixels) < 0.5, rng.beta(30, 1.5, pixels), rng.random(pixels))
    return rng.binomial(n, probability), n, tau, alpha


def accepted(rule, hits, n, tau, alpha, **options):
    least = rule(statistics.histogram(hits, n), statistics.p_values(n, tau), alpha, **options)
    return hits >= least


@pytest.mark.parametrize(("n", "tau"), [(1, 0.5), (13, 0.6), (100, 0.75), (300, 0.99)])
def test_p_values_are_those_of_the_exact_binomial_test(n, tau):
    expected = [binomtest(hits, n, tau, alternative="greater").pvalue for hits in range(n + 1)]

    np.testing.assert_allclose(statistics.p_values(n, tau), expected, rtol=3e-11)


def exact_p_values(n, tau, hits):
    """Return the p-values by summing all terms from the last, with 60 digits."""
    with mpmath.workdps(60):
        success, failure = mpmath.mpf(tau), 1 - mpmath.mpf(tau)
        wanted, found = set(hits), {}
        term = total = success**n
        for at in range(n, -1, -1):
            if at < n:
                term *= mpmath.mpf(at + 1) / (n - at) * failure / success
                total += term
            if at in wanted:
                found[at] = min(total, mpmath.mpf(1))  # the sum of all is rounded
        return [found[at] for at in hits]


@pytest.mark.parametrize("tau", [0.5, 0.75, 0.99])
@pytest.mark.parametrize("n", [1, 20, 300, 3000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_p_values_are_never_below_the_exact_ones(n, tau):
    spread = math.sqrt(n * tau * (1 - tau))
    hits = sorted({min(n, max(0, round(n * tau + z * spread))) for z in range(-6, 13)} | {0, 1, n})
    for p, exact in zip(statistics.p_values(n, tau)[hits], exact_p_values(n, tau, hits), strict=True):
        if exact > 1e-290:
            assert exact <= mpmath.mpf(float(p)) <= exact * (1 + mpmath.mpf(3e-11))
        assert p > 0


@pytest.mark.parametrize("level", [0.05, 0.001 / 2**21])
@pytest.mark.parametrize("n", [1, 20, 300])
def test_lower_bounds_are_never_above_the_exact_ones(n, level):
    for hits, bound in list(enumerate(statistics.lower_bounds(n, level)))[1 :: max(1, n // 20)]:
        assert exact_p_values(n, float(bound), [hits])[0] <= level


@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_bounds_at_tiny_levels_are_low_rather_than_wrong(n):
    """The least alpha that is allowed, over more pixels than an image has."""
    level = 1e-30 / 1e10
    bounds = statistics.lower_bounds(n, level)
    assert ((bounds >= 0) & (bounds < 1)).all()
    assert (np.diff(bounds) >= 0).all()
    assert (binom.sf(np.arange(n), n, bounds[1:]) <= level).all()


def test_radii_are_never_above_the_exact_ones():
    rng = np.random.default_rng(3)
    for tau in [0.5 + 1e-12, 0.75, 0.9, 1 - 1e-12, *rng.uniform(0.5, 1, 200)]:
        for sigma in (0.25, 0.1, 1.0, rng.uniform(0, 1)):
            with mpmath.workdps(60):
                exact = mpmath.mpf(sigma) * mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(tau) - 1)
                assert exact * (1 - mpmath.mpf(2e-14)) <= mpmath.mpf(statistics.radius(tau, sigma)) <= exact


def test_p_values_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        statistics.p_values(9, 0.75)[3] = 0.0


def test_holm_equals_statsmodels_on_images_with_ties():
    # Few images: every call of multipletests collects garbage, which takes longer than all else here.
    for seed in range(6):
        hits, n, tau, alpha = random_image(seed, pixels=5000)
        expected = multipletests(statistics.p_values(n, tau)[hits], alpha, method="holm")[0]

        np.testing.assert_array_equal(accepted(statistics.holm_threshold, hits, n, tau, alpha), expected)


def test_holm_equals_a_sorted_procedure_on_images_with_ties():
    partly = 0
    for seed in range(400):
        hits, n, tau, alpha = random_image(seed)
        allowances = alpha / np.arange(len(hits), 0, -1)
        expected = sorted_step_down(statistics.p_values(n, tau)[hits], allowances.__getitem__)

        np.testing.assert_array_equal(accepted(statistics.holm_threshold, hits, n, tau, alpha), expected)
        partly += 0 < expected.sum() < len(hits)
    assert partly > 100, "the images are too easy or too hard to tell procedures apart"


def test_bonferroni_equals_statsmodels():
    for seed in range(60):
        hits, n, tau, alpha = random_image(seed)
        expected = multipletests(statistics.p_values(n, tau)[hits], alpha, method="bonferroni")[0]

        np.testing.assert_array_equal(
            accepted(statistics.bonferroni_threshold, hits, n, tau, alpha), expected
        )


def test_kfwer_equals_a_sorted_lehmann_and_romano_procedure():
    for seed in range(200):
        hits, n, tau, alpha = random_image(seed)
        pixels = len(hits)
        k = 1 + seed % min(pixels, 12)
        allowances = [
            k * alpha / pixels if rank < k else k * alpha / (pixels + k - 1 - rank) for rank in range(pixels)
        ]
        expected = sorted_step_down(statistics.p_values(n, tau)[hits], allowances.__getitem__)

        np.testing.assert_array_equal(
            accepted(statistics.kfwer_threshold, hits, n, tau, alpha, k=k), expected
        )


def test_kfwer_with_k_of_one_is_holm():
    for seed in range(100):
        hits, n, tau, alpha = random_image(seed)
        table, p = statistics.histogram(hits, n), statistics.p_values(n, tau)

        assert statistics.kfwer_threshold(table, p, alpha, k=1) == statistics.holm_threshold(table, p, alpha)


@pytest.mark.parametrize("k", [0, 4])
def test_kfwer_refuses_a_k_outside_the_family(k):
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.3"):
        statistics.kfwer_threshold(np.array([1, 0, 2]), statistics.p_values(2, 0.75), 0.05, k=k)


def test_a_p_value_equal_to_its_allowance_is_accepted():
    p = np.array([1.0, 0.25, 0.0625])
    four_pixels = np.array([0, 1, 3])

    assert statistics.holm_threshold(four_pixels, p, 0.25) == 1
    assert statistics.holm_threshold(four_pixels, p, np.nextafter(0.25, 0)) == 3
    assert statistics.bonferroni_threshold(four_pixels, p, 0.25) == 2


def test_tied_pixels_are_judged_by_the_first_of_them():
    # The last of the three tied pixels could afford 0.1; the first may have no more than 0.1 / 3.
    assert statistics.holm_threshold(np.array([0, 3]), np.array([1.0, 0.05]), 0.1) == 2
    assert statistics.holm_threshold(np.array([0, 3]), np.array([1.0, 0.03]), 0.1) == 1


def test_nothing_after_the_first_failure_is_accepted():
    # Hits of 1 would pass at rank 5 (0.02 <= 0.1 / 3), had those of 2 not failed at rank 2 (0.018 > 0.1 / 6).
    p = np.array([1.0, 0.02, 0.018, 0.001])

    assert statistics.holm_threshold(np.array([2, 1, 3, 2]), p, 0.1) == 3


def test_hits_beyond_n_are_refused():
    with pytest.raises(ValueError, match=r"hits must lie in 0\.\.5, got 6"):
        statistics.histogram(np.array([[2, 6]]), 5)


def test_histogram_counts_every_pixel_once():
    np.testing.assert_array_equal(
        statistics.histogram(np.array([[0, 2, 2], [3, 2, 0]], dtype=np.int32), 4), [2, 0, 3, 1, 0]
    )


@pytest.mark.parametrize(("n", "level"), [(7, 0.05), (100, 1e-6)])
def test_lower_bounds_are_clopper_and_pearson_s(n, level):
    bounds = statistics.lower_bounds(n, level)

    assert bounds[0] == 0
    np.testing.assert_allclose(binom.sf(np.arange(n), n, bounds[1:]), level, rtol=1e-9)
    interval = binomtest(n - 1, n, alternative="greater").proportion_ci(1 - level, method="exact")
    assert bounds[n - 1] == pytest.approx(interval.low, rel=1e-9)
    assert bounds[n] == pytest.approx(beta.ppf(level, n, 1), rel=1e-10)


def test_a_bound_reaches_tau_exactly_where_the_test_rejects():
    for seed in range(50):
        _, n, tau, alpha = random_image(seed)

        np.testing.assert_array_equal(
            statistics.lower_bounds(n, alpha) >= tau, statistics.p_values(n, tau) <= alpha
        )


@pytest.mark.parametrize(
    ("pixels", "least"), [(1024 * 2048, (75, 133, 419, 2136)), (480 * 480, (67, 119, 376, 1916))]
)
def test_smallest_n_of_the_usual_image_sizes(pixels, least):
    level = 0.001 / pixels

    assert tuple(statistics.smallest_n(level, tau) for tau in (0.75, 0.85, 0.95, 0.99)) == least


@pytest.mark.parametrize(
    ("level", "tau"), [(0.25, 0.5), (2.0**-10, 0.5), (0.9, 0.99), (0.75, 0.75), (2.0, 0.6)]
)
def test_smallest_n_is_where_the_p_value_of_all_hits_gets_small_enough(level, tau):
    n = statistics.smallest_n(level, tau)

    assert statistics.p_values(n, tau)[n] <= level
    assert n == 1 or statistics.p_values(n - 1, tau)[n - 1] > level


def test_radius_grows_from_zero_at_one_half():
    assert statistics.radius(0.5, 0.25) == 0
    assert statistics.radius(norm.cdf(1.5), 0.5) == pytest.approx(0.75, rel=1e-12)
    assert statistics.radius(0.75, 1.0) == pytest.approx(0.6744897501960817, rel=1e-12)
    assert math.isnan(statistics.radius(math.nan, 1.0))


def test_several_tau_are_the_step_down_over_pixels_that_the_largest_refuses():
    for seed in range(40):
        hits, n, _, alpha = random_image(seed)
        taus = sorted(np.random.default_rng(seed).uniform(0.5, 0.95, 3))
        tables = [statistics.p_values(n, tau) for tau in taus]
        least = statistics.holm_thresholds(statistics.histogram(hits, n), tables, alpha)
        # Rejected one at a time, each against alpha over the pixels that are not rejected at the largest tau.
        rejected = np.zeros((3, len(hits)), dtype=bool)
        while True:
            left = int((~rejected[-1]).sum())
            p = np.where(rejected, 2.0, [table[hits] for table in tables])
            first = np.unravel_index(p.argmin(), p.shape)
            if not (left and p[first] <= alpha / left):
                break
            rejected[first] = True
        if rejected[-1].all():
            rejected[:] = True
        np.testing.assert_array_equal(hits >= np.array(least)[:, None], rejected)


def test_the_largest_of_several_tau_certifies_what_it_does_alone():
    for seed in range(20):
        hits, n, tau, alpha = random_image(seed)
        bins, tables = (
            statistics.histogram(hits, n),
            [statistics.p_values(n, t) for t in (tau / 2 + 0.25, tau)],
        )
        least = statistics.holm_thresholds(bins, tables, alpha)
        assert least[1] == statistics.holm_threshold(bins, tables[1], alpha)
        assert least[0] <= least[1]
        assert least[0] >= min(statistics.holm_threshold(bins, tables[0], alpha), least[1])
