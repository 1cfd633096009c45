"""The law of lattice noise against other ways to compute it, and the values against the definition, bit by bit."""

import bisect
import itertools

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from smoothseg.smoothing import lattice, philox

SEEDS = [0x0123456789ABCDEFFEDCBA9876543210, 5, 2**128 - 3]
SIGMAS = [0.002, 0.01, 0.1, 0.25, 1.0, 6.0]


def unsigned(law):
    """Return the thresholds as Python integers."""
    return [int(each) for each in law.thresholds.numpy().view(np.uint64) ^ np.uint64(2**63)]


def probability(j, sigma):
    """Return P(k <= j) from the other half of the error function than the code takes, with 120 digits."""
    with mpmath.workdps(120):
        z = (mpmath.mpf(j) + mpmath.mpf(1) / 2) / (255 * mpmath.mpf(sigma)) / mpmath.sqrt(2)
        return (1 + mpmath.erf(z)) / 2 if z > 0 else mpmath.erfc(-z) / 2


def numbers(seed, count):
    """Return the first 88 bits of the numbers u of `count` values, by numpy's generator alone."""
    first = np.random.Philox(key=seed).random_raw(-(-count // 4)).view("<u2")
    following = np.random.Philox(key=seed, counter=1 << 192).random_raw(-(-count // 8)).view("<u1")
    further = [
        int(np.random.Philox(key=seed, counter=((2 << 192) + place - 1) % 2**256).random_raw())
        for place in range(count)
    ]
    return [
        (int(a) << 72) | (int(b) << 64) | c
        for a, b, c in zip(first[:count], following, further, strict=False)
    ]


@pytest.mark.parametrize("sigma", SIGMAS)
def test_thresholds_are_the_first_64_bits_of_the_probabilities(sigma):
    law = lattice.law(sigma)
    words = unsigned(law)

    assert words[0] == 0
    assert words[-1] == 2**64 - 1
    step = max(1, len(words) // 150)
    for i in [*range(1, len(words) - 1, step), *range(1, min(len(words) - 1, 20))]:
        with mpmath.workdps(120):
            assert words[i] == int(mpmath.floor(probability(law.lowest + i, sigma) * 2**64))
    # Beyond both ends there is nothing left that 64 bits could tell from 0 and 1.
    assert probability(law.lowest, sigma) < mpmath.mpf(2) ** -64
    assert 1 - probability(law.lowest + len(words) - 1, sigma) < mpmath.mpf(2) ** -64


@pytest.mark.parametrize("sigma", SIGMAS)
def test_thresholds_are_scipy_s_normal_distribution(sigma):
    law = lattice.law(sigma)
    j = law.lowest + np.arange(len(law.thresholds))

    np.testing.assert_allclose(
        np.array(unsigned(law)[1:-1], dtype=float) / 2**64,
        stats.norm.cdf((j[1:-1] + 0.5) / (255 * sigma)),
        rtol=1e-13,
        atol=2.0**-63,
    )


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("way", ["streamed", "computed"])
def test_values_are_the_smallest_whose_probability_exceeds_u(sigma, way, monkeypatch):
    if way == "computed":
        monkeypatch.setattr(
            lattice, "_streamed", lambda seeds, count: lattice._computed(philox.keys(seeds), count)
        )
    law, count = lattice.law(sigma), 4001
    drawn = lattice.draw(SEEDS, count, law)
    words = unsigned(law)

    undecided = 0
    for row, seed in zip(drawn.tolist(), SEEDS, strict=True):
        for k, u in zip(row, numbers(seed, count), strict=True):
            at = bisect.bisect_left(words, u >> 24)
            assert words[at] != u >> 24  # 64 bits are enough for these few
            assert k == law.lowest + at
            undecided += int(law.coarse[u >> 72]) == law.undecided
    assert undecided or sigma < 0.1  # the finer steps were needed


def test_the_finest_steps_are_taken_and_agree():
    """At this sigma 24 bits are often too few: every table and the thresholds have their say."""
    law, count = lattice.law(30.0), 3000
    words = unsigned(law)
    drawn = lattice.draw(SEEDS[:1], count, law)[0].tolist()
    u = numbers(SEEDS[0], count)
    cells = [int(law.cell[each >> 72]) << 8 | each >> 64 & 0xFF for each in u]

    assert drawn == [law.lowest + bisect.bisect_left(words, each >> 24) for each in u]
    assert drawn != [0] * count
    assert drawn[0] != law.undecided
    assert law.coarse.dtype == torch.int32
    assert sum(int(law.fine[cell]) == law.undecided for cell in cells) > 10


@pytest.mark.parametrize("sigma", [0.01, 0.25])
def test_a_number_that_begins_as_a_threshold_is_told_by_its_further_bits(sigma, monkeypatch):
    law, count = lattice.Law(sigma), 2000
    expected = lattice.draw(SEEDS[:1], count, law)
    u = numbers(SEEDS[0], count)
    place = next(i for i, each in enumerate(u) if int(law.coarse[each >> 72]) == law.undecided)
    asked = []
    exact = law.exact
    monkeypatch.setattr(law, "exact", lambda bits: asked.append(1) or exact(bits))
    law.fine.fill_(law.undecided)
    word = np.array([u[place] >> 24], dtype=np.uint64) ^ np.uint64(2**63)
    at = int(torch.searchsorted(law.thresholds, torch.from_numpy(word.view(np.int64)))[0])
    law.thresholds[at] = torch.from_numpy(word.view(np.int64))[0]

    assert torch.equal(lattice.draw(SEEDS[:1], count, law), expected)
    assert len(asked) == 1


def bits_of(number):
    """Yield a number in [0, 1) as `Law.exact` reads it."""
    for bits in itertools.count(88, 64):
        with mpmath.workprec(2000):
            yield int(mpmath.floor(number * mpmath.mpf(2) ** bits)), bits


@pytest.mark.parametrize("j", [-200, -3, -1, 0, 1, 57])
def test_numbers_are_told_apart_however_close_they_are_to_a_probability(j):
    law = lattice.law(0.25)
    with mpmath.workprec(2000):
        edge = mpmath.ncdf((mpmath.mpf(j) + mpmath.mpf(1) / 2) / (255 * mpmath.mpf(0.25)))
        for distance in (mpmath.mpf(2) ** -power for power in (70, 150, 400)):
            assert law.exact(bits_of(edge - distance)) == j
            assert law.exact(bits_of(edge + distance)) == j + 1


def test_noise_has_no_largest_value():
    law = lattice.law(0.25)
    with mpmath.workprec(2000):
        far = law.exact(bits_of(mpmath.mpf(2) ** -300))
        other = law.exact(bits_of(1 - mpmath.mpf(2) ** -300))
    assert far == -other
    assert probability(far - 1, 0.25) <= mpmath.mpf(2) ** -300 < probability(far, 0.25)


def test_too_few_bits_are_refused():
    with pytest.raises(ValueError, match="too few bits"):
        lattice.law(0.25).exact(iter([(0, 88), (2**88 - 1, 88)]))


@pytest.mark.parametrize("sigma", [1e-300, 1e-8, 1e-4])
def test_a_tiny_sigma_moves_nothing(sigma):
    """Half a level is more than 19 deviations away: no value in 2^200 leaves its level."""
    assert not lattice.draw(SEEDS, 5000, lattice.law(sigma)).any()
    assert lattice.law(sigma).exact(bits_of(mpmath.mpf(1) / 3)) == 0


def test_values_of_several_sigma_are_paired():
    """The same u gives every sigma its value: more noise moves a value further, and never to the other side."""
    drawn = [lattice.draw(SEEDS, 5000, lattice.law(sigma)).int() for sigma in SIGMAS]
    for less, more in itertools.pairwise(drawn):
        assert (less * more >= 0).all()
        assert (less.abs() <= more.abs()).all()
        assert (less.abs() < more.abs()).any()


def test_a_row_is_that_of_its_seed_alone():
    law = lattice.law(0.25)
    together = lattice.draw(SEEDS, 1003, law)
    for row, seed in zip(together, SEEDS, strict=True):
        assert torch.equal(row, lattice.draw([seed], 1003, law)[0])
    assert torch.equal(together[:, :517], lattice.draw(SEEDS, 517, law))


def test_bands_change_no_value(monkeypatch):
    law = lattice.law(1.0)
    whole = lattice.draw(SEEDS, 1003, law)
    monkeypatch.setattr(lattice, "_BAND", 64)
    assert torch.equal(lattice.draw(SEEDS, 1003, law), whole)


@pytest.mark.parametrize("sigma", [0.01, 0.25, 1.0, 20.0])
def test_values_leave_room_for_the_image(sigma):
    law = lattice.law(sigma)
    drawn = lattice.draw(SEEDS, 20_000, law)
    most = torch.iinfo(drawn.dtype).max
    assert law.lowest - 255 >= -most
    assert torch.equal(drawn.clone().add_(255), drawn.long() + 255)


def chi_square(counts, expected):
    """Return the p-value of counts against expected ones, cells of fewer than 25 together."""
    few = expected < 25
    counts = np.append(counts[~few], counts[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    if expected[-1] < 25:
        counts, expected = counts[:-1], expected[:-1]
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.01, 0.25, 1.0])
def test_a_hundred_million_values_have_the_law(sigma):
    law, draws, each = lattice.law(sigma), 100_000_000, 10_000_000
    lags = {"next": 1, "row below": 480, "channel": 480 * 360, "sample": each // 2}
    words = np.array(unsigned(law), dtype=object)
    cells = len(words)
    counts = np.zeros(cells, dtype=np.int64)
    side = min(cells, 24)
    pairs = {name: np.zeros(side * side, dtype=np.int64) for name in lags}
    edges = np.searchsorted(np.array(words[:-1] / 2**64, dtype=float), np.arange(1, side) / side)
    group = np.searchsorted(edges, np.arange(cells), side="right")
    for seed in range(draws // each):
        place = lattice.draw([seed * 2**70 + 1], each, law)[0].numpy() - law.lowest
        counts += np.bincount(place, minlength=cells)
        of = group[place]
        for name, lag in lags.items():
            # Disjoint pairs: blocks of `lag` values with the blocks behind them.
            blocks = of[: len(of) // (2 * lag) * 2 * lag].reshape(-1, 2, lag)
            pairs[name] += np.bincount((blocks[:, 0] * side + blocks[:, 1]).ravel(), minlength=side * side)
    probabilities = np.array(np.diff(words, prepend=0) / 2**64, dtype=float)

    assert counts.sum() == draws
    assert chi_square(counts, draws * probabilities) > 1e-3
    single = np.bincount(group, weights=probabilities, minlength=side)
    for found in pairs.values():
        assert found.sum() > 0.9 * draws / 2
        assert chi_square(found, found.sum() * np.outer(single, single).ravel()) > 1e-3


def test_the_test_of_the_law_sees_a_wrong_one():
    """A law whose sigma is off by one part in a hundred fails at a tenth of the draws."""
    right, wrong = lattice.law(0.25), lattice.law(0.2525)
    probabilities = np.diff(np.array(unsigned(right), dtype=object), prepend=0) / 2**64
    place = lattice.draw([1], 10_000_000, wrong)[0].numpy() - right.lowest
    counts = np.bincount(np.clip(place, 0, len(probabilities) - 1), minlength=len(probabilities))

    assert chi_square(counts, 10_000_000 * probabilities.astype(float)) < 1e-6
