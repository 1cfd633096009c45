"""The certifier that may stop at any time: it looks at its counts after every block, and goes on if that pays."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from smoothseg import Certificate, ConfigError, Look, NothingCertifiableError, Stopping, Verdict
from smoothseg_segcertify import eprocesses, statistics
from smoothseg_segcertify.certifiers import compact, verdict_of
from smoothseg_segcertify.selecting import Hits, Selecting

if TYPE_CHECKING:
    from smoothseg import Draw

__all__ = ["Anytime", "Rules"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """When to stop: as soon as one of the rules says so. Each sees only samples that were drawn.

    max_n: after so many samples, selection not counted. share: once that share of the pixels is certified. hopeless:
    once all pixels but that share are certified or hopeless. gain: once the certified share was at least that, and the
    last block of samples raised it by less than that. minutes: once testing has taken so long since it began, or
    went on. block: samples between two looks.
    """

    max_n: int
    block: int
    share: float | None = None
    hopeless: float | None = None
    gain: float | None = None
    minutes: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Now:
    """What the hits (H, W) of one moment say: pixels certified and hopeless at the smallest tau, and pixels still open.

    A pixel is open if it may still pass a tau that it has not passed.
    """

    hits: npt.NDArray[np.int32]
    certified: int
    hopeless: int
    open: int


@final
@dataclasses.dataclass(frozen=True)
class Anytime(Selecting):
    """Tests every pixel's class against `taus`, ascending, with p-values that hold at every moment.

    With probability at least 1 - alpha over the noise samples, at every moment at once, fewer than k certified pixels
    of the image are wrong (with k = 1: none). All others have the predicted class as the smoothed model's, under every
    perturbation of l2 norm at most their radius: sigma * PhiInv of the largest tau that the pixel passes.

    Why: a certificate is Holm's procedure on the reciprocals of e-processes (`eprocesses.py`). Let m pixels have a
    class of probability at most tau. Holm certifies one of them only at a moment when the capital of one of them is at
    least m / alpha. For each of them, the chance that it ever is, is at most alpha / m; the union bound adds these,
    however pixels depend on each other, and whatever moment is chosen by whatever has been seen. The same for k: by
    Markov's inequality k of m capitals ever reach m / (k * alpha) with probability at most alpha.

    Decided is by the capital at the moment, a function of hits and trials: what was certified on the way is not kept.
    """

    n0: int
    alpha: float
    taus: tuple[float, ...]
    rules: Rules
    k: int = 1

    @property
    def tolerates(self) -> int:
        """k - 1: how many certified pixels of an image may be wrong."""
        return self.k - 1

    @property
    def samples(self) -> int:
        """n0 + max_n: how many noise samples an image takes at most."""
        return self.n0 + self.rules.max_n

    @property
    def fewest(self) -> int:
        """How many noise samples an image takes at least; a rule may stop no sooner, whatever the image."""
        rules, least = self.rules, self.rules.max_n
        first = math.ceil(eprocesses.smallest_trials(self.alpha, self.taus[0]) / rules.block) * rules.block
        if rules.share is not None:
            least = min(least, first)
        if rules.gain is not None:
            least = min(least, first + rules.block)
        if rules.hopeless is not None or rules.minutes is not None:
            least = min(least, rules.block)
        return self.n0 + least

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if max_n hits in max_n samples would certify no pixel of so many `pixels`."""
        if self.k > pixels:
            raise ConfigError(f"certifier option k={self.k} exceeds the {pixels} pixels of the image")
        for tau in self.taus:
            least = self._first(pixels, tau)
            if self.rules.max_n < least:
                raise NothingCertifiableError(
                    f"max_n={self.rules.max_n} can never certify a pixel of {pixels} (tau={tau}, alpha={self.alpha}): "
                    f"the smallest max_n that can is {least}"
                )

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image from n0 and then up to max_n noise samples; see the class."""
        prediction = self.selection.select(draw, self.n0)
        return self._go_on(draw, prediction, self.selection.tally(prediction), [])

    def resume(self, draw: Draw, before: Certificate) -> Certificate:
        """Return the certificate that `certify` had returned, had it not stopped at `before`."""
        if before.trials > self.rules.max_n:
            raise ConfigError(f"max_n={self.rules.max_n}: there are {before.trials} samples already")
        looks = [] if before.stopping is None else list(before.stopping.looks)
        hits = self.selection.tally(before.prediction)
        hits.begin(before.hits, before.trials)
        return self._go_on(draw, before.prediction, hits, looks)

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return which pixels of `hits` (H, W), counted in `trials` samples, are certified, and the radius.

        With several tau also the radius of each pixel; the image's is that of the smallest tau.
        """
        least = self._least(hits, trials)
        if len(self.taus) == 1:
            return Verdict(hits >= least[0], statistics.radius(self.taus[0], sigma))
        return verdict_of(hits, trials, least, self.taus, sigma)

    def _least(self, hits: npt.NDArray[np.int32], trials: int) -> tuple[int, ...]:
        """Return the least hits that pass, for each tau."""
        histogram, tables = statistics.histogram(hits, trials), self._tables(trials)
        if self.k > 1:
            return (statistics.kfwer_threshold(histogram, tables[0], self.alpha, k=self.k),)
        return statistics.holm_thresholds(histogram, tables, self.alpha)

    def _tables(self, trials: int) -> list[statistics.Table]:
        """Return the p-values of each tau. Those of a larger tau are nowhere smaller, as several tau need it."""
        tables = [eprocesses.p_values(trials, tau) for tau in self.taus]
        return tables if len(tables) == 1 else list(np.maximum.accumulate(tables, axis=0))

    def _first(self, pixels: int, tau: float) -> int:
        """Return after how many trials a pixel of so many can pass at all."""
        return eprocesses.smallest_trials(self.k * self.alpha / pixels, tau)

    def _go_on(
        self, draw: Draw, prediction: npt.NDArray[np.integer], hits: Hits, looks: list[Look]
    ) -> Certificate:
        rules, started = self.rules, time.monotonic()
        reason = None
        if looks and looks[-1].trials == hits.trials:
            reason = self._reason(self._now(hits), looks, 0.0)
        while reason is None and hits.trials < rules.max_n:
            whole = rules.block - hits.trials % rules.block
            reason = draw.some(min(whole, rules.max_n - hits.trials), hits)
            if hits.trials % rules.block == 0:
                now = self._now(hits)
                looks.append(Look(hits.trials, now.certified, now.hits.size, now.hopeless))
                asked = draw.look(looks[-1])
                reason = self._reason(now, looks, time.monotonic() - started) or asked
        counted = hits.hits
        return Certificate(
            compact(prediction),
            counted,
            hits.trials,
            self.decide(counted, hits.trials, sigma=draw.sigma),
            stopping=Stopping(reason or "max_n", tuple(looks)),
        )

    def _now(self, hits: Hits) -> _Now:
        """Return what the hits certify at this moment."""
        counted, trials = hits.hits, hits.trials
        least = self._least(counted, trials)
        never = [eprocesses.hopeless(trials, tau, self.alpha) for tau in self.taus]
        settled = [
            (np.arange(trials + 1) >= at) | out for at, out in zip(least, never, strict=True)
        ]  # at each tau, by hits
        return _Now(
            counted,
            certified=int(np.count_nonzero(counted >= least[0])),
            hopeless=int(np.count_nonzero(never[0][counted])),
            open=int(np.count_nonzero(~functools.reduce(np.logical_and, settled)[counted])),
        )

    def _reason(self, now: _Now, looks: Sequence[Look], seconds: float) -> str | None:
        """Return the option that stops here, if one does."""
        rules, look = self.rules, looks[-1]
        if rules.share is not None and look.share >= rules.share:
            return "share"
        if rules.hopeless is not None and now.open <= rules.hopeless * look.pixels:
            return "hopeless"
        if (
            rules.gain is not None
            and len(looks) > 1
            and looks[-2].share >= rules.gain  # before, the rise has hardly begun
            and look.certified - looks[-2].certified < rules.gain * look.pixels
        ):
            return "gain"
        if rules.minutes is not None and seconds >= 60 * rules.minutes:
            return "minutes"
        return None
