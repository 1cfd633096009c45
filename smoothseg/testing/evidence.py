"""How is it seen what a certifier uses each draw for, and whether the counts support its radii?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from smoothseg.certificates.certificate import Verdict
from smoothseg.certificates.certifier import Tally
from smoothseg.smoothing.votes import Votes

__all__ = ["SIGMAS", "SingledOut", "assert_backed", "hit_counts"]

SIGMAS = (0.05, 0.25, 1.0)
"""Noise levels at which a certifier's radii are examined; its votes are drawn at the second."""

_LEVEL = 0.1
"""The largest probability with which chance may produce a certified count."""


class SingledOut:
    """A draw of two classes: one of its calls gives class 0 only, every other call class 1 only.

    samples: how many samples it gives at most. size: (H, W) of its label maps. call: the call that gives class 0,
    counted from 0.

    The attribute `calls` says how many calls there were so far. The rest is as in `smoothseg.smoothing.sampling.Draw`.
    """

    sigma = SIGMAS[1]

    def __init__(self, samples: int, size: tuple[int, int], *, call: int) -> None:
        self.size = size
        self.calls = 0
        self.drawn = 0
        self._samples = samples
        self._call = call

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        if self.drawn + n > self._samples:
            raise ValueError(
                f"{self.drawn + n} samples asked for, more than the {self._samples} that `samples` says"
            )
        tally = Votes(2, self.size, capacity=n) if into is None else into
        tally.add(torch.full((n, *self.size), int(self.calls != self._call)))
        self.calls += 1
        self.drawn += n
        return tally


def hit_counts(trials: int, size: tuple[int, int], *, alike: bool) -> Iterator[npt.NDArray[np.int32]]:
    """Yield hits (H, W) from half of `trials` to all.

    Each count is first at every pixel and then, unless `alike`, at one pixel of an image whose others have all hits.
    """
    for count in np.unique(np.linspace(trials // 2, trials, 33).round().astype(np.int32)):
        hits = np.full(size, count, dtype=np.int32)
        yield hits
        if not alike:
            hits = np.full(size, trials, dtype=np.int32)
            hits[0, 0] = count
            yield hits


def assert_backed(verdict: Verdict, hits: npt.NDArray[np.int32], trials: int, sigma: float) -> None:
    """Assert that the radius of each certified pixel is supported by its hits.

    A radius says that the class has more than a certain probability. At exactly that probability, chance must seldom
    give as many hits.
    """
    if not verdict.certified.any():
        return
    radii = np.broadcast_to(verdict.radius if verdict.radii is None else verdict.radii, hits.shape)
    counts, claims = hits[verdict.certified], radii[verdict.certified].astype(np.float64)
    assert np.isfinite(claims).all(), f"a certified pixel has the radius {claims[~np.isfinite(claims)][0]}"
    # Radii of single precision may be a little below the one they were rounded from.
    assert verdict.radius <= claims.min() * (1 + 1e-6), (
        f"the radius of the image, {verdict.radius:g}, is above that of a certified pixel, {claims.min():g}"
    )
    probabilities = stats.norm.cdf(claims / sigma)
    chances = stats.binom.sf(counts - 1, trials, probabilities)
    worst = int(chances.argmax())
    assert chances[worst] <= _LEVEL, (
        f"{counts[worst]} of {trials} hits are certified within {claims[worst]:.4g} at sigma {sigma:g}, which says "
        f"that the class has a probability above {probabilities[worst]:.4g}; at that probability so many hits come "
        f"up in {chances[worst]:.0%} of all images, expected at most {_LEVEL:.0%}"
    )
