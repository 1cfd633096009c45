"""p-values that hold at every moment: how much the hits so far speak against "the probability is at most tau".

Somebody bets on the votes of a pixel, one after the other, at the odds of tau: a stake on a hit pays 1 / tau, one on a
miss 1 / (1 - tau). Who splits the stake as if the probability were q > tau multiplies the capital by q / tau at a hit
and by (1 - q) / (1 - tau) at a miss. The mean of that factor is linear in the true probability p, grows with it and is
1 at p = tau. So for every p <= tau the capital is expected not to grow, whatever happened before: it is a non-negative
supermartingale that begins at 1, and so is a mixture of such capitals over many q. By Ville's inequality the chance
that it *ever* reaches 1 / u is at most u. Its reciprocal is therefore a p-value at every moment, and at all of them at
once; the moment may be chosen by looking at the votes (an *e-process*).

The mixture here is over a Beta(5, 1/2) distribution, cut off at tau: most pixels show their class nearly always. The
capital after h hits in n trials is a ratio of incomplete beta functions, a function of h and n alone.

Sources: Ville, "Étude critique de la notion de collectif" (1939); Robbins, "Statistical Methods Related to the Law of
the Iterated Logarithm" (1970); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, Nonparametric, Nonasymptotic
Confidence Sequences" (Annals of Statistics, 2021); Vovk and Wang, "E-values: Calibration, Combination and Applications"
(Annals of Statistics, 2021); Waudby-Smith and Ramdas, "Estimating Means of Bounded Random Variables by Betting" (2024).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import special

from smoothseg_segcertify.statistics import Table

__all__ = ["PRIOR", "hopeless", "log_capital", "p_values", "smallest_trials"]

PRIOR = (5.0, 0.5)
"""Beta distribution of the probabilities that the mixture bets on.

Of those that `benchmarks/prior.py` compares, it costs the fewest samples on average over tau from 0.5 to 0.99, images
of 50 thousand to 2 million pixels, and probabilities from half-way above tau to 1.
"""

_BELOW = (1.0, 1.0)
"""The same for bets against a probability above tau, which only say when it is time to stop."""

_ERROR = 1e-14
"""Relative to the sizes of the logarithms that are added up."""

_TAIL_ERROR = 2e-11
"""Relative; how far the incomplete beta function may be off. `tests` compare the whole with 50 digits."""


def log_capital(trials: int, tau: float, *, prior: tuple[float, float] = PRIOR, below: bool = False) -> Table:
    """Return a lower bound of the logarithm of the capital after 0, 1, ..., `trials` hits, float64 (trials + 1).

    prior: parameters of the beta distribution, which is cut off at tau: above it, or `below` it. -inf where the capital
    is too small to be told from 0.
    """
    return _log_capital(np.arange(trials + 1), trials, tau, prior, below)


def _log_capital(
    hits: npt.NDArray[np.integer], trials: int, tau: float, prior: tuple[float, float], below: bool
) -> Table:
    a, b = prior
    part = special.betainc if below else special.betaincc
    with np.errstate(divide="ignore"):
        terms = (
            special.betaln(hits + a, trials - hits + b),
            np.log(part(hits + a, trials - hits + b, tau)),
            np.full(hits.shape, -special.betaln(a, b)),
            np.full(hits.shape, -np.log(part(a, b, tau))),
            -hits * np.log(tau),
            -(trials - hits) * np.log1p(-tau),
        )
    total = functools.reduce(np.add, terms)
    # The logarithm of the beta function is itself a difference of three of the gamma function.
    size = functools.reduce(np.add, map(np.abs, terms)) + special.gammaln(trials + a + b)
    known = np.isfinite(total)
    return np.where(known, total - _TAIL_ERROR - _ERROR * np.where(known, size, 0), -np.inf)


@functools.lru_cache(maxsize=64)
def p_values(trials: int, tau: float, prior: tuple[float, float] = PRIOR) -> Table:
    """Return the p-values of 0, 1, ..., `trials` hits, float64 (trials + 1), read-only: 1 / capital, at most 1.

    Rounded up, never 0, and none is above that of fewer hits.
    """
    p = _reciprocal(log_capital(trials, tau, prior=prior))
    table: Table = np.maximum.accumulate(p[::-1])[::-1]
    table.setflags(write=False)
    return table


def _reciprocal(log_capital: Table) -> Table:
    """Return 1 / capital, at most 1 and never 0, rounded up."""
    p = np.exp(-np.maximum(log_capital, 0.0)) * (1 + 4 * np.finfo(np.float64).eps)
    reciprocal: Table = np.clip(p, np.finfo(np.float64).tiny, 1.0)
    return reciprocal


@functools.lru_cache(maxsize=64)
def hopeless(trials: int, tau: float, level: float) -> npt.NDArray[np.bool_]:
    """Return after how many hits a probability above tau is out of the question, bool (trials + 1).

    A probability of at least tau ever gets there with a chance of at most `level`. No certificate rests on this.
    """
    never: npt.NDArray[np.bool_] = log_capital(trials, tau, prior=_BELOW, below=True) >= -np.log(level)
    return never


@functools.lru_cache(maxsize=64)
def smallest_trials(level: float, tau: float) -> int:
    """Return the least number of trials after which a pixel with nothing but hits has a p-value of at most `level`."""

    def passes(trials: int) -> bool:
        return bool(_reciprocal(_log_capital(np.array([trials]), trials, tau, PRIOR, False))[0] <= level)

    high = 1
    while not passes(high):
        high *= 2
    low = high // 2  # the capital grows with every hit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
