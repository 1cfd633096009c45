"""The capital of the bets: exact to the last claim, never above what it is, and never too large too often."""

import mpmath as mp
import numpy as np
import pytest

from smoothseg_segcertify import eprocesses

BELOW = (1.0, 1.0)


def exact(hits: int, trials: int, tau: float, prior: tuple[float, float], *, below: bool) -> mp.mpf:
    """Return the logarithm of the capital by numerical integration of the mixture itself, at 50 digits."""
    with mp.workdps(50):
        t, (a, b) = mp.mpf(tau), map(mp.mpf, prior)
        low, high = (mp.mpf(0), t) if below else (t, mp.mpf(1))

        def bet(q: mp.mpf) -> mp.mpf:
            if not 0 < q < 1:
                return mp.mpf(0)
            odds = hits * mp.log(q / t) + (trials - hits) * mp.log((1 - q) / (1 - t))
            return mp.exp(odds + (a - 1) * mp.log(q) + (b - 1) * mp.log(1 - q))

        mean = mp.mpf(hits + prior[0]) / (trials + prior[0] + prior[1])
        width = mp.sqrt(mean * (1 - mean) / trials)
        inner = [mean + k * width for k in (-30, -12, -6, -3, -1, 0, 1, 3, 6, 12, 30)]
        inner += [low + (high - low) / trials, high - (high - low) / trials]
        points = sorted({low, high, *(x for x in inner if low < x < high)})

        def density(q: mp.mpf) -> mp.mpf:
            return q ** (a - 1) * (1 - q) ** (b - 1) if 0 < q < 1 else mp.mpf(0)

        weight = mp.quad(density, [low, (low + high) / 2, high])
        return mp.log(mp.quad(bet, points) / weight)


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("tau", [0.5, 0.75, 0.95, 0.99])
@pytest.mark.parametrize("trials", [7, 100, pytest.param(1000, marks=pytest.mark.slow), 10_000])
def test_the_capital_is_that_of_the_integral_and_is_rounded_down(
    trials: int, tau: float, below: bool
) -> None:
    prior = BELOW if below else eprocesses.PRIOR
    found = eprocesses.log_capital(trials, tau, prior=prior, below=below)
    spread = 4 * (trials * tau * (1 - tau)) ** 0.5
    for hits in {trials, min(trials, int(trials * tau + spread)), max(0, int(trials * tau - spread))}:
        right = exact(hits, trials, tau, prior, below=below)
        if np.isneginf(found[hits]):
            assert right < 0, hits
            continue
        assert 0 <= float(right - mp.mpf(float(found[hits]))) < 2e-9, hits


@pytest.mark.slow
def test_a_million_trials_are_no_trouble() -> None:
    for tau, trials in ((0.75, 1_000_000), (0.99, 100_000), (0.9999, 900_000)):
        found = eprocesses.log_capital(trials, tau)
        spread = int(4 * (trials * tau * (1 - tau)) ** 0.5)
        for hits in (int(trials * tau), min(trials, int(trials * tau) + spread), trials):
            right = exact(hits, trials, tau, eprocesses.PRIOR, below=False)
            assert 0 <= float(right - mp.mpf(float(found[hits]))) < 1e-6, (tau, hits)


@pytest.mark.parametrize("tau", [0.5, 0.6, 0.75, 0.9, 0.99])
def test_at_tau_the_capital_stays_what_it_is_on_average(tau: float) -> None:
    """One more vote multiplies it by a factor of mean 1: a martingale, and below tau a supermartingale."""
    now, then = (np.exp(eprocesses.log_capital(trials, tau)) for trials in (30, 31))
    for p, right in ((tau, np.isclose), (tau - 0.1, np.less_equal), (0.0, np.less_equal)):
        mean = p * then[1:] + (1 - p) * then[:-1]
        assert right(mean, now).all(), p
    beyond = min(1.0, tau + 0.05)
    assert beyond * then[-1] + (1 - beyond) * then[-2] > now[-1]


@pytest.mark.parametrize("tau", [0.5, 0.75, 0.99])
def test_p_values_fall_with_the_hits_and_are_never_0(tau: float) -> None:
    for trials in (1, 69, 500, 5000):
        p = eprocesses.p_values(trials, tau)
        assert len(p) == trials + 1
        assert (np.diff(p) <= 0).all()
        assert (p > 0).all()
        assert p[0] == 1.0
        assert not p.flags.writeable


def test_the_first_pixel_passes_after_a_few_samples_more_than_with_the_binomial_test() -> None:
    for pixels, binomial, here in ((480 * 360, 66, 71), (1024 * 2048, 75, 80)):
        least = eprocesses.smallest_trials(0.001 / pixels, 0.75)
        assert least == here
        assert 0.75**binomial <= 0.001 / pixels < 0.75 ** (binomial - 1)
        assert eprocesses.p_values(least, 0.75)[-1] <= 0.001 / pixels
        assert eprocesses.p_values(least - 1, 0.75)[-1] > 0.001 / pixels


def test_pixels_are_hopeless_once_a_probability_above_tau_is_out_of_the_question() -> None:
    never = eprocesses.hopeless(200, 0.75, 0.001)
    assert never[0]
    assert never[100]
    assert not never[150]
    assert not never[200]
    assert (np.diff(never.astype(int)) <= 0).all()  # no more hits make a pixel hopeless
    # Ville: a class of probability tau is called hopeless in at most a thousandth of all images, by any of 400 looks.
    generator = np.random.Generator(np.random.Philox(1))
    hits = (generator.random((20_000, 400)) < 0.75).cumsum(axis=1)
    ever = np.zeros(len(hits), dtype=bool)
    for trials in range(1, 401):
        ever |= eprocesses.hopeless(trials, 0.75, 0.001)[hits[:, trials - 1]]
    assert ever.sum() <= 20 + 5 * 20**0.5
