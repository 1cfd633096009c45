"""The certifiers: select on one draw, count on a second, decide from the counts."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import numpy.typing as npt

from smoothseg import Certificate, ConfigError, DataError, NothingCertifiableError, Verdict
from smoothseg_segcertify import statistics
from smoothseg_segcertify.patterns import Matches, Patterns
from smoothseg_segcertify.selecting import Selecting

if TYPE_CHECKING:
    from smoothseg import Draw

__all__ = ["FixedTau", "NaivePattern", "NaivePixel", "SeveralTau", "TwoDraws", "compact", "verdict_of"]

Threshold = Callable[[statistics.Counts, statistics.Table, float], int]
"""From the histogram of hits, the p-values by hits and alpha to the least number of hits that is certified."""


@dataclasses.dataclass(frozen=True)
class TwoDraws(Selecting, abc.ABC):
    """Selects on n0 noise samples, counts on n further ones, decides from the counts: as every certifier does.

    The second draw took no part in the selection. The hits of whatever was selected are therefore Binomial(n, its
    probability), and `decide` needs nothing but them. What a hit is, `count` says; what the decision promises, each
    class states of itself.
    """

    n0: int
    n: int
    alpha: float

    @property
    def samples(self) -> int:
        """n0 + n: how many noise samples an image takes."""
        return self.n0 + self.n

    @final
    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then n noise samples; see the class for its promise."""
        prediction, hits = self.count(draw)
        verdict = self.decide(hits, self.n, sigma=draw.sigma)
        return Certificate(compact(prediction), hits, self.n, verdict)

    def count(self, draw: Draw) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int32]]:
        """Return the prediction (H, W) from n0 noise samples, and its hits (H, W) in n further ones."""
        prediction = self.selection.select(draw, self.n0)
        return prediction, draw(self.n, into=self.selection.tally(prediction)).hits

    @abc.abstractmethod
    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would not do."""

    @abc.abstractmethod
    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return which pixels of `hits` (H, W), counted in `trials` samples, are certified, and the radius."""


@final
@dataclasses.dataclass(frozen=True)
class FixedTau(TwoDraws):
    """Tests every pixel's class against `tau`, all pixels of the image corrected together by `threshold`.

    With probability at least 1 - alpha over the noise samples, fewer than k certified pixels of the image are wrong
    (with k = 1: none). All others have the predicted class as the smoothed model's, under every perturbation of l2 norm
    at most sigma * PhiInv(tau). That radius is known before the first sample.

    threshold: the correction. It keeps the probability of k or more false acceptances at most at alpha.
    """

    tau: float
    threshold: Threshold
    k: int = 1

    @property
    def tolerates(self) -> int:
        """k - 1: how many certified pixels of an image may be wrong."""
        return self.k - 1

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would certify none."""
        if self.k > pixels:
            raise ConfigError(f"certifier option k={self.k} exceeds the {pixels} pixels of the image")
        # No p-value is below tau^n, and until one passes the first step the allowance is k * alpha / pixels.
        _check_n(
            self.n, self.k * self.alpha / pixels, self.tau, f"tau={self.tau}, alpha={self.alpha}", pixels
        )

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W) that pass in `trials` samples, and the radius of tau."""
        p = statistics.p_values(trials, self.tau)
        least = self.threshold(statistics.histogram(hits, trials), p, self.alpha)
        return Verdict(certified=hits >= least, radius=statistics.radius(self.tau, sigma))


@final
@dataclasses.dataclass(frozen=True)
class SeveralTau(TwoDraws):
    """Tests every pixel's class against several `taus`, ascending, all pixels and all tau together.

    With probability at least 1 - alpha over the noise samples, every pixel with a radius has the predicted class as the
    smoothed model's, under every perturbation of l2 norm at most that radius. A pixel's radius is sigma * PhiInv of the
    largest tau it passes; the image's radius is that of the smallest tau.
    """

    taus: tuple[float, ...]

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would not pass one of the tau."""
        for tau in self.taus:
            _check_n(self.n, self.alpha / pixels, tau, f"tau={tau}, alpha={self.alpha}", pixels)

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W) that pass the smallest tau, its radius, and the radius of each pixel."""
        tables = [statistics.p_values(trials, tau) for tau in self.taus]
        least = statistics.holm_thresholds(statistics.histogram(hits, trials), tables, self.alpha)
        return verdict_of(hits, trials, least, self.taus, sigma)


@final
@dataclasses.dataclass(frozen=True)
class NaivePixel(TwoDraws):
    """Bounds every pixel's class probability from below at level alpha / pixels (a union bound over the image).

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have the
    predicted class as the smoothed model's, under every perturbation of l2 norm at most their radius.

    radius: `own`, a radius for each pixel from its own bound; `common`, one for the image from its smallest bound;
    `fixed`, that of `tau`, which a pixel's bound must reach.
    """

    radius: Literal["own", "common", "fixed"]
    tau: float

    @property
    def _needed(self) -> float:
        """What a pixel's bound must reach."""
        return self.tau if self.radius == "fixed" else 0.5

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would certify none."""
        _check_n(
            self.n, self.alpha / pixels, self._needed, f"bound {self._needed}, alpha={self.alpha}", pixels
        )

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W) whose bound after `trials` samples suffices, and the radius.

        The radius is NaN where nothing is certified, except `fixed`. Own radii are NaN at pixels that abstain.
        """
        present = np.flatnonzero(statistics.histogram(hits, trials))
        lower = statistics.lower_bounds(trials, self.alpha / hits.size)
        passes = lower >= self._needed
        if self.radius == "fixed":
            return Verdict(certified=passes[hits], radius=statistics.radius(self.tau, sigma))
        if self.radius == "common":
            worst = present[0]
            return _all_or_none(hits.shape, lower[worst], sigma)
        radii = np.full(trials + 1, np.nan)
        for count in present[passes[present]]:
            radii[count] = statistics.radius(lower[count], sigma)
        known = radii[present[passes[present]]]
        return Verdict(
            certified=passes[hits],
            radius=float(known.min()) if known.size else math.nan,
            radii=radii[hits],
        )


@final
@dataclasses.dataclass(frozen=True)
class NaivePattern(TwoDraws):
    """Treats the whole label map as one class and bounds its probability from below at level `alpha`.

    With probability at least 1 - alpha over the noise samples, if the image is certified, the predicted label map is
    the smoothed model's as a whole, under every perturbation of l2 norm at most the radius.
    """

    @property
    def counted(self) -> str:
        """What a hit is, the whole `pattern`; see `smoothseg.Certifier`."""
        return "pattern"

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n matches in n samples would not do."""
        _check_n(self.n, self.alpha, 0.5, f"alpha={self.alpha}", pixels)

    def count(self, draw: Draw) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int32]]:
        """Return the prediction (H, W) from n0 noise samples, and its hits (H, W) in n further ones.

        The prediction is the most frequent label map. Its hits are the same at every pixel: how often the whole label
        map was seen.
        """
        pattern = draw(self.n0, into=Patterns()).mode()
        matches = draw(self.n, into=Matches(pattern)).count
        return pattern, np.full(pattern.shape, matches, dtype=np.int32)

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return every pixel or none, and the radius; NaN with none.

        hits: (H, W), the number of whole matches at every pixel, as `count` returns it. Counts that were made
        pixel by pixel do not tell how often all pixels agreed at once: where they differ, `DataError`.
        """
        matches = int(hits.flat[0])
        if not (hits == matches).all():
            raise DataError(
                "whole label maps cannot be certified from counts made pixel by pixel: "
                f"expected the same hits everywhere, got {int(hits.min())} to {int(hits.max())}"
            )
        return _all_or_none(hits.shape, statistics.lower_bounds(trials, self.alpha)[matches], sigma)


def _all_or_none(shape: tuple[int, ...], lower: float, sigma: float) -> Verdict:
    """Return the verdict of one bound for the whole image. A bound of 1/2 suffices: it is exceeded, not reached."""
    passes = bool(lower >= 0.5)
    return Verdict(np.full(shape, passes), statistics.radius(lower, sigma) if passes else math.nan)


def _check_n(n: int, level: float, probability: float, setting: str, pixels: int) -> None:
    least = statistics.smallest_n(level, probability)
    if n < least:
        raise NothingCertifiableError(
            f"n={n} can never certify a pixel of {pixels} ({setting}): the smallest n that can is {least}"
        )


def verdict_of(
    hits: npt.NDArray[np.int32], trials: int, least: Sequence[int], taus: Sequence[float], sigma: float
) -> Verdict:
    """Return the verdict on `hits` (H, W) in `trials` samples, where pixels pass from the `least` hits of each tau on.

    taus: ascending. Each pixel has the radius of the largest that it passes, the image that of the smallest.
    """
    radii = np.full(trials + 1, np.nan)
    for threshold, tau in zip(least, taus, strict=True):
        radii[threshold:] = statistics.radius(tau, sigma)
    return Verdict(hits >= least[0], statistics.radius(taus[0], sigma), radii[hits])


def compact(prediction: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8 | np.uint16]:
    """Return class indices in the type that a certificate has."""
    return prediction.astype(np.uint8 if prediction.max(initial=0) < 256 else np.uint16)
