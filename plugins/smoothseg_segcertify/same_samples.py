"""Which hit counts pass, when the samples that test the most frequent class of a pixel are those that chose it.

A class with more than half of the n samples is the only one of its pixel. So for k > n/2 the events "class c has k
hits or more" exclude each other, and the chance that *any* class of a pixel has k hits is the sum of theirs. Write
B(p) = P(Bin(n, p) >= k), T(k) = B(tau) and U(k) = B(1 - tau), for tau >= 1/2.

*A pixel without a class above tau.* Some class has k hits with probability at most T(k) + U(k). Let p be the largest
probability of a class.

- If p >= 1/2, the other classes have k hits together, and all the more one of them alone, with probability at most
  B(1 - p). The sum B(p) + B(1 - p) does not fall from p = 1/2 on: the derivative of B at p is a positive multiple of
  p^(k-1) (1 - p)^(n-k), and the quotient of those at p and at 1 - p is (p / (1 - p))^(2k-n-1) >= 1. As p <= tau, the
  sum is at most T(k) + U(k).
- If p < 1/2, note that B is convex up to (k - 1)/(n - 1) >= 1/2, by its second derivative. Its sum over probabilities
  of at most 1/2, which add up to at most 1, is largest at a corner of that set: 2 B(1/2), the sum above at p = 1/2.

*A pixel with a class above tau.* All others together have less than 1 - tau. One of them has k hits with probability at
most U(k).

*An image* of K pixels, m of them without a class above tau. In order of their hits, the pixel of rank r = 0, 1, ...
passes with h hits if h > n/2 and

    (K - r) T(h) + K U(h) <= alpha,

and the first that does not pass ends the procedure. Call k_r the least such h; it does not rise with r. Suppose that a
pixel is falsely certified, and take the first one. The r before it are rightly certified, so that each has a class
above tau: r <= K - m, and r <= K - m - 1 if the pixel itself has one, too. Let k be k_{K-m}, or k_{K-1} if m = 0. In
either case the pixel has k hits or more of a class that is false there. Which k that is depends on the probabilities
alone, not on the samples. By the union bound over all pixels, however they depend on each other, the chance of it is at
most m (T(k) + U(k)) + (K - m) U(k) = m T(k) + K U(k) <= alpha.

With every pixel at the rank 0 this is Bonferroni's correction of the p-values T + U. In place of K U(h) one could take
the same term at the fewest hits that any step admits, off alpha before all steps. That certifies no more, and near
tau = 1/2 nothing at all.

T and U are rounded up by more than the sums and products here are rounded, see `statistics`; 1 - tau is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from smoothseg_segcertify import statistics

__all__ = ["Tails", "bonferroni_threshold", "holm_threshold", "smallest_n", "tails"]

Tails = tuple[statistics.Table, statistics.Table]
"""T and U by hits, (n + 1) each; both are 1 for hits that can never pass."""


@functools.lru_cache(maxsize=64)
def tails(n: int, tau: float) -> Tails:
    """Return T and U of 0, 1, ..., n hits, float64 (n + 1), read-only; 1 up to n/2 hits."""
    own, other = (statistics.p_values(n, probability).copy() for probability in (tau, 1 - tau))
    for table in (own, other):
        table[: n // 2 + 1] = 1.0
        table.setflags(write=False)
    return own, other


def bonferroni_threshold(histogram: statistics.Counts, both: Tails, alpha: float) -> int:
    """Return the least hits with K (T + U) <= alpha, for K pixels: the chance of any false acceptance is <= alpha."""
    pixels = int(histogram.sum())
    return _threshold(histogram, both, alpha, lambda rank: pixels)


def holm_threshold(histogram: statistics.Counts, both: Tails, alpha: float) -> int:
    """Return the least hits that pass step by step: (K - rank) T + K U <= alpha, for K pixels.

    The chance of any false acceptance is at most alpha. What `bonferroni_threshold` accepts, this accepts, too.
    """
    pixels = int(histogram.sum())
    return _threshold(histogram, both, alpha, lambda rank: pixels - rank)


def _threshold(histogram: statistics.Counts, both: Tails, alpha: float, left: Callable[[int], int]) -> int:
    """Return the least hits that pass; n + 1 if no pixel does. left: how many pixels T counts for at a rank."""
    own, other = both
    pixels = int(histogram.sum())
    accepted, rank = len(own), 0
    for hits in np.flatnonzero(histogram)[::-1]:
        # The first of the tied pixels has the rank of all that were accepted before it.
        if not left(rank) * own[hits] + pixels * other[hits] <= alpha:
            break
        accepted = int(hits)
        rank += int(histogram[hits])
    return accepted


def smallest_n(alpha: float, pixels: int, tau: float) -> int:
    """Return the least n at which n hits in n samples pass the first step, for so many `pixels`."""

    def passes(n: int) -> bool:
        own, other = tails(n, tau)
        return bool(pixels * own[n] + pixels * other[n] <= alpha)

    n = statistics.smallest_n(alpha / pixels, tau)
    while not passes(n):
        n += 1
    while n > 1 and passes(n - 1):
        n -= 1
    return n
