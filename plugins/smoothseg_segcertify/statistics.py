"""Which hit counts pass, when every pixel of an image is tested at once.

A pixel's null hypothesis is "the predicted class has probability at most tau here". Its hits in n samples that
took no part in choosing the class are then at most Binomial(n, tau), so its p-value depends on nothing but the
hits: all p-values of an image are entries of one table of n + 1 numbers, and pixels with equal hits are tied.

Each correction below goes through the p-values in ascending order and compares the one of rank i (from 0) with an
allowance that never falls as i grows. Among tied pixels the first therefore has the smallest allowance: if it
passes, so do the others; if it fails, a step-down procedure stops there. Tied pixels are accepted or refused
together, the accepted pixels are those with at least a certain number of hits, and that number follows from the
histogram of the hits without sorting, in O(pixels + n).

Rounding is always against the claim: p-values up, lower bounds and radii down, each by more than scipy's functions err
and than an allowance alpha / K is rounded.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special, stats

__all__ = [
    "bonferroni_threshold",
    "histogram",
    "holm_threshold",
    "holm_thresholds",
    "kfwer_threshold",
    "lower_bounds",
    "p_values",
    "radius",
    "smallest_n",
    "step_down_threshold",
]

_ERROR = 2e-11
"""Relative; `scipy.stats.binom.sf` errs by less than 2e-12 up to n = 1e6, against 60 digits."""

_RADIUS_ERROR = 1e-14
"""Relative; `scipy.special.ndtri` errs by less than 4e-16, and the product with sigma by 2e-16."""

Counts = npt.NDArray[np.integer]
Table = npt.NDArray[np.float64]


def histogram(hits: Counts, n: int) -> npt.NDArray[np.int64]:
    """Return how many pixels have 0, 1, ..., n hits; raise `ValueError` for hits outside 0..n."""
    bins = np.bincount(hits.ravel(), minlength=n + 1)
    if len(bins) > n + 1:
        raise ValueError(f"hits must lie in 0..{n}, got {len(bins) - 1}")
    return bins.astype(np.int64, copy=False)


@functools.lru_cache(maxsize=64)
def p_values(n: int, tau: float) -> Table:
    """Return the p-values of 0, 1, ..., n hits: P(Binomial(n, tau) >= hits), float64 (n + 1), read-only.

    They are those of the exact one-sided binomial test of "probability at most tau", rounded up.
    """
    table: Table = _tail(np.arange(n + 1), n, tau)
    table.setflags(write=False)
    return table


def _tail(hits: Counts | int, n: int, probability: float | Table) -> Table:
    """Return P(Binomial(n, probability) >= hits), rounded up and never 0."""
    tail = stats.binom.sf(np.asarray(hits) - 1, n, probability) * (1 + _ERROR)
    rounded: Table = np.clip(tail, np.finfo(np.float64).tiny, 1.0)
    return rounded


def step_down_threshold(histogram: Counts, p: Table, allowance: Callable[[int], float]) -> int:
    """Return the least number of hits that a step-down procedure accepts; n + 1 if it accepts no pixel.

    histogram: pixels by hits, (n + 1). p: p-values by hits, (n + 1). allowance: what the p-value of rank
    0, 1, ... may be at most; it must not fall as the rank grows.
    """
    accepted = len(p)
    rank = 0
    for hits in np.flatnonzero(histogram)[::-1]:
        # The first of the tied pixels has the rank of all that were accepted before it.
        if not p[hits] <= allowance(rank):
            break
        accepted = int(hits)
        rank += int(histogram[hits])
    return accepted


def bonferroni_threshold(histogram: Counts, p: Table, alpha: float) -> int:
    """Return the least hits with p <= alpha / K, for K pixels: the chance of any false acceptance is <= alpha.

    Each of at most K true nulls is rejected with probability at most alpha / K, and the union bound adds them.
    """
    pixels = int(histogram.sum())
    return step_down_threshold(histogram, p, lambda rank: alpha / pixels)


def holm_threshold(histogram: Counts, p: Table, alpha: float) -> int:
    """Return the least hits Holm's procedure accepts: the chance of any false acceptance is <= alpha.

    The p-value of rank i must be at most alpha / (K - i). With m true nulls among the K pixels, the first of
    them to be reached has at most K - m pixels before it and so an allowance of at most alpha / m; that one
    of m true nulls falls below alpha / m has probability at most alpha, however they depend on each other.
    """
    pixels = int(histogram.sum())
    return step_down_threshold(histogram, p, lambda rank: alpha / (pixels - rank))


def holm_thresholds(histogram: Counts, tables: Sequence[Table], alpha: float) -> tuple[int, ...]:
    """Return the least hits for each of several tau: the chance of any false acceptance, at any tau, is <= alpha.

    tables: the p-values of the tau in ascending order, (n + 1) each. The largest tau gets what Holm's procedure gives
    it alone, and with R pixels accepted there, every smaller tau the allowance alpha / (K - R).

    Of a pixel's hypotheses "probability at most tau" the true ones are those of the largest tau, and to accept any of
    them is to accept the one of the smallest true tau, whose p-value is the least. So at most one hypothesis a pixel
    matters: call it critical. At the first false acceptance, none of the m pixels with a critical hypothesis is
    accepted at the largest tau (that would be a false acceptance, too), so that m <= K - R and the allowance is at most
    alpha / m; that one of m critical p-values falls below it has probability at most alpha, however the pixels depend
    on each other. Asking for smaller tau beside the largest costs nothing; the smaller ones pay for pixels that the
    largest refuses.
    """
    largest = holm_threshold(histogram, tables[-1], alpha)
    left = int(histogram[:largest].sum())
    if left == 0:
        return (largest,) * len(tables)
    smaller = (step_down_threshold(histogram, p, lambda rank: alpha / left) for p in tables[:-1])
    return *smaller, largest


def kfwer_threshold(histogram: Counts, p: Table, alpha: float, *, k: int) -> int:
    """Return the least hits Lehmann and Romano's step-down accepts: P(k or more false acceptances) <= alpha.

    The first k p-values must be at most k alpha / K, that of rank i >= k at most k alpha / (K + k - 1 - i). With
    m >= k true nulls, the k-th of them to be reached has at most K - m other pixels and k - 1 true nulls before
    it and so an allowance of at most k alpha / m; by Markov's inequality k of m true nulls fall below that with
    probability at most alpha, however they depend on each other. (The allowance k alpha / (K - i) is larger, and
    the argument fails for it when k > 1.)
    """
    pixels = int(histogram.sum())
    if not 1 <= k <= pixels:
        raise ValueError(f"k must lie in 1..{pixels}, the number of pixels, got {k}")
    return step_down_threshold(histogram, p, lambda rank: k * alpha / min(pixels, pixels + k - 1 - rank))


@functools.lru_cache(maxsize=64)
def lower_bounds(n: int, level: float) -> Table:
    """Return what the probability exceeds with confidence 1 - level after 0, ..., n hits, float64 (n + 1), read-only.

    One-sided bounds of Clopper and Pearson (1934): the bound L of h hits solves P(Binomial(n, L) >= h) = level,
    so that L >= q exactly where the p-value against q is at most `level`. The bound of no hit is 0. Each is rounded
    down until its p-value, rounded up, is at most `level`.
    """
    hits = np.arange(1, n + 1)
    bounds: Table = stats.beta.ppf(level, hits, n - hits + 1)
    step, high = _ERROR / 200, hits - 1
    while step < 1 and (high := high[~(_tail(hits[high], n, bounds[high]) <= level)]).size:
        bounds[high] *= 1 - step
        step *= 2
    if step >= 1:
        bounds[high] = 0.0
    table: Table = np.concatenate([[0.0], bounds])
    table.setflags(write=False)
    return table


def smallest_n(level: float, tau: float) -> int:
    """Return the least n at which n hits in n samples have a p-value tau^n of at most `level`."""
    if level >= 1:
        return 1
    n = max(1, math.ceil(math.log(level) / math.log(tau)))
    # The logarithms round; the table that decides is the last word.
    while _tail(n, n, tau) > level:
        n += 1
    while n > 1 and _tail(n - 1, n - 1, tau) <= level:
        n -= 1
    return n


def radius(probability: float, sigma: float) -> float:
    """Return sigma * PhiInv(probability), the l2 radius in [0, 1] pixel units (Cohen et al., ICML 2019, theorem 1).

    A class of probability above `probability` >= 1/2 under noise of standard deviation `sigma` stays the most
    probable one under every perturbation of at most this l2 norm. Rounded down.
    """
    return float(sigma * special.ndtri(probability) * (1 - _RADIUS_ERROR))
