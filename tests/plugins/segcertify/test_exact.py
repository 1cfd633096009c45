"""Do the certifiers decide as arithmetic with 50 digits does? Rounding never helps a claim, and costs next to nothing.

The tail of the binomial distribution is summed from its first term. From there on, beyond the mean, the terms fall.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from smoothseg.components.plugins import plugins
from smoothseg_segcertify import statistics

REGISTRY = plugins()["certifier"]
MILLION = pytest.param(1_000_000, marks=pytest.mark.slow)


def tail(hits, n, probability):
    """Return P(Binomial(n, probability) >= hits) with 50 digits, for hits above the mean."""
    with mpmath.workdps(70):
        success = mpmath.mpf(probability)
        odds = success / (1 - success)
        term = mpmath.binomial(n, hits) * success**hits * (1 - success) ** (n - hits)
        total = mpmath.mpf(0)
        for at in range(hits, n + 1):
            total += term
            term *= odds * (n - at) / (at + 1)
            if term < total * mpmath.mpf(10) ** -60:
                break
        return total


def test_the_tail_is_that_of_whole_numbers():
    for hits in (15, 18, 20):
        exact = sum(mpmath.binomial(20, k) * 3**k for k in range(hits, 21)) / mpmath.mpf(4) ** 20
        assert mpmath.almosteq(tail(hits, 20, 0.75), exact, 1e-14)


@pytest.mark.parametrize("tau", [0.5, 0.75, 0.99])
@pytest.mark.parametrize("n", [20, 300, 100_000, 1_000_000])
def test_p_values_are_between_the_exact_ones_and_a_hair_more(n, tau):
    p = statistics.p_values(n, tau)
    spread = (n * tau * (1 - tau)) ** 0.5
    for z in (1, 2, 4, 8, 16, 32):
        hits = min(n, round(n * tau + z * spread))
        exact = tail(hits, n, tau)
        if exact > 1e-290:
            assert exact <= mpmath.mpf(float(p[hits])) <= exact * (1 + mpmath.mpf(3e-11)), hits


@pytest.mark.parametrize("level", [0.1, 0.001, 0.001 / 2**21, 1e-30])
@pytest.mark.parametrize("n", [1, 20, 300, 3000, MILLION])
def test_lower_bounds_are_between_the_exact_ones_and_a_hair_less(n, level):
    bounds = statistics.lower_bounds(n, level)
    for hits in sorted({1, n // 2, 3 * n // 4, round(0.99 * n), n - 1, n} - {0}):
        bound = float(bounds[hits])
        assert tail(hits, n, bound) <= level, hits
        assert tail(hits, n, bound * (1 + 1e-9)) > level, hits


def certified_at(certifier, hits, n, pixels):
    """Return the verdict on an image whose pixels all have so many hits, or None if it abstains."""
    verdict = certifier.decide(np.full((1, pixels), hits, dtype=np.int32), n, sigma=0.25)
    return verdict if verdict.certified.all() else None


@pytest.mark.parametrize("alpha", [0.1, 0.001, 1e-12])
@pytest.mark.parametrize("n", [100, 1000, MILLION])
@pytest.mark.parametrize(
    "spec",
    [  # the p-values of anytime are those of `test_eprocesses.py`
        *(entry.name for entry in REGISTRY if "segcertify" in entry.owner and "anytime" not in entry.name),
        "holm:taus=0.6,0.75,0.9",
    ],
)
def test_the_probability_of_a_radius_is_shown_by_the_hits_it_is_given_for(spec, n, alpha):
    recipe = REGISTRY.recipe(f"{spec}{',' if ':' in spec else ':'}n={n},alpha={alpha!r}")
    certifier, pixels = recipe.load(), getattr(recipe, "tolerates", 0) + 1
    # The least hits that are certified: with so many pixels alike, no correction leaves less than alpha.
    low, high = n // 2, n
    assert certified_at(certifier, high, n, pixels) is not None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if certified_at(certifier, middle, n, pixels) is None else (low, middle)
    for hits in sorted({high, high + 1, (high + n) // 2, n - 1, n}):
        if hits > n or (verdict := certified_at(certifier, hits, n, pixels)) is None:
            continue
        radius = verdict.radius if verdict.radii is None else float(verdict.radii.max())
        with mpmath.workdps(70):
            probability = mpmath.ncdf(mpmath.mpf(radius) / mpmath.mpf(0.25))
            assert tail(hits, n, probability) <= alpha, (hits, radius)
    # And with one hit less the radius that is given last would not be shown.
    last = certified_at(certifier, high, n, pixels)
    with mpmath.workdps(70):
        probability = mpmath.ncdf(mpmath.mpf(last.radius) / mpmath.mpf(0.25))
        assert tail(high - 1, n, max(probability, mpmath.mpf(0.5))) > alpha * (1 - mpmath.mpf(1e-9))
