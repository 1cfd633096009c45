"""Is a certifier that may stop at any time right at whatever moment it stops?

Somebody watches an image's samples and stops it at its worst moment. Where all doubtful pixels show the same hits, the
share of images that ever carry too many false claims is computed exactly: for every number of trials there is a least
count at which the claim is made, and the chance that a row of votes ever reaches it follows step by step. `decide` is
asked, and nothing is drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.certifier import Certifier, Sequential
from smoothseg.errors import SmoothsegError
from smoothseg.testing.familywise import Promise, claims_of
from smoothseg.testing.toys import LabelDraw

__all__ = ["assert_goes_on", "assert_right_at_every_moment", "ever_wrong", "wrong_by"]

_MOMENTS = 2000
"""The most trials at which somebody looks."""

_SLACK = 1e-4
"""How far an exact share may be above alpha, relative to it: radii may be rounded to single precision."""

_SIGMA = 0.25
"""Noise level of every image, in [0, 1] pixel units."""


def ever_wrong(certifier: Certifier, moments: int, *, doubtful: int, certain: int, allowed: int) -> float:
    """Return the share of images that carry too many false claims at one of the first `moments` trials at least.

    See `wrong_by`.
    """
    shares = wrong_by(certifier, moments, doubtful=doubtful, certain=certain, allowed=allowed)
    return float(shares[-1])


def wrong_by(
    certifier: Certifier, moments: int, *, doubtful: int, certain: int, allowed: int
) -> npt.NDArray[np.float64]:
    """Return the share of images that carry too many false claims at one of the first 1, 2, ..., `moments` trials.

    The class of the `doubtful` pixels has the very probability that the certifier claims to be exceeded, and all of
    them show the same hits; the `certain` ones show their class in every sample. allowed: how many claims may be false.
    """
    level: float | None = None
    least = np.arange(1, moments + 1) + 1
    for trials in range(1, moments + 1):
        # A claim that is made at a count is made at all higher ones, and the count is near that of the trial before.
        low, high = -1, trials + 1
        tried = [int(least[trials - 2]) + step for step in (0, 1, -1)] if trials > 1 else []
        while high - low > 1:
            count = tried.pop(0) if tried else (low + high) // 2
            if not low < count < high:
                continue
            made = _claim(certifier, count, trials, doubtful, certain, allowed)
            if made is None:
                low = count
            else:
                high, level = count, made
        least[trials - 1] = high
    return np.zeros(moments) if level is None else _reached(least, level)


def _claim(
    certifier: Certifier, count: int, trials: int, doubtful: int, certain: int, allowed: int
) -> float | None:
    """Return the probability that more than `allowed` doubtful pixels with `count` hits claim to exceed, or None."""
    hits = np.full((1, doubtful + certain), trials, dtype=np.int32)
    hits[0, :doubtful] = count
    claims = np.sort(claims_of(certifier.decide(hits, trials, sigma=_SIGMA))[0, :doubtful])
    least = float(claims[-1 - allowed])
    return least if least >= 0 else None


def _reached(least: npt.NDArray[np.integer], level: float) -> npt.NDArray[np.float64]:
    """Return the chance that the hits of a class of probability `level` have reached `least`, by trials from 1 on."""
    chances = np.zeros(len(least) + 2)
    chances[0] = 1.0
    reached = np.zeros(len(least))
    for trials, count in enumerate(least, start=1):
        chances[1 : trials + 1] = chances[1 : trials + 1] * (1 - level) + chances[:trials] * level
        chances[0] *= 1 - level
        reached[trials - 1] = chances[count : trials + 1].sum()
        chances[count : trials + 1] = 0.0
    total: npt.NDArray[np.float64] = np.cumsum(reached)
    return total


def assert_right_at_every_moment(certifier: Sequential, promise: Promise) -> None:
    """Assert that at most a share of alpha of all images is ever wrong, in several kinds of images."""
    allowed = promise.tolerates
    for doubtful, certain in ((allowed + 1, 0), (allowed + 1, 15), (allowed + 16, 0)):
        try:
            certifier.check(doubtful + certain)
        except SmoothsegError:  # no run certifies an image of that size
            continue
        moments = min(_MOMENTS, certifier.samples)
        rate = ever_wrong(certifier, moments, doubtful=doubtful, certain=certain, allowed=allowed)
        assert rate <= promise.alpha * (1 + _SLACK), (
            f"in {rate:.4g} of all images with {doubtful} of {doubtful + certain} pixels alike, whose class is just "
            f"not as probable as claimed, more than {allowed} false claims are made at one of {moments} moments, "
            f"expected at most alpha = {promise.alpha:g}"
        )


def assert_goes_on(certifier: Sequential) -> None:
    """Assert that a certificate that was stopped and goes on is the one that was never stopped."""
    generator = np.random.Generator(np.random.Philox(0))
    size, classes = (2, 8), 3
    sure = np.linspace(0.5, 1.0, 16).reshape(size)
    labels = (generator.random((certifier.samples, *size)) > sure).astype(np.int64)
    draw = LabelDraw(labels, classes=classes)
    whole = certifier.certify(draw)  # type: ignore[arg-type]
    _assert_says_why(whole)
    selected, most = draw.drawn - whole.trials, whole.trials
    for trials in sorted({1, 2, most // 3, most // 2, most - 1} - {0}):
        draw = LabelDraw(labels, classes=classes)
        draw.stop_at = selected + trials
        stopped = certifier.certify(draw)  # type: ignore[arg-type]
        assert stopped.trials == min(trials, most), (
            f"asked to stop after {trials} trials, it stopped after {stopped.trials}"
        )
        _assert_says_why(stopped)
        again = certifier.resume(LabelDraw(labels, classes=classes, first=draw.drawn), stopped)  # type: ignore[arg-type]
        same = (
            again.trials == whole.trials
            and (again.hits == whole.hits).all()
            and (again.prediction == whole.prediction).all()
            and (again.certified == whole.certified).all()
            and again.stopping == whole.stopping
        )
        assert same, f"stopped after {trials} trials and taken up again, it gives another certificate"


def _assert_says_why(made: Certificate) -> None:
    assert made.stopping is not None, "its certificate does not say in `stopping` why it has no more trials"
    for look in made.stopping.looks:
        assert look.trials <= made.trials, f"it looked at {look.trials} trials and states {made.trials}"
