"""The certifier that selects and tests on one draw, with p-values that allow for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from smoothseg import NothingCertifiableError, Verdict
from smoothseg_segcertify import same_samples, statistics
from smoothseg_segcertify.certifiers import TwoDraws
from smoothseg_segcertify.selecting import MostFrequent

if TYPE_CHECKING:
    from smoothseg import Draw

__all__ = ["OneDraw"]

Threshold = Callable[[statistics.Counts, same_samples.Tails, float], int]
"""From the histogram of hits, the tails by hits and alpha to the least number of hits that is certified."""


@final
@dataclasses.dataclass(frozen=True)
class OneDraw(TwoDraws):
    """Selects the most frequent class of n noise samples and tests it on the same ones: n0 is 0.

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have the
    predicted class as the smoothed model's, under every perturbation of l2 norm at most sigma * PhiInv(tau). The proof
    is in `same_samples`: more than half of the samples show the class of a certified pixel, and of no other.

    threshold: the correction, with the chance of a false acceptance at most alpha. The selection must be
    `MostFrequent`: nothing is proven for another.
    """

    tau: float
    threshold: Threshold

    def __post_init__(self) -> None:
        """Raise `ValueError` for samples of the selection, or for another selection."""
        if self.n0 != 0 or self.selection != MostFrequent():
            raise ValueError(
                f"expected n0 = 0 and the most frequent class, got {self.n0} and {self.selection}"
            )

    @property
    def selects_from_trials(self) -> bool:
        """True: the samples that test a class select it; see `smoothseg.Certifier`."""
        return True

    def count(self, draw: Draw) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int32]]:
        """Return the most frequent class (H, W) of n noise samples, and how many of them show it (H, W)."""
        votes = draw(self.n)
        prediction = votes.mode()
        return prediction, votes.hits(prediction)

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would certify none."""
        least = same_samples.smallest_n(self.alpha, pixels, self.tau)
        if self.n < least:
            raise NothingCertifiableError(
                f"n={self.n} can never certify a pixel of {pixels} (n0=0, tau={self.tau}, alpha={self.alpha}): the "
                f"smallest n that can is {least}"
            )

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W), those of the most frequent class, that pass, and the radius of tau."""
        both = same_samples.tails(trials, self.tau)
        least = self.threshold(statistics.histogram(hits, trials), both, self.alpha)
        return Verdict(certified=hits >= least, radius=statistics.radius(self.tau, sigma))
