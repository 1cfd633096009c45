"""That a certifier whose images carry false claims too often is found, and one that keeps to alpha is not."""

from __future__ import annotations

import dataclasses
import functools
import re
import types

import numpy as np
import pytest
from scipy import special, stats

from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.components.plugins import plugins
from smoothseg.errors import NothingCertifiableError
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import Draw
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter, check_certifier, checks, familywise
from smoothseg.testing.familywise import Promise, promise

REGISTRY = plugins()["certifier"]
SHORT = {"anytime": "anytime:max_n=120"}
"""Certifiers that draw more samples by default than these checks need."""

SPECS = [
    spec
    for entry in REGISTRY
    for name in [SHORT.get(entry.name, entry.name)]
    for spec in (
        name,
        *(
            (f"{name}{',' if ':' in name else ':'}alpha=0.1",)
            if "alpha" in {field.name for field in entry.fields}
            else ()
        ),
    )
]


def failure(certifier, recipe=None):
    """Return what the check of the error rate says of `certifier`; None if it keeps its promise."""
    (check,) = [check for check in checks("certifier", certifier, recipe=recipe) if check.name == "errors"]
    return check.failure()


@pytest.mark.parametrize(
    "spec",
    [
        *SPECS,
        *("holm:taus=0.5,0.75,0.99,alpha=0.1", "naive-pixel:radius=common,alpha=0.1"),
        *("naive-pixel:radius=fixed,tau=0.6,alpha=0.3", "kfwer:k=2,alpha=0.3,tau=0.5", "holm:n=1,alpha=0.9"),
        *("holm:n0=1,n=20,alpha=0.9,tau=0.5", "holm:alpha=1e-30,n=300", "bonferroni:n=7,alpha=0.5,tau=0.6"),
        *("holm:n0=0,n=110", "holm:n0=0,n=30,alpha=0.3,tau=0.5", "bonferroni:n0=0,n=12,alpha=0.9,tau=0.55"),
    ],
)
def test_every_registered_certifier_keeps_to_alpha(spec):
    recipe = REGISTRY.recipe(spec)
    assert failure(recipe.load(), recipe) is None


@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", [entry.name for entry in REGISTRY])
def test_normal_variables_behind_the_labels_make_no_more_errors_however_they_correlate(name, correlation):
    images, pixels, n, level = 1000, 8, 100, 0.75
    recipe = REGISTRY.recipe(f"{name}:alpha=0.1")
    certifier, promised = recipe.load(), promise(recipe.load(), recipe)
    if certifier.counted == "pattern":
        pytest.skip("of whole label maps there is one count")
    rng = np.random.default_rng(8)
    shared = rng.standard_normal((images, n, 1), dtype=np.float32)
    own = rng.standard_normal((images, n, pixels), dtype=np.float32)
    seen = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own > -special.ndtri(level)
    failed = 0
    for hits in seen.sum(axis=1).astype(np.int32):
        verdict = certifier.decide(hits[None], n, sigma=1.0)
        radii = verdict.radius if verdict.radii is None else verdict.radii
        false = verdict.certified & (special.ndtr(radii) >= level - 1e-12)
        failed += int(np.count_nonzero(false) > promised.tolerates)
    assert stats.binom.sf(failed - 1, images, promised.alpha) > 1e-6


@functools.cache
def p_values(certifier, trials):
    """Return the p-value of each number of hits, which thousands of images share."""
    return certifier.p(np.arange(trials + 1), trials)


@functools.cache
def bounds(certifier, trials, pixels):
    """Return the bound of each number of hits in an image of so many pixels; that of no hit is the one of 1."""
    hits = np.maximum(np.arange(trials + 1), 1)
    return np.nan_to_num(certifier.bound(hits, trials, certifier.alpha / pixels))


@dataclasses.dataclass(frozen=True)
class Plain:
    """Selects on n0 samples and tests on n others; `allowed` are the largest p-values, in ascending order."""

    alpha: float = 0.001
    tau: float = 0.75
    n0: int = 10
    n: int = 100

    counted = "pixel"

    @property
    def samples(self):
        return self.n0 + self.n

    def check(self, pixels):
        pass

    def certify(self, draw):
        prediction = draw(self.n0).mode()
        hits = draw(self.n).hits(prediction)
        verdict = self.decide(hits, self.n, sigma=draw.sigma)
        return Certificate(prediction.astype(np.uint8), hits, self.n, verdict)

    def p(self, hits, trials):
        return stats.binom.sf(hits - 1, trials, self.tau)

    def allowed(self, pixels):
        return self.alpha / np.arange(pixels, 0, -1)

    def decide(self, hits, trials, *, sigma):
        p = p_values(self, trials)[hits].ravel()
        order = np.argsort(p, kind="stable")
        refused = ~(p[order] <= self.allowed(len(p)))
        certified = np.zeros(len(p), dtype=bool)
        certified[order[: refused.argmax() if refused.any() else len(p)]] = True
        return Verdict(certified.reshape(hits.shape), float(sigma * special.ndtri(self.tau)))


class Uncorrected(Plain):
    """Tests every pixel at alpha."""

    def allowed(self, pixels):
        return np.full(pixels, self.alpha)


class OneOffRank(Plain):
    """Holm's procedure with ranks that begin at 1."""

    def allowed(self, pixels):
        return self.alpha / np.maximum(np.arange(pixels, 0, -1) - 1, 1)


class OffByOne(Plain):
    """Asks how likely more hits are, not as many or more."""

    def p(self, hits, trials):
        return stats.binom.sf(hits, trials, self.tau)


class NormalTail(Plain):
    """Approximates the binomial by a normal distribution."""

    def p(self, hits, trials):
        return stats.norm.sf((hits - trials * self.tau) / np.sqrt(trials * self.tau * (1 - self.tau)))


class Own(Plain):
    """Gives every pixel the radius of a bound at level alpha / pixels."""

    def bound(self, hits, trials, level):
        return stats.beta.ppf(level, hits, trials - hits + 1)

    def decide(self, hits, trials, *, sigma):
        bound = bounds(self, trials, hits.size)[hits]
        certified = (bound >= 0.5) & (hits > 0)
        radii = np.where(certified, sigma * special.ndtri(np.where(certified, bound, 0.5)), np.nan)
        return Verdict(certified, float(np.nanmin(radii)) if certified.any() else np.nan, radii)


class SameSamples(Own):
    """Selects on the samples that it tests."""

    def certify(self, draw):
        draw(self.n0)
        votes = draw(self.n)
        hits = votes.hits(votes.mode())
        verdict = self.decide(hits, self.n, sigma=draw.sigma)
        return Certificate(votes.mode().astype(np.uint8), hits, self.n, verdict)


class SelectsFromTrials(Plain):
    """Selects on the samples that it tests, says so, and does not allow for it."""

    n0 = 0
    selects_from_trials = True

    def certify(self, draw):
        votes = draw(self.n)
        prediction = votes.mode()
        hits = votes.hits(prediction)
        verdict = self.decide(hits, self.n, sigma=draw.sigma)
        return Certificate(prediction.astype(np.uint8), hits, self.n, verdict)


class Allows(SelectsFromTrials):
    """Adds the chance that another class has the votes, and corrects as Bonferroni."""

    def p(self, hits, trials):
        both = super().p(hits, trials) + stats.binom.sf(hits - 1, trials, 1 - self.tau)
        return np.where(2 * hits > trials, both, 1)

    def allowed(self, pixels):
        return np.full(pixels, self.alpha / pixels)


class Thirds(SelectsFromTrials):
    """Takes the other classes to be many, and so its p-value for that of a class that has a third."""

    def p(self, hits, trials):
        return stats.binom.sf(hits - 1, trials, 1 / 3)


class WrongSide(Own):
    """Adds what Hoeffding's inequality subtracts."""

    def bound(self, hits, trials, level):
        return np.minimum(hits / trials + np.sqrt(np.log(1 / level) / (2 * trials)), 1 - 1e-9)


class Hoeffding(Own):
    """Subtracts it: right, and weaker than need be."""

    def bound(self, hits, trials, level):
        return hits / trials - np.sqrt(np.log(1 / level) / (2 * trials))


class TwoSided(Own):
    """Doubles the level of a one-sided bound."""

    def bound(self, hits, trials, level):
        return stats.beta.ppf(2 * level, hits, trials - hits + 1)


class Longer(Own):
    """Gives a tenth more than the radius of its bound."""

    def decide(self, hits, trials, *, sigma):
        made = super().decide(hits, trials, sigma=sigma)
        return dataclasses.replace(made, radius=1.1 * made.radius, radii=1.1 * made.radii)


@pytest.mark.parametrize(
    "certifier",
    [
        *(Plain(), Plain(alpha=0.1, n0=1), Own(alpha=0.1), Hoeffding(), Plain(tau=0.5, n=40, alpha=0.2)),
        *(Allows(tau=0.5, n=20, alpha=0.1), Allows(n=110)),
    ],
    ids=repr,
)
def test_a_plain_certifier_that_is_right_is_not_suspected(certifier):
    check_certifier(certifier)


@pytest.mark.parametrize(
    ("certifier", "message"),
    [
        (
            Uncorrected(),
            r"pixels are falsely certified in \d+ of \d+ images of 8 equicorrelated pixels whose class",
        ),
        (
            Uncorrected(alpha=0.1),
            r"of 2 independent pixels whose class has the probability 0\.75, expected a share",
        ),
        (OneOffRank(alpha=0.1), r"of 2 independent pixels"),
        (OneOffRank(n=47), r"in \d+ of 125000 images of 2 independent pixels whose class"),
        (
            NormalTail(tau=0.5, n=60),
            r"of all images with 1 of 1 pixels alike, whose class has the probability 0\.5, expected",
        ),
        (
            OffByOne(),
            r"in 0\.001\d+ of all images with 1 of 1 pixels alike, .* expected at most alpha = 0\.001$",
        ),
        (OffByOne(alpha=0.1), r"of all images with 1 of 1 pixels alike"),
        (
            SameSamples(alpha=0.1),
            r"of 600 images of 2 pixels, certified from samples, whose class has the prob",
        ),
        (
            SelectsFromTrials(tau=0.5, n=20, alpha=0.1),
            r"in 0\.115\d* of all images with 1 of 1 pixels alike, .* 0\.5, expected at most alpha = 0\.1$",
        ),
        (SelectsFromTrials(tau=0.5, n=11, alpha=0.1), r"of 2 independent pixels whose class"),
        (Thirds(tau=0.5, n=12, alpha=0.09), r"of all images with 1 of 1 pixels alike"),
        (WrongSide(), r"of all images with 1 of 1 pixels alike"),
        (WrongSide(alpha=0.1), r"of all images with 1 of 1 pixels alike"),
        (TwoSided(), r"in 0\.002 of all images with 1 of 1 pixels alike"),
        (Longer(alpha=0.1), r"of all images with 1 of 1 pixels alike"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Plain) else "",
)
def test_a_naive_certifier_is_found(certifier, message):
    assert re.search(message, failure(certifier) or "nothing was found")


def test_a_certifier_of_whole_label_maps_that_errs_is_found():
    honest = REGISTRY.recipe("naive-pattern").load()

    class Bold:
        """Tests at ten times its alpha."""

        alpha, counted, samples, check = 0.0001, honest.counted, honest.samples, staticmethod(honest.check)
        certify, decide = staticmethod(honest.certify), staticmethod(honest.decide)

    assert re.match(
        r"pixels are falsely certified in 0\.001 of all images with 1 of 1", failure(Bold()) or ""
    )


class Lenient(Plain):
    """Lehmann and Romano's procedure, which lets two pixels be wrong."""

    tolerates = 2

    def allowed(self, pixels):
        return 3 * self.alpha / np.minimum(pixels, pixels + 2 - np.arange(pixels))


def test_pixels_that_may_be_wrong_are_counted_as_such():
    assert failure(Lenient(alpha=0.1)) is None
    strict = types.SimpleNamespace(alpha=0.1, tolerates=0)
    assert re.match("pixels are falsely certified in ", failure(Lenient(alpha=0.1), strict) or "")
    generous = types.SimpleNamespace(alpha=0.001, tolerates=2)
    assert re.match(
        "more than 2 pixels are falsely certified in ", failure(Lenient(alpha=0.1), generous) or ""
    )


def test_a_large_alpha_is_no_fault():
    recipe = REGISTRY.recipe("holm:alpha=0.3,tau=0.5,n=40")
    assert [check.failure() for check in checks("certifier", recipe.load(), recipe=recipe)] == 10 * [None]


@pytest.mark.parametrize(
    "spec", ["kfwer:k=16", pytest.param("kfwer:k=20", marks=pytest.mark.slow), "kfwer:k=400,alpha=0.1"]
)
def test_that_many_pixels_may_be_wrong_is_no_fault(spec):
    recipe = REGISTRY.recipe(spec)
    assert [check.failure() for check in checks("certifier", recipe.load(), recipe=recipe)] == 10 * [None]


def test_sizes_that_a_certifier_refuses_are_not_tried():
    class Picky(Uncorrected):
        """Knows nothing of images below ten pixels."""

        def check(self, pixels):
            if pixels < 10:
                raise NothingCertifiableError("too small")

        def decide(self, hits, trials, *, sigma):
            assert hits.size >= 10
            return super().decide(hits, trials, sigma=sigma)

    assert "images of 32 independent pixels whose class" in failure(Picky())


def test_what_is_promised_is_the_recipe_s_word_or_the_certifier_s_own():
    recipe = REGISTRY.recipe("kfwer:k=4,alpha=0.02")
    assert promise(recipe.load(), recipe) == promise(recipe.load()) == Promise(0.02, 3)
    assert promise(object()) == Promise(0.1, 0)
    assert promise(recipe.load(), object()) == Promise(0.1, 0)


@pytest.mark.parametrize("dependence", ["independent", "equicorrelated", "exclusive"])
def test_drawn_pixels_have_their_probabilities_and_depend_on_each_other_as_they_should(dependence):
    levels, trials, images = np.array([0.8, 0.6, 0.8]), 20, 40_000
    if dependence == "exclusive":
        levels = np.array([0.8, 0.7, 0.7])
    hits = familywise._hits(np.random.default_rng(1), images, trials, dependence, levels)
    assert hits.shape == (images, 3)
    assert (hits.min(), hits.max()) >= (0, 0)
    assert hits.max() <= trials
    spread = np.sqrt(trials * levels * (1 - levels))
    np.testing.assert_allclose(hits.mean(0), trials * levels, atol=5 * spread.max() / np.sqrt(images))
    np.testing.assert_allclose(hits.std(0), spread, rtol=0.02)
    # The covariance of two pixels in one sample: of one random number P(both) is the smaller probability, and of
    # misses that exclude each other it is what is left of 1.
    low, product = np.minimum.outer(levels, levels), np.outer(levels, levels)
    both = {
        "independent": product,
        "equicorrelated": (low + product) / 2,
        "exclusive": np.add.outer(levels, levels) - 1,
    }[dependence]
    expected = trials * (both - product)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        found = np.cov(hits[:, one], hits[:, other])[0, 1]
        assert found == pytest.approx(expected[one, other], abs=0.08)


LEVEL, SIGMA = 143, 0.25
"""A grey value above the middle of 0..255, and the noise: the smoothed model says `bright` with probability 0.596."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "tolerates"),
    [
        ("holm:n0=1,n=20,alpha=0.1,tau={tau}", 0),
        ("bonferroni:n0=1,n=20,alpha=0.1,tau={tau}", 0),
        ("holm:n0=0,n=20,alpha=0.1,tau={tau}", 0),
        ("kfwer:n0=1,n=20,alpha=0.1,tau={tau},k=2", 1),
        ("holm:n0=1,n=20,alpha=0.1,taus=0.5,{tau}", 0),
        ("naive-pixel:n0=1,n=20,alpha=0.1", 0),
        ("naive-pattern:n0=1,n=20,alpha=0.1", 0),
    ],
)
def test_images_certified_from_real_noise_fail_in_a_share_of_at_most_alpha(spec, tolerates):
    images, probability = 2000, float(special.ndtr((LEVEL / 255 - 0.5) / SIGMA))
    recipe = REGISTRY.recipe(spec.format(tau=repr(probability)))
    certifier = recipe.load()
    assert promise(certifier, recipe) == Promise(0.1, tolerates)
    image = np.full((1, 4, 3), LEVEL, dtype=np.uint8)
    model = BaseModel(CountingDenoiser(), ThresholdSegmenter(), Geometry(scale=1.0))
    failed = certified = selected = 0
    for index in range(images):
        made = certifier.certify(
            Draw(model, image, f"image-{index}", sigma=SIGMA, seed=11, batch_size=certifier.samples)
        )
        true = np.where(made.prediction == 1, probability, 1 - probability)
        if certifier.counted == "pattern":
            true = np.full_like(true, np.prod(true))
        radii = made.radius if made.verdict.radii is None else made.verdict.radii
        # Radii are rounded down by less than one part in 10^12.
        false = made.certified & (special.ndtr(radii / SIGMA) >= true - 1e-12)
        failed += int(np.count_nonzero(false) > tolerates)
        certified += int(made.certified.any())
        selected += int((made.prediction == 1).sum())
    share = (
        probability if recipe.n0 else stats.binom.sf(10, 20, probability)
    )  # of ten votes each, the lower class
    assert stats.binomtest(selected, 4 * images, share).pvalue > 1e-6
    assert stats.binom.sf(failed - 1, images, 0.1) > 1e-6
    if tolerates == 0 and certifier.counted == "pixel":
        assert failed > 0.1 * 0.1 * images  # the images are hard enough to fail
