"""Bounds against every labelling an adversary could choose, and against the error rate they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from smoothseg import ConfigError, DataError
from smoothseg.certificates.bounds import bounds, check_certifier, mean_iou

CLASSES = ("sky", "road", "car")
IGNORE = 255


def scores(segmentation, labels):
    """Return IoU, Dice, recall and precision of each class as one would compute them, NaN for 0 / 0."""
    result = []
    for c in range(len(CLASSES)):
        found, truth = segmentation == c, labels == c
        both = (found & truth).sum()
        parts = (
            (both, (found | truth).sum()),
            (2 * both, found.sum() + truth.sum()),
            (both, truth.sum()),
            (both, found.sum()),
        )
        result.append([part / whole if whole else np.nan for part, whole in parts])
    return np.array(result)


def every_segmentation(prediction, certified):
    """Yield all label maps that keep the certified pixels."""
    free = np.flatnonzero(~certified)
    for choice in itertools.product(range(len(CLASSES)), repeat=len(free)):
        segmentation = prediction.copy().ravel()
        segmentation[free] = choice
        yield segmentation.reshape(prediction.shape)


@pytest.mark.parametrize("seed", range(12))
def test_each_bound_is_the_least_an_adversary_can_reach(seed):
    rng = np.random.default_rng(seed)
    prediction, labels = rng.integers(0, 3, (2, 3, 4))
    certified = rng.random((3, 4)) < 0.55
    certified.ravel()[rng.permutation(12)[:5]] = True
    result = bounds(prediction, certified, CLASSES, radius=0.17, labels=labels, ignore=IGNORE)
    reached = [scores(segmentation, labels) for segmentation in every_segmentation(prediction, certified)]
    least = np.nanmin(np.array(reached), axis=0)
    for c, found in enumerate(result.classes):
        for value, expected in zip(
            (found.iou, found.dice, found.recall, found.precision), least[c], strict=True
        ):
            assert (value is None and np.isnan(expected)) or value == pytest.approx(expected, abs=1e-12)
        counts = [(s == c).sum() for s in every_segmentation(prediction, certified)]
        assert (found.pixels_at_least, found.pixels_at_most) == (min(counts), max(counts))
    accuracies = [(s == labels).mean() for s in every_segmentation(prediction, certified)]
    assert result.accuracy == pytest.approx(min(accuracies))
    labelled = np.bincount(labels.ravel(), minlength=3) > 0
    means = [np.nanmean(iou[labelled, 0]) for iou in reached]
    apart = np.mean([found.iou for found, there in zip(result.classes, labelled, strict=True) if there])
    assert apart - 1e-12 <= result.mean_iou <= min(means) + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_stable_iou_is_that_of_the_two_segmentations_furthest_apart(seed):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(0, 3, (2, 4))
    certified = rng.random((2, 4)) < 0.6
    certified.ravel()[:4] = True
    result = bounds(prediction, certified, CLASSES, radius=0.17)
    everything = list(every_segmentation(prediction, certified))
    for c, found in enumerate(result.classes):
        least = 1.0
        for one, other in itertools.product(everything, repeat=2):
            union = ((one == c) | (other == c)).sum()
            if union:
                least = min(least, ((one == c) & (other == c)).sum() / union)
        if found.stable_iou is None:
            assert not (prediction == c)[certified].any()
            assert certified.all()
        else:
            assert found.stable_iou == pytest.approx(least)
    assert result.accuracy is result.mean_iou is None


def test_the_mean_spends_each_abstained_pixel_once():
    # Two classes of 10 right pixels and 10 open ones of a third: at best 5 go to each.
    right, union = np.array([10, 10, 0]), np.array([10, 10, 10])
    possible = np.array([10, 10, 0])
    least = mean_iou(right, union, possible, 10, counted=np.array([True, True, True]))
    assert least == pytest.approx(2 * (10 / 15) / 3, abs=1e-6)
    apart = (10 / 20 + 10 / 20 + 0) / 3
    assert least > apart + 0.1


def test_the_mean_is_below_any_spending():
    rng = np.random.default_rng(5)
    for _ in range(50):
        right = rng.integers(0, 1000, 11)
        union = right + rng.integers(1, 500, 11)
        possible = rng.integers(0, 400, 11)
        abstained = int(possible.max() + rng.integers(0, 300))
        least = mean_iou(right, union, possible, abstained, counted=np.ones(11, dtype=bool))
        lowest = 1.0
        for _ in range(200):
            spent = np.minimum(possible, rng.multinomial(abstained, rng.dirichlet(np.full(11, 0.5))))
            lowest = min(lowest, (right / (union + spent)).mean())
        assert least <= lowest + 1e-12
        assert least >= (right / (union + possible)).mean() - 1e-12


@pytest.mark.parametrize("pixels", [100, 10_000, 1_000_000, 100_000_000])
def test_the_mean_is_as_tight_on_large_images_as_on_small_ones(pixels):
    rng = np.random.default_rng(1)
    share = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.02])
    union = np.ceil(pixels * share * 3).astype(np.int64)
    right = (union * rng.uniform(0.5, 0.95, 7)).astype(np.int64)
    abstained = int(0.15 * union.sum())
    possible = np.minimum(abstained, (union * 5).astype(np.int64))
    least = mean_iou(right, union, possible, abstained, counted=np.ones(7, dtype=bool))
    # The dual on a grid of prices, dense in their logarithm, is a bound, too: the search must find one as good.
    prices = np.exp(np.linspace(np.log(1e-14), np.log(1.0), 200_001))[:, None]
    spent = np.clip(np.sqrt(right / prices) - union, 0, possible)
    grid = (right / (union + spent) + prices * spent).sum(1) - prices[:, 0] * abstained
    assert least == pytest.approx(grid.max() / 7, rel=1e-6)


def test_an_image_where_nothing_counts_has_trivial_bounds():
    nothing = np.full((2, 2), IGNORE)
    prediction, certified = np.zeros((2, 2), dtype=int), np.ones((2, 2), dtype=bool)
    result = bounds(prediction, certified, CLASSES, radius=0.1, labels=nothing, ignore=IGNORE)
    assert (result.pixels, result.accuracy, result.mean_iou) == (0, None, None)
    assert result.classes[0].iou is None


def test_ignored_pixels_and_those_outside_the_region_do_not_count():
    prediction = np.array([[0, 0, 1, 1], [0, 2, 2, 1]])
    labels = np.array([[0, 0, 1, 255], [1, 2, 2, 255]])
    certified = np.array([[True, True, True, False], [True, True, False, False]])
    whole = bounds(prediction, certified, CLASSES, radius=0.1, labels=labels, ignore=255)
    assert (whole.pixels, whole.abstained) == (6, 1)
    assert whole.accuracy == pytest.approx(4 / 6)
    left = np.zeros((2, 4), dtype=bool)
    left[:, :2] = True
    part = bounds(prediction, certified, CLASSES, radius=0.1, labels=labels, ignore=255, region=left)
    assert (part.pixels, part.abstained) == (4, 0)
    assert part.classes[0].iou == pytest.approx(2 / 3)
    assert part.classes[1].recall == 0.0
    assert part.classes[1].precision is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"certified": np.ones((2, 3), dtype=bool)}, "certified: expected the prediction's shape"),
        ({"labels": np.full((2, 2), 3), "ignore": 255}, r"labels: expected classes 0\.\.2, got 3"),
        ({"prediction": np.full((2, 2), 7)}, r"prediction: expected classes 0\.\.2, got 7"),
        ({"region": np.zeros((2, 2), dtype=bool)}, "no pixels that count"),
    ],
)
def test_what_cannot_be_bounded_is_refused(change, message):
    given = {"prediction": np.zeros((2, 2), dtype=int), "certified": np.ones((2, 2), dtype=bool)} | change
    with pytest.raises(DataError, match=message):
        bounds(classes=CLASSES, radius=0.1, **given)


def test_a_certifier_that_allows_wrong_pixels_has_no_bounds():
    from smoothseg_segcertify import HolmRecipe, KFWERRecipe, NaivePixelRecipe

    for recipe in (HolmRecipe(), HolmRecipe(taus=(0.6, 0.7)), KFWERRecipe(k=1), NaivePixelRecipe()):
        check_certifier(recipe)
    with pytest.raises(ConfigError, match="allows 4 certified pixels of an image to be wrong"):
        check_certifier(KFWERRecipe(k=5))


def test_all_bounds_hold_together_as_often_as_the_certificate_promises():
    """Pixels whose class has exactly probability tau are the hardest case: each certified one is an error."""
    from smoothseg_segcertify import HolmRecipe

    alpha, tau, trials, runs = 0.2, 0.75, 60, 400
    certifier = HolmRecipe(n=trials, alpha=alpha, tau=tau).load()
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 0], 6).reshape(4, 6)
    probability = np.where(np.arange(24).reshape(4, 6) % 3 == 0, tau, 0.995)
    # Where the class has no more than tau, some perturbation within the radius takes it away.
    attacked = np.where(probability > tau, truth, (truth + 1) % 3)
    broken = 0
    for _ in range(runs):
        hits = rng.binomial(trials, probability).astype(np.int32)
        verdict = certifier.decide(hits, trials, sigma=0.25)
        result = bounds(truth, verdict.certified, CLASSES, radius=verdict.radius, labels=truth, ignore=IGNORE)
        reached = scores(attacked, truth)
        holds = (
            result.accuracy <= (attacked == truth).mean() and result.mean_iou <= reached[:, 0].mean() + 1e-9
        )
        for c, found in enumerate(result.classes):
            holds &= found.pixels_at_least <= (attacked == c).sum() <= found.pixels_at_most
            holds &= all(
                low is None or low <= value + 1e-12
                for low, value in zip(
                    (found.iou, found.dice, found.recall, found.precision), reached[c], strict=True
                )
            )
        broken += not holds
    assert broken <= runs * alpha + 3 * np.sqrt(runs * alpha * (1 - alpha))
    assert broken > 0  # the case is hard enough to tell
