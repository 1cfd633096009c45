"""Classes chosen by the samples that test them (n0=0): the bound, and exact error rates of small images.

Nothing is drawn: all outcomes of few samples are listed.
"""

from __future__ import annotations

import dataclasses
import fractions
import itertools
import math

import numpy as np
import pytest
from scipy import optimize, sparse

import smoothseg
import smoothseg_segcertify as plugin
from smoothseg.testing import LabelDraw, check_certifier
from smoothseg_segcertify import one_draw, same_samples, statistics

RECIPES = [plugin.HolmRecipe, plugin.BonferroniRecipe]
GRID = 20


def partitions(total, parts, largest):
    """Yield the ways to write `total` as `parts` numbers from `largest` down to 0, in descending order."""
    if parts == 1:
        if total <= largest:
            yield (total,)
        return
    for first in range(min(total, largest), -1, -1):
        for rest in partitions(total - first, parts - 1, min(first, largest)):
            yield (first, *rest)


@pytest.mark.parametrize("n", range(1, 13))
def test_some_class_has_k_hits_with_at_most_the_probability_of_the_bound(n):
    """In whole numbers, for all probabilities of four classes that are multiples of 1/20."""
    for k in range(n // 2 + 1, n + 1):
        tail = [
            sum(math.comb(n, hits) * a**hits * (GRID - a) ** (n - hits) for hits in range(k, n + 1))
            for a in range(GRID + 1)
        ]
        for tau in range(GRID // 2, GRID):
            chances = {p: sum(tail[a] for a in p) for p in partitions(GRID, 4, tau)}
            bound = tail[tau] + tail[GRID - tau]
            assert max(chances.values()) <= bound
            assert chances[tau, GRID - tau, 0, 0] == bound


@pytest.mark.parametrize("tau", [0.5, 0.55, 0.75, 0.99])
@pytest.mark.parametrize("n", [1, 2, 20, 110])
def test_tails_are_between_the_exact_ones_and_a_hair_more(n, tau):
    for table, probability in zip(same_samples.tails(n, tau), (tau, 1 - tau), strict=True):
        p = fractions.Fraction(probability)
        exact = fractions.Fraction(0)
        for hits in range(n, n // 2, -1):
            exact += math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)
            assert exact <= fractions.Fraction(float(table[hits])) or table[hits] == 1.0
            assert fractions.Fraction(float(table[hits])) <= exact * (1 + fractions.Fraction(3, 10**11))
        assert (table[: n // 2 + 1] == 1).all()


def outcomes(n, probabilities, tau):
    """Return the probability (n + 1, 2) of each number of hits of the most frequent class; [:, 1] if it is false."""
    table = np.zeros((n + 1, 2))
    for counts in itertools.product(range(n + 1), repeat=len(probabilities) - 1):
        if sum(counts) <= n:
            counts = (*counts, n - sum(counts))
            ways = math.factorial(n) // math.prod(map(math.factorial, counts))
            chosen = int(np.argmax(counts))
            false = probabilities[chosen] <= tau
            table[counts[chosen], int(false)] += ways * np.prod(np.power(probabilities, counts))
    return table


def kinds(tau):
    """Return the probabilities of two and three classes on a grid, and those just at and above tau."""
    grid = [tuple(a / GRID for a in p) for p in partitions(GRID, 2, GRID)]
    grid += [tuple(a / 10 for a in p) for p in partitions(10, 3, 10)]
    return [*grid, (tau, 1 - tau), (tau + 1e-9, 1 - tau - 1e-9)]


def passing(rule, n, pixels):
    """Return whether each pixel passes, (n + 1, ..., n + 1, pixels), by the hits of all pixels."""
    every = np.zeros((*[n + 1] * pixels, pixels), dtype=bool)
    for hits in itertools.combinations_with_replacement(range(n + 1), pixels):
        least = rule(statistics.histogram(np.array(hits), n))
        for order in set(itertools.permutations(hits)):
            every[order] = np.array(order) >= least
    return every


def rates(passes, tables):
    """Return the exact share of images that carry a false certification, the largest for each way pixels depend.

    passes: see `passing`. tables: see `outcomes`, one for each kind of pixel. The ways are pixels of all kinds that are
    independent, and pixels of one kind that are always alike.
    """
    pixels = passes.shape[-1]
    right, whole = tables[:, :, 0], tables.sum(axis=2)
    letters = "abc"[:pixels]
    spec = f"{letters},{','.join(f'{i}{a}' for i, a in zip('xyz', letters, strict=False))}->{'xyz'[:pixels]}"
    fine = np.zeros([len(tables)] * pixels)
    for certified in itertools.product((False, True), repeat=pixels):
        mask = (passes == np.array(certified)).all(axis=-1).astype(float)
        fine += np.einsum(spec, mask, *(right if one else whole for one in certified), optimize=True)
    alike = np.array([passes[(hits,) * pixels].any() for hits in range(passes.shape[0])])
    return float((1 - fine).max()), float((tables[:, :, 1] * alike).sum(axis=1).max())


def plain(histogram, n, tau, alpha):
    """Holm's procedure with the p-values of classes that other samples chose: too bold here."""
    return statistics.holm_threshold(histogram, statistics.p_values(n, tau), alpha)


SETTINGS = [
    *((n, tau, alpha) for n in (4, 7, 12) for tau in (0.5, 0.55, 0.75) for alpha in (0.02, 0.3, 0.8)),
    *((1, 0.5, 0.9), (2, 0.5, 0.6), (3, 0.5, 0.25), (3, 0.6, 0.3), (5, 0.5, 0.07)),
]


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_no_image_on_the_grid_carries_a_false_certification_more_often_than_alpha(pixels):
    most, bold = dict.fromkeys(RECIPES, 0.0), 0.0
    for n, tau, alpha in SETTINGS:
        tables = np.array([outcomes(n, p, tau) for p in kinds(tau)])
        for recipe in RECIPES:
            certifier = recipe(n0=0, n=n, tau=tau, alpha=alpha).load()
            both = same_samples.tails(n, tau)
            passes = passing(lambda bins, c=certifier, b=both, a=alpha: c.threshold(bins, b, a), n, pixels)
            share = max(rates(passes, tables))
            assert share <= alpha * (1 + 1e-9), (n, tau, alpha)
            most[recipe] = max(most[recipe], share / alpha)
        passes = passing(lambda bins, s=(n, tau, alpha): plain(bins, *s), n, pixels)
        bold = max(bold, max(rates(passes, tables)) / alpha)
    assert min(most.values()) > 0.6  # alpha is nearly reached
    assert bold > 1.2  # and is exceeded where the choice is not allowed for


@pytest.mark.parametrize(
    ("n", "tau", "alpha"), [(7, 0.5, 0.5), (8, 0.6, 0.5), (6, 0.5, 0.22), (5, 0.5, 0.38)]
)
def test_two_pixels_err_with_at_most_alpha_however_they_depend_on_each_other(n, tau, alpha):
    """A linear program finds the worst way in which the votes of two pixels can go together."""
    certifier = plugin.HolmRecipe(n0=0, n=n, tau=tau, alpha=alpha).load()
    both = same_samples.tails(n, tau)
    rules = {
        "proven": passing(lambda bins: certifier.threshold(bins, both, alpha), n, 2),
        "plain": passing(lambda bins: plain(bins, n, tau, alpha), n, 2),
    }
    tables = [outcomes(n, (p, 1 - p), tau) for p in (tau, tau + 1e-9, 0.7, 0.8)]
    worst = dict.fromkeys(rules, 0.0)
    cells = 2 * (n + 1)
    marginals = sparse.vstack(
        [
            sparse.kron(sparse.eye(cells), np.ones((1, cells))),
            sparse.kron(np.ones((1, cells)), sparse.eye(cells)),
        ]
    )
    for name, passes in rules.items():
        shape = (n + 1, 2, n + 1, 2)
        first = passes[:, None, :, None, 0] & np.array([False, True])[None, :, None, None]
        second = passes[:, None, :, None, 1] & np.array([False, True])[None, None, None, :]
        errs = np.broadcast_to(first | second, shape).reshape(-1).astype(float)
        for one, other in itertools.combinations_with_replacement(tables, 2):
            stated = np.concatenate([(one / one.sum()).ravel(), (other / other.sum()).ravel()])
            found = optimize.linprog(-errs, A_eq=marginals, b_eq=stated)
            assert found.status == 0
            worst[name] = max(worst[name], -found.fun)
    assert 0 < worst["proven"] <= alpha * (1 + 1e-6)
    assert worst["plain"] >= worst["proven"]
    if alpha in (0.22, 0.38):  # just above twice a p-value, which two pixels then use up twice
        assert worst["plain"] > 1.2 * alpha


@pytest.mark.parametrize("recipe", RECIPES)
def test_all_samples_select_and_test(recipe):
    labels = np.zeros((110, 1, 3), dtype=np.uint8)
    labels[:108, 0, 1], labels[5:, 0, 2] = 2, 1
    draw = LabelDraw(labels, classes=3)
    certifier = recipe(n0=0, n=110).load()
    made = certifier.certify(draw)
    assert (draw.drawn, certifier.samples, made.trials) == (110, 110, 110)
    assert made.prediction.tolist() == [[0, 2, 1]]
    assert made.hits.tolist() == [[110, 108, 105]]
    assert made.certified.all()
    assert made.prediction.dtype == np.uint8
    again = certifier.decide(made.hits, 110, sigma=draw.sigma)
    assert (again.certified == made.certified).all()
    assert again.radius == made.radius == plugin.HolmRecipe().load().decide(made.hits, 110, sigma=0.25).radius


def test_half_of_the_samples_never_certify_whatever_alpha_is():
    for n in (1, 2, 6, 7):
        hits = np.arange(n + 1, dtype=np.int32)[None]
        for recipe in RECIPES:
            certified = recipe(n0=0, n=n, tau=0.5, alpha=0.999).load().decide(hits, n, sigma=1.0).certified
            assert not certified[hits <= n / 2].any()


def test_holm_certifies_what_bonferroni_does_near_one_half_too():
    generator = np.random.default_rng(0)
    for tau, alpha in itertools.product((0.5, 0.51, 0.75), (0.001, 0.2)):
        hits = generator.integers(60, 101, (5, 8), dtype=np.int32)
        few, more = (
            recipe(n0=0, tau=tau, alpha=alpha).load().decide(hits, 100, sigma=1.0).certified
            for recipe in (plugin.BonferroniRecipe, plugin.HolmRecipe)
        )
        assert few.any()
        assert (few <= more).all()


@pytest.mark.parametrize(
    ("pixels", "tau", "steps"),
    [
        (360 * 480, 0.5, [(79, 66), (86, 85)]),
        (360 * 480, 0.6, [(87, 76), (94, 82)]),
        (360 * 480, 0.75, [(97, 89), (106, 97)]),
        (1024 * 2048, 0.5, [(81, 66), (88, 87)]),
        (1024 * 2048, 0.6, [(89, 76), (96, 82)]),
        (1024 * 2048, 0.75, [(98, 89), (107, 97)]),
    ],
)
def test_hits_of_the_first_and_the_last_step_are_those_of_the_documentation(pixels, tau, steps):
    """Of 100 samples beside ten that select, and of 110 that all test."""
    for (first, last), (n0, n) in zip(steps, ((10, 100), (0, 110)), strict=True):
        certifier = plugin.HolmRecipe(n0=n0, n=n, tau=tau).load()
        hits = np.full(pixels, n, dtype=np.int32)
        hits[0] = last
        assert certifier.decide(hits[None], n, sigma=1.0).certified.all()
        hits[0] = last - 1
        assert not certifier.decide(hits[None], n, sigma=1.0).certified[0, 0]
        hits[:] = 0
        hits[0] = first
        assert certifier.decide(hits[None], n, sigma=1.0).certified[0, 0]
        hits[0] = first - 1
        assert not certifier.decide(hits[None], n, sigma=1.0).certified.any()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("tau", [0.5, 0.75])
def test_check_passes_exactly_from_the_n_at_which_all_hits_certify(recipe, tau):
    able = []
    for n in range(1, 60):
        certifier = recipe(n0=0, n=n, alpha=0.01, tau=tau).load()
        certifies = certifier.decide(np.full((5, 7), n, dtype=np.int32), n, sigma=0.25).certified.any()
        try:
            certifier.check(35)
        except smoothseg.NothingCertifiableError:
            assert not certifies, n
        else:
            assert certifies, n
            able.append(n)
    assert able == list(range(able[0], 60))
    with pytest.raises(
        smoothseg.NothingCertifiableError, match=f"n0=0, .* smallest n that can is {able[0]}$"
    ):
        recipe(n0=0, n=able[0] - 1, alpha=0.01, tau=tau).load().check(35)


def test_what_is_not_proven_is_refused():
    with pytest.raises(
        smoothseg.ConfigError, match="taus needs n0 of at least 1: with n0=0 only one tau is proven"
    ):
        plugin.HolmRecipe(n0=0, taus=(0.6, 0.75)).load()
    for recipe in (plugin.KFWERRecipe, plugin.NaivePixelRecipe, plugin.NaivePatternRecipe):
        with pytest.raises(smoothseg.ConfigError, match="option n0 must be at least 1, got 0"):
            recipe(n0=0).load()
    with pytest.raises(ValueError, match="expected n0 = 0 and the most frequent class"):
        dataclasses.replace(plugin.HolmRecipe(n0=0).load(), n0=1)
    with pytest.raises(ValueError, match="expected n0 = 0 and the most frequent class"):
        one_draw.OneDraw(
            0,
            100,
            0.001,
            0.75,
            same_samples.holm_threshold,
            selection=object(),
        )


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (plugin.HolmRecipe, {"n": 110}),
        (plugin.HolmRecipe, {"n": 20, "alpha": 0.1, "tau": 0.5}),
        (plugin.BonferroniRecipe, {"n": 9, "alpha": 0.8, "tau": 0.6}),
    ],
)
def test_the_checks_of_a_certifier_pass(recipe, options):
    made = recipe(n0=0, **options)
    check_certifier(made.load(), recipe=made)
