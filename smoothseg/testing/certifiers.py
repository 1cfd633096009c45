"""What must a certifier promise?"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.certificates.certifier import Certifier, Sequential, Tally, selects_from_trials
from smoothseg.certificates.hierarchy import contains, fitted, hierarchy_of
from smoothseg.smoothing.votes import Votes
from smoothseg.testing.familywise import assert_error_rate, promise
from smoothseg.testing.moments import assert_goes_on, assert_right_at_every_moment
from smoothseg.testing.promises import Check, assert_all, protocol_check
from smoothseg.testing.toys import LabelDraw, Stoppable, tell

__all__ = ["certifier_checks", "check_certifier"]

_SIGMAS = (0.05, 0.25, 1.0)
"""Noise levels at which a certifier's radii are examined; its votes are drawn at the second."""

_LEVEL = 0.1
"""The largest probability with which chance may produce a certified count, or alpha if that is larger."""

_MOST_CALLS = 6
"""How many of a certifier's draws are singled out, one after the other, to see what each is used for."""


def check_certifier(certifier: Certifier, *, recipe: Any = None) -> None:
    """Assert the promises of `Certifier`.

    recipe: what the certifier was loaded from. Its `alpha` says in what share of all images the promise may be broken,
    and its `tolerates` how many certified pixels of an image may be wrong. Without a recipe the certifier's own
    attributes of these names count; without `alpha` a tenth of the images may fail.

    The certifier gets label maps that always agree, label maps that are random, and label maps of which a single draw
    differs from all others. It also gets counts of every height: each must be too rare by chance for the radius that
    the certifier gives it.

    Then it gets images whose classes have exactly the probabilities that it claims to be exceeded. Where all pixels
    that can be wrong have the same hits, the share of images that fail is computed, and any excess over alpha is found.
    Where they differ, images are drawn: at alpha = 0.001 so many that a share of two to four times alpha is found, at
    alpha = 0.1 one of 1.3 times alpha. From label maps a share of 13 or 1.7 times alpha is found. The seed is fixed;
    chance accuses a right certifier with one seed of a million. Check a certifier with a large alpha, too.

    What is wrong in other images only is not found: the promise of a certifier needs a proof, and no test replaces it.
    """
    assert_all(certifier_checks(certifier, recipe))


def certifier_checks(certifier: Certifier, recipe: Any = None) -> tuple[Check, ...]:
    """Return the checks of a certifier, in order. recipe: what it was loaded from, if that is known.

    A certifier with a hierarchy of classes is examined with those that it names.
    """
    promised = promise(certifier, recipe)
    certifier = fitted(certifier, None)
    hierarchy = hierarchy_of(certifier)
    # More pixels than may be wrong: of fewer a certifier need not know what to do.
    height, width = 3, max(5, promised.tolerates // 3 + 1)
    classes = 4 if hierarchy is None else len(hierarchy.classes)
    shown = min(classes, 4)
    level = max(_LEVEL, promised.alpha)
    constant = np.arange(height * width).reshape(height, width) % shown

    @functools.cache
    def agreeing() -> tuple[Certificate, int]:
        draw = LabelDraw(np.broadcast_to(constant, (certifier.samples, height, width)), classes=classes)
        return certifier.certify(draw), draw.drawn  # type: ignore[arg-type]

    @functools.cache
    def scattered() -> Certificate:
        generator = np.random.Generator(np.random.Philox(0))
        labels = generator.integers(0, shown, (certifier.samples, height, width))
        return certifier.certify(LabelDraw(labels, classes=classes))  # type: ignore[arg-type]

    def counted() -> None:
        right = ("pixel", "pattern") if hierarchy is None else ("node",)
        assert certifier.counted in right, (
            f"counted is {certifier.counted!r}, not {' or '.join(map(repr, right))}"
        )

    def samples() -> None:
        certificate, drawn = agreeing()
        assert drawn <= certifier.samples, (
            f"certify drew {drawn} samples, more than the {certifier.samples} that `samples` says"
        )
        assert 1 <= certificate.trials <= drawn, (
            f"certify states {certificate.trials} trials, but drew {drawn} samples"
        )

    def predicts() -> None:
        certificate, _ = agreeing()
        assert isinstance(certificate, Certificate), (
            f"certify: expected a Certificate, got {type(certificate).__name__}"
        )
        assert (certificate.prediction == constant).all(), (
            "certify did not predict the only class that was ever seen"
        )
        assert (certificate.hits == certificate.trials).all(), (
            f"hits: expected {certificate.trials}, of as many trials that all agreed, "
            f"got {int(certificate.hits.min())} to {int(certificate.hits.max())}"
        )

    def abstains() -> None:
        wrong = int(scattered().certified.sum())
        assert not wrong, (
            f"certify certified pixels whose labels were drawn uniformly: {wrong} of {height * width}, expected 0"
        )

    def chosen_by_all(drawn: int) -> None:
        """Where the trials select: all samples are trials, and the hits are the votes of the prediction in them."""
        certificate = agreeing()[0]
        assert certificate.trials == drawn, (
            f"selects_from_trials is true, but {certificate.trials} of {drawn} samples are stated as trials: expected "
            "all of them"
        )
        labels = _shares(certifier.samples, (height, width), classes)
        made = certifier.certify(LabelDraw(labels, classes=classes))  # type: ignore[arg-type]
        seen = (labels[: made.trials] == made.prediction).sum(axis=0)
        assert (made.hits == seen).all(), (
            "the hits are not the votes that the predicted class has in all samples: "
            f"{int((made.hits != seen).sum())} of {height * width} pixels differ"
        )

    def disjoint() -> None:
        certificate, drawn = agreeing()
        if selects_from_trials(certifier):
            chosen_by_all(drawn)
            return
        assert certificate.trials < drawn, (
            f"all {drawn} samples that certify drew are stated as trials: expected others that select the class"
        )
        first = _SingledOut(certifier.samples, (height, width), call=0, classes=classes)
        certifier.certify(first)  # type: ignore[arg-type]
        for call in range(min(first.calls, _MOST_CALLS)):
            draw = _SingledOut(certifier.samples, (height, width), call=call, classes=classes)
            result = certifier.certify(draw)  # type: ignore[arg-type]
            # Where the class was selected that no other draw has, this draw selected it and must not test it.
            selected, other = (
                contains(result.prediction, np.full((height, width), c), hierarchy) for c in (0, 1)
            )
            tested = int(result.hits[selected & ~other].max(initial=0))
            assert draw.calls < 2 or not tested, (
                f"a class seen in draw {call + 1} alone was selected and has {tested} hits, expected 0: what selects "
                "a class must not test it"
            )

    def backed(sigma: float) -> None:
        trials = agreeing()[0].trials
        for hits in _hit_counts(trials, (height, width), alike=certifier.counted == "pattern"):
            _assert_backed(certifier.decide(hits, trials, sigma=sigma), hits, trials, sigma, level)

    def radius() -> None:
        backed(_SIGMAS[1])

    def errors() -> None:
        assert_error_rate(certifier, agreeing()[0].trials, promised)

    def scales() -> None:
        for sigma in (_SIGMAS[0], _SIGMAS[2]):
            backed(sigma)
            labels = np.broadcast_to(constant, (certifier.samples, height, width))
            made = certifier.certify(LabelDraw(labels, classes=classes, sigma=sigma))  # type: ignore[arg-type]
            again = certifier.decide(made.hits, made.trials, sigma=sigma)
            assert np.isclose(made.radius, again.radius, equal_nan=True), (
                f"certify at sigma {sigma:g}: expected the radius {again.radius:g} that decide gives for it, got "
                f"{made.radius:g}"
            )

    def decides() -> None:
        for result in (agreeing()[0], scattered()):
            again = certifier.decide(result.hits, result.trials, sigma=0.25)
            assert isinstance(again, Verdict), f"decide: expected a Verdict, got {type(again).__name__}"
            assert (again.certified == result.certified).all(), (
                "decide contradicts certify on the same counts"
            )
            assert np.isclose(again.radius, result.radius, equal_nan=True), (
                f"decide gives another radius than certify: expected {result.radius:g}, got {again.radius:g}"
            )

    def goes_on() -> None:
        assert isinstance(certifier, Sequential)
        assert_goes_on(certifier)

    def at_any_time() -> None:
        assert isinstance(certifier, Sequential)
        assert_right_at_every_moment(certifier, promised)

    sequential = (
        Check(
            "goes-on",
            "stopped and taken up again, it gives the same certificate",
            "A run that was interrupted must give what it had given otherwise, and no sample may count twice.",
            goes_on,
        ),
        Check(
            "any-time",
            "at most alpha of all images are ever wrong, whenever somebody stops",
            "Whoever watches can stop at the worst moment. Images are tried whose classes are just not as probable as "
            "claimed, with doubtful pixels that have the same hits; an excess over alpha is found there for certain.",
            at_any_time,
        ),
    )
    return (
        protocol_check(certifier, "certifier"),
        Check(
            "counted",
            "it says what it counts, pixels, nodes or patterns",
            "Counts of pixels, of nodes of a hierarchy and of whole label maps must never be taken for each other.",
            counted,
        ),
        Check(
            "predicts",
            "what all samples say is what is predicted",
            "What is certified must be what the smoothed model says.",
            predicts,
            vital=True,
        ),
        Check(
            "samples",
            "it draws no more samples than it says",
            "The cost of a run, and what `smoothseg verify` accepts, follow from it.",
            samples,
        ),
        Check(
            "abstains",
            "labels drawn at random are not certified",
            "A certified pixel without a clear vote is a false guarantee.",
            abstains,
        ),
        Check(
            "decides",
            "the counts alone give the same verdict again",
            "`smoothseg verify` must come to the stored verdict from the stored counts.",
            decides,
        ),
        Check(
            "disjoint",
            "what selects a class does not test it, unless it says so",
            "A class that is selected for its votes has many of them by chance: tested on the same samples, it passes "
            "more often than the certificate says. A certifier whose proof allows for that says `selects_from_trials`, "
            "and its hits must then be the votes of the predicted class in all samples.",
            disjoint,
        ),
        Check(
            "radius",
            "a radius is given to counts that chance seldom makes",
            "The radius R says that the class has a probability above Phi(R / sigma). If counts like these are common "
            "at that probability, they do not show it, and the guarantee is false.",
            radius,
        ),
        Check(
            "scales",
            "a radius goes by the sigma of the noise that was drawn",
            "The same counts under half the noise guarantee half the radius.",
            scales,
        ),
        Check(
            "errors",
            "at most alpha of all images carry too many false claims",
            "1 - alpha is the probability that the guarantee of an image holds for all its pixels together. Images are "
            "tried whose classes are just not as probable as claimed. An excess over alpha is found for certain where "
            "such pixels have the same hits, and elsewhere from two to four times alpha on. Images that were not tried "
            "need a proof.",
            errors,
        ),
        *(sequential if isinstance(certifier, Sequential) else ()),
    )


def _shares(samples: int, size: tuple[int, int], classes: int) -> npt.NDArray[np.int64]:
    """Return label maps (samples, H, W) whose pixels show one class in a share of them, from a third to all."""
    pixels = size[0] * size[1]
    usual = np.arange(pixels) % classes
    agreeing = np.arange(samples)[:, None] < np.linspace(samples / 3, samples, pixels)
    other = (usual + 1 + np.arange(samples)[:, None] % (classes - 1)) % classes
    labels: npt.NDArray[np.int64] = np.where(agreeing, usual, other).reshape(samples, *size)
    return labels


class _SingledOut(Stoppable):
    """A draw of two of `classes`: one of its calls gives class 0 only, every other call class 1 only.

    samples: how many samples it gives at most. size: (H, W) of its label maps. call: the call that gives class 0,
    counted from 0.

    The attribute `calls` says how many calls there were so far. The rest is as in `smoothseg.smoothing.sampling.Draw`.
    """

    sigma = _SIGMAS[1]

    def __init__(self, samples: int, size: tuple[int, int], *, call: int, classes: int) -> None:
        super().__init__()
        self.size = size
        self.calls = 0
        self.drawn = 0
        self._samples = samples
        self._call = call
        self._classes = classes

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        if self.drawn + n > self._samples:
            raise ValueError(
                f"{self.drawn + n} samples asked for, more than the {self._samples} that `samples` says"
            )
        tally = Votes(self._classes, self.size, capacity=n) if into is None else into
        tell(tally, torch.full((n, *self.size), int(self.calls != self._call)), classes=self._classes)
        self.calls += 1
        self.drawn += n
        return tally


def _hit_counts(trials: int, size: tuple[int, int], *, alike: bool) -> Iterator[npt.NDArray[np.int32]]:
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


def _assert_backed(
    verdict: Verdict, hits: npt.NDArray[np.int32], trials: int, sigma: float, level: float
) -> None:
    """Assert that the radius of each certified pixel is supported by its hits.

    A radius says that the class has more than a certain probability. At exactly that probability, chance must seldom
    give as many hits: with a probability of at most `level`.
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
    assert chances[worst] <= level, (
        f"{counts[worst]} of {trials} hits are certified within {claims[worst]:.4g} at sigma {sigma:g}, which says "
        f"that the class has a probability above {probabilities[worst]:.4g}; at that probability so many hits come "
        f"up in {chances[worst]:.0%} of all images, expected at most {level:.0%}"
    )
