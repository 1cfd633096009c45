"""How often does an image carry more false claims than its certifier allows, where that is most likely?

A certified pixel of radius R claims that its class has a probability above Phi(R / sigma). The claim is false if the
probability is at most that. It is made most often if the two are equal. Here the probabilities are known, and are set
to what the certifier claims; the share of images with too many false claims is compared with alpha. There are three
ways to that share:

- *exactly*, for images whose doubtful pixels all show one count of hits, alone or beside certain pixels: the binomial
  probabilities of the counts at which the image fails are added up;
- *by counts* that are drawn for many images, in which pixels depend on each other in several ways, and `decide`;
- *by label maps* that are drawn for fewer images, and `certify`.

A certifier that selects the class of a pixel from the samples that test it is given what such a selection finds: the
votes of the class that has more of them. A pixel of two classes can then err either way, and pixels of three classes
and pixels whose class is more probable than claimed, but whose votes may favour another, are tried too.

What is drawn has a fixed seed, and an exact binomial test judges it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import special, stats

from smoothseg.certificates.bounds import tolerated
from smoothseg.certificates.certificate import Verdict
from smoothseg.certificates.certifier import Certifier, Tally, selects_from_trials
from smoothseg.certificates.hierarchy import contains, hierarchy_of
from smoothseg.errors import SmoothsegError
from smoothseg.smoothing.votes import Votes
from smoothseg.testing.toys import Stoppable, tell

__all__ = ["Promise", "assert_error_rate", "claims_of", "promise"]

_Dependence = Literal["independent", "equicorrelated", "exclusive"]
"""How the doubtful pixels of a sample depend on each other.

`independent`: not at all. `equicorrelated`: with correlation 1/2, since in half of the samples, chosen at random, the
pixels show their classes by one random number. `exclusive`: no sample misses the class at two pixels.
"""

_LEVEL = 0.1
"""The alpha of a certifier that names none."""

_CHANCE = 1e-6
"""Probability that chance finds fault with a certifier that errs in exactly alpha of its images."""

_SLACK = 1e-4
"""How far an exact share may be above alpha, relative to it: radii may be rounded to single precision."""

_SIGMA = 0.25
"""Noise level of every image, in [0, 1] pixel units."""

_FAILURES = 500
"""So many images may fail of those whose counts are drawn, if there is time to draw as many."""

_NUMBERS = 250_000
"""The most random numbers that are drawn for one setting."""

_MAPPED = 600
"""Images for which label maps are drawn, in each setting."""

_COUNTS = 1000
"""The most counts of hits at which a certifier is asked what it claims."""

_LEVELS = 3
"""The most probabilities that counts are drawn for, where a certifier claims many."""

_Ints = npt.NDArray[np.int32]
_Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Promise:
    """What is promised of an image: it carries more than `tolerates` false claims with probability at most `alpha`."""

    alpha: float
    tolerates: int


@dataclasses.dataclass(frozen=True)
class _Setting:
    """Images with `doubtful` pixels, whose claims can be false, and `certain` ones, whose class every sample shows."""

    dependence: _Dependence
    doubtful: int
    certain: int

    def __str__(self) -> str:
        beside = f" beside {self.certain} certain ones" if self.certain else ""
        return f"{self.doubtful} {self.dependence} pixels{beside}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Claims:
    """What a certifier claims of images of `pixels`: `doubtful` ones of equal hits, and others that have all hits.

    counts: the counts it was asked for, ascending. claimed: for each, the largest probability that more doubtful pixels
    claim to exceed than may be wrong; -1 where so many claim nothing. selected: whether the trials select the class.
    """

    trials: int
    pixels: int
    doubtful: int
    counts: _Ints
    claimed: _Floats
    selected: bool

    def levels(self) -> _Floats:
        """Return the probabilities that are claimed, ascending."""
        return np.unique(self.claimed[self.claimed >= 0])

    def rate(self, level: float) -> float:
        """Return the share of images that fail where the class of the doubtful pixels has the probability `level`.

        Only the counts that were asked for are added up: if that is not every count, the share is a lower bound. Where
        the trials select, all other samples show one other class, and the more frequent of the two is claimed.
        """
        share = stats.binom.pmf(self.counts[self.claimed >= level], self.trials, level).sum()
        if self.selected:
            others = self.counts[(self.claimed >= 1 - level) & (2 * self.counts > self.trials)]
            share += stats.binom.pmf(others, self.trials, 1 - level).sum()
        return float(share)

    def least(self, level: float) -> int:
        """Return the least count at which the claim is false if the class has the probability `level`."""
        false = self.counts[self.claimed >= level]
        return int(false[0]) if false.size else self.trials + 1


def promise(certifier: Certifier, recipe: Any = None) -> Promise:
    """Return what is promised by `alpha` and `tolerates` of the recipe, or of the certifier if there is no recipe.

    Where there is no `alpha` it is a tenth, and where there is no `tolerates` no claim may be false.
    """
    source = certifier if recipe is None else recipe
    alpha = getattr(source, "alpha", None)
    if not (isinstance(alpha, float) and 0 < alpha < 1):
        alpha = _LEVEL
    return Promise(alpha, tolerated(source))


def assert_error_rate(certifier: Certifier, trials: int, promise: Promise) -> None:
    """Assert that a share of at most alpha of all images carries too many false claims, in every setting.

    trials: how many samples the counts are out of that `certifier.decide` gets.
    """
    alike, allowed = certifier.counted == "pattern", promise.tolerates
    drawn: list[tuple[_Setting, _Floats, _Ints]] = []
    mapped: list[tuple[int, tuple[float, ...]]] = []
    for pixels in (allowed + 1, allowed + 2, allowed + 8, allowed + 32):
        try:
            certifier.check(pixels)
        except SmoothsegError:  # no run certifies an image of that size
            continue
        every = _claims(certifier, trials, pixels, pixels, allowed)
        few = every if alike else _claims(certifier, trials, pixels, allowed + 1, allowed)
        for claims in (every, few):
            _assert_exact(claims, promise)
        levels = _chosen(few)
        if not levels.size or pixels == allowed + 1:
            continue
        if pixels != allowed + 8:
            mapped += [(pixels, shares) for shares in _shares(certifier, float(levels[0]))]
        for setting in () if alike else _settings(pixels, allowed, float(levels[0])):
            drawn += [(setting, *_spread(few, setting, levels[[at]])) for at in range(len(levels))]
            if len(levels) > 1:
                drawn.append((setting, *_spread(few, setting, levels)))
    chance = _CHANCE / max(1, len(drawn) + len(mapped))
    for seed, (setting, levels, least) in enumerate(drawn):
        failed, images = _fail_by_counts(certifier, trials, promise, setting, levels, least, seed)
        _judge(failed, images, promise, chance, f"{setting} whose class has the probability {_told(levels)}")
    for seed, (pixels, shares) in enumerate(mapped):
        failed = _fail_by_maps(certifier, promise, pixels, shares, seed)
        _judge(failed, _MAPPED, promise, chance, f"{pixels} pixels, certified from samples, {_whose(shares)}")


def _shares(certifier: Certifier, level: float) -> tuple[tuple[float, ...], ...]:
    """Return the probabilities of the classes of a pixel to draw label maps for; `level` is the smallest one claimed.

    Where the trials select: two and three classes of which none is above it, and one that is, just and clearly.
    """
    if not selects_from_trials(certifier):
        return ((1 - level, level),)
    rest = 1 - level
    return (
        (rest, level),
        (1 / 3, 1 / 3, 1 / 3),
        (rest / 2, level, rest / 2),
        (0.999 * rest, 1 - 0.999 * rest),
        (rest / 2, 1 - rest / 2),
    )


def _settings(pixels: int, allowed: int, level: float) -> Iterator[_Setting]:
    """Yield the settings of images of so many `pixels`.

    level: the smallest probability of a class. Misses exclude each other at no more pixels than 1 / (1 - level).
    """
    if pixels == allowed + 8:
        yield _Setting("independent", allowed + 2, 6)
        yield _Setting("equicorrelated", allowed + 2, 6)
        yield _Setting("equicorrelated", pixels, 0)
    else:
        yield _Setting("independent", pixels, 0)
    exclusive = int(min(pixels, 1 / max(1 - level, 1e-9) + 1e-6))
    if exclusive > max(1, allowed):
        yield _Setting("exclusive", exclusive, pixels - exclusive)


def _claims(certifier: Certifier, trials: int, pixels: int, doubtful: int, allowed: int) -> _Claims:
    """Return what `certifier` claims; it is asked for counts of hits from half of the trials on."""
    half = trials // 2
    counts = np.unique(np.linspace(half, trials, min(trials - half + 1, _COUNTS)).round().astype(np.int32))
    claimed = []
    for count in counts:
        hits = np.full((1, pixels), trials, dtype=np.int32)
        hits[0, :doubtful] = count
        claims = claims_of(certifier.decide(hits, trials, sigma=_SIGMA))[0, :doubtful]
        claimed.append(np.sort(claims)[-1 - allowed])
    return _Claims(trials, pixels, doubtful, counts, np.array(claimed), selects_from_trials(certifier))


def claims_of(verdict: Verdict) -> _Floats:
    """Return the probability that each pixel claims to exceed, (H, W); -1 where it claims none."""
    radii = np.asarray(verdict.radius if verdict.radii is None else verdict.radii, dtype=np.float64)
    claims: _Floats = np.where(verdict.certified & ~np.isnan(radii), special.ndtr(radii / _SIGMA), -1.0)
    return claims


def _chosen(claims: _Claims) -> _Floats:
    """Return the probabilities to draw images for, ascending: the smallest claimed, and those that fail most often."""
    levels = claims.levels()
    if len(levels) <= _LEVELS:
        return levels
    rates = [claims.rate(level) for level in levels[1:]]
    chosen: _Floats = levels[np.sort([0, *(1 + np.argsort(rates)[1 - _LEVELS :])])]
    return chosen


def _spread(claims: _Claims, setting: _Setting, levels: _Floats) -> tuple[_Floats, _Ints]:
    """Return for each doubtful pixel the probability of its class, `levels` by turns, and its least count that errs."""
    # Where the trials select, the other class may be claimed falsely, too.
    false = np.minimum(levels, 1 - levels) if claims.selected else levels
    least = np.array([claims.least(level) for level in false], dtype=np.int32)
    return np.resize(levels, setting.doubtful), np.resize(least, setting.doubtful)


def _assert_exact(claims: _Claims, promise: Promise) -> None:
    for level in claims.levels():
        rate = claims.rate(level)
        assert rate <= promise.alpha * (1 + _SLACK), (
            f"{_too_many(promise)} in {rate:.4g} of all images with {claims.doubtful} of {claims.pixels} pixels alike, "
            f"whose class has the probability {level:.4g}, expected at most alpha = {promise.alpha:g}"
        )


def _judge(failed: int, images: int, promise: Promise, chance: float, what: str) -> None:
    assert stats.binom.sf(failed - 1, images, promise.alpha) > chance, (
        f"{_too_many(promise)} in {failed} of {images} images of {what}, expected a share of at most alpha = "
        f"{promise.alpha:g}"
    )


def _too_many(promise: Promise) -> str:
    if not promise.tolerates:
        return "pixels are falsely certified"
    return (
        f"more than {promise.tolerates} pixel{'s are' if promise.tolerates > 1 else ' is'} falsely certified"
    )


def _whose(shares: tuple[float, ...]) -> str:
    if len(shares) == 2:
        return f"whose class has the probability {shares[1]:.4g}"
    return f"whose classes have the probabilities {', '.join(f'{share:.4g}' for share in shares)}"


def _told(levels: _Floats) -> str:
    return " or ".join(f"{level:.4g}" for level in np.unique(levels))


def _fail_by_counts(
    certifier: Certifier,
    trials: int,
    promise: Promise,
    setting: _Setting,
    levels: _Floats,
    least: _Ints,
    seed: int,
) -> tuple[int, int]:
    """Return how many images fail, and of how many.

    levels: the probability of each doubtful pixel's class. least: the least count at which its claim can be false.
    """
    images = min(_NUMBERS // setting.doubtful, math.ceil(_FAILURES / promise.alpha))
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = _hits(generator, images, trials, setting.dependence, levels)
    true = np.broadcast_to(levels, drawn.shape)
    if selects_from_trials(certifier):  # all other samples show one other class
        true = np.where(2 * drawn >= trials, levels, 1 - levels)
        drawn = np.maximum(drawn, trials - drawn)
    failed = 0
    # An image with fewer counts that high is taken for right unseen: that can hide a failure, and makes none up.
    suspect = (drawn >= least).sum(axis=1) > promise.tolerates
    for row, limits in zip(drawn[suspect], true[suspect], strict=True):
        hits = np.full((1, setting.doubtful + setting.certain), trials, dtype=np.int32)
        hits[0, : setting.doubtful] = row
        claims = claims_of(certifier.decide(hits, trials, sigma=_SIGMA))[0, : setting.doubtful]
        failed += int(np.count_nonzero(claims >= limits) > promise.tolerates)
    return failed, images


def _hits(
    generator: np.random.Generator, images: int, trials: int, dependence: _Dependence, levels: _Floats
) -> _Ints:
    """Return hits (images, pixels) of classes with the probabilities `levels` (pixels)."""
    if dependence == "independent":
        return generator.binomial(trials, levels, (images, len(levels))).astype(np.int32)
    if dependence == "exclusive":
        misses = np.append(1 - levels, max(0.0, 1 - float((1 - levels).sum())))
        drawn = generator.multinomial(trials, misses / misses.sum(), images)[:, :-1]
        return (trials - drawn).astype(np.int32)
    alike = generator.binomial(trials, 0.5, images)[:, None]
    # One random number shows a class wherever it is below the class's probability: of those samples that show the most
    # probable class, a binomial share shows the next, and so on.
    order = np.argsort(levels)[::-1]
    shared = np.empty((images, len(levels)), dtype=np.int64)
    seen, before = alike[:, 0], 1.0
    for pixel in order:
        seen = generator.binomial(seen, levels[pixel] / before)
        shared[:, pixel], before = seen, levels[pixel]
    hits: _Ints = (shared + generator.binomial(trials - alike, levels)).astype(np.int32)
    return hits


def _fail_by_maps(
    certifier: Certifier, promise: Promise, pixels: int, shares: tuple[float, ...], seed: int
) -> int:
    """Return how many of `_MAPPED` images fail that are certified from label maps.

    shares: the probabilities of the classes, the same at every pixel. A certified node makes its claim about the
    classes in it.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, 1]))
    hierarchy = hierarchy_of(certifier)
    classes = 2 if hierarchy is None else len(hierarchy.classes)
    failed = 0
    for _ in range(_MAPPED):
        draw = _Dice(generator, pixels, shares, alike=certifier.counted == "pattern", classes=classes)
        made = certifier.certify(draw)  # type: ignore[arg-type]
        true = sum(
            share * contains(made.prediction, np.full(made.prediction.shape, c), hierarchy)
            for c, share in enumerate(shares)
        )
        failed += int(np.count_nonzero(claims_of(made.verdict) >= true) > promise.tolerates)
    return failed


class _Dice(Stoppable):
    """A draw of 1 x `pixels` label maps: each pixel shows each class with its probability in `shares`.

    Pixels are independent, or all `alike`. The rest is as in `smoothseg.smoothing.sampling.Draw`.
    """

    sigma = _SIGMA

    def __init__(
        self,
        generator: np.random.Generator,
        pixels: int,
        shares: tuple[float, ...],
        *,
        alike: bool,
        classes: int,
    ) -> None:
        super().__init__()
        self.size = (1, pixels)
        self.drawn = 0
        self._generator = generator
        # The last class begins at 0: of two, it is shown below its own probability.
        self._bounds = np.cumsum(shares[:0:-1])[::-1]
        self._dice = 1 if alike else pixels
        self._classes = max(classes, len(shares))

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        rolled = self._generator.random((n, 1, self._dice))
        shown = sum((rolled < bound).astype(np.int64) for bound in self._bounds)
        labels = torch.from_numpy(np.broadcast_to(shown, (n, *self.size)).copy())
        self.drawn += n
        if into is not None:
            tell(into, labels, classes=self._classes)
            return into
        votes = Votes(self._classes, self.size, capacity=n)
        for label, count in enumerate(votes.counts):
            count += (labels == label).sum(0)
        votes.n = n
        return votes
