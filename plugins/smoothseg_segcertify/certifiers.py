"""The certifiers: select on one draw, count on a second, decide from the counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from smoothseg import Certificate, ConfigError, DataError, NothingCertifiableError, Verdict
from smoothseg_segcertify import statistics
from smoothseg_segcertify.patterns import Matches, Patterns

if TYPE_CHECKING:
    from smoothseg import Draw

__all__ = ["FixedTau", "NaivePattern", "NaivePixel", "SeveralTau"]

Threshold = Callable[[statistics.Counts, statistics.Table, float], int]
"""From the histogram of hits, the p-values by hits and alpha to the least number of hits that is certified."""


@dataclasses.dataclass(frozen=True)
class FixedTau:
    """Tests every pixel's class against `tau`, all pixels of the image corrected together by `threshold`.

    The radius is sigma * PhiInv(tau), known before the first sample. `k` is the number of wrong pixels whose
    probability `threshold` keeps at `alpha`: with k = 1, of any at all.
    """

    n0: int
    n: int
    alpha: float
    tau: float
    threshold: Threshold
    k: int = 1

    @property
    def counted(self) -> str:
        """`pixel`: see `smoothseg.Certifier`."""
        return "pixel"

    @property
    def samples(self) -> int:
        """n0 + n: how many noise samples an image takes."""
        return self.n0 + self.n

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would certify none."""
        if self.k > pixels:
            raise ConfigError(f"certifier option k={self.k} exceeds the {pixels} pixels of the image")
        # No p-value is below tau^n, and until one passes the first step the allowance is k * alpha / pixels.
        _check_n(
            self.n, self.k * self.alpha / pixels, self.tau, f"tau={self.tau}, alpha={self.alpha}", pixels
        )

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then n noise samples; see the recipe for its promise."""
        return _certify_pixels(self, draw)

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W) that pass in `trials` samples, and the radius of tau."""
        p = statistics.p_values(trials, self.tau)
        least = self.threshold(statistics.histogram(hits, trials), p, self.alpha)
        return Verdict(certified=hits >= least, radius=statistics.radius(self.tau, sigma))


@dataclasses.dataclass(frozen=True)
class SeveralTau:
    """Tests every pixel's class against several `taus`, ascending, all pixels and all of them together.

    A pixel's radius is sigma * PhiInv of the largest tau it passes; the image's radius is that of the smallest.
    """

    n0: int
    n: int
    alpha: float
    taus: tuple[float, ...]

    @property
    def counted(self) -> str:
        """`pixel`: see `smoothseg.Certifier`."""
        return "pixel"

    @property
    def samples(self) -> int:
        """n0 + n: how many noise samples an image takes."""
        return self.n0 + self.n

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would not pass one of the tau."""
        for tau in self.taus:
            _check_n(self.n, self.alpha / pixels, tau, f"tau={tau}, alpha={self.alpha}", pixels)

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then n noise samples; see the recipe for its promise."""
        return _certify_pixels(self, draw)

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return the pixels of `hits` (H, W) that pass the smallest tau, its radius, and the radius of each pixel."""
        tables = [statistics.p_values(trials, tau) for tau in self.taus]
        least = statistics.holm_thresholds(statistics.histogram(hits, trials), tables, self.alpha)
        radii = np.full(trials + 1, np.nan, dtype=np.float32)
        for threshold, tau in zip(least, self.taus, strict=True):
            radii[threshold:] = _rounded_down(statistics.radius(tau, sigma))
        return Verdict(hits >= least[0], statistics.radius(self.taus[0], sigma), radii[hits])


@dataclasses.dataclass(frozen=True)
class NaivePixel:
    """Bounds every pixel's class probability from below at level alpha / pixels (a union bound over the image).

    radius: `own`, a radius a pixel from its own bound; `common`, the image's from its smallest bound; `fixed`,
    that of `tau`, which a pixel's bound must reach.
    """

    n0: int
    n: int
    alpha: float
    radius: Literal["own", "common", "fixed"]
    tau: float

    @property
    def _needed(self) -> float:
        return self.tau if self.radius == "fixed" else 0.5

    @property
    def counted(self) -> str:
        """`pixel`: see `smoothseg.Certifier`."""
        return "pixel"

    @property
    def samples(self) -> int:
        """n0 + n: how many noise samples an image takes."""
        return self.n0 + self.n

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n hits in n samples at every pixel would certify none."""
        _check_n(
            self.n, self.alpha / pixels, self._needed, f"bound {self._needed}, alpha={self.alpha}", pixels
        )

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then n noise samples; see the recipe for its promise."""
        return _certify_pixels(self, draw)

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
        radii = np.full(trials + 1, np.nan, dtype=np.float32)
        for count in present[passes[present]]:
            radii[count] = _rounded_down(statistics.radius(lower[count], sigma))
        known = radii[present[passes[present]]]
        return Verdict(
            certified=passes[hits],
            radius=float(known.min()) if known.size else math.nan,
            radii=radii[hits],
        )


@dataclasses.dataclass(frozen=True)
class NaivePattern:
    """Treats the whole label map as one class, bounded from below at level `alpha`."""

    n0: int
    n: int
    alpha: float

    @property
    def counted(self) -> str:
        """`pattern`: see `smoothseg.Certifier`."""
        return "pattern"

    @property
    def samples(self) -> int:
        """n0 + n: how many noise samples an image takes."""
        return self.n0 + self.n

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if n matches in n samples would not do."""
        _check_n(self.n, self.alpha, 0.5, f"alpha={self.alpha}", pixels)

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then n noise samples; see the recipe for its promise.

        Its hits are the same at every pixel: how often the whole label map was seen.
        """
        pattern = draw(self.n0, into=Patterns()).mode()
        matches = draw(self.n, into=Matches(pattern)).count
        hits = np.full(pattern.shape, matches, dtype=np.int32)
        return Certificate(_compact(pattern), hits, self.n, self.decide(hits, self.n, sigma=draw.sigma))

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return every pixel or none, and the radius; NaN with none.

        hits: (H, W), the number of whole matches at every pixel, as `certify` leaves it. Counts that were made
        pixel by pixel do not tell how often all pixels agreed at once: where they differ, `DataError`.
        """
        matches = int(hits.flat[0])
        if not (hits == matches).all():
            raise DataError(
                "whole label maps cannot be certified from counts made pixel by pixel: "
                f"expected the same hits everywhere, got {int(hits.min())} to {int(hits.max())}"
            )
        return _all_or_none(hits.shape, statistics.lower_bounds(trials, self.alpha)[matches], sigma)


def _certify_pixels(certifier: FixedTau | NaivePixel | SeveralTau, draw: Draw) -> Certificate:
    # The selection's votes are freed before the second draw: two sets of counts are never held at once.
    prediction = draw(certifier.n0).mode()
    hits = draw(certifier.n).hits(prediction)
    verdict = certifier.decide(hits, certifier.n, sigma=draw.sigma)
    return Certificate(_compact(prediction), hits, certifier.n, verdict)


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


def _compact(prediction: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8 | np.uint16]:
    return prediction.astype(np.uint8 if prediction.max(initial=0) < 256 else np.uint16)


def _rounded_down(value: float) -> np.float32:
    """Return the largest float32 that is not above `value`: a radius must not be overstated by rounding."""
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))
