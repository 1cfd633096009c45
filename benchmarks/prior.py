"""What the prior of `anytime` costs: samples until a pixel passes, against a test that knows its n beforehand.

    python -m benchmarks.prior

For each tau, each number of pixels and each probability p of the class, the least n is found at which n p hits, rounded
down, pass Holm's first step. The loss of a prior is the quotient of that n and the n of the exact binomial test, whose
user had to know it in advance. p lies between tau and 1: at 1, where most pixels of an image are, and at three places
below. The mean of the logarithms over everything chooses the prior; the worst case is shown beside it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from benchmarks.machine import header
from smoothseg_segcertify import eprocesses, statistics

__all__: list[str] = []

TAUS = (0.5, 0.6, 0.75, 0.9, 0.95, 0.99)
PIXELS = (192 * 256, 360 * 480, 1024 * 2048)
PLACES = (1.0, 0.9, 0.7, 0.5)
"""Where p lies between tau (0) and 1."""


def least(passes: Callable[[int], bool], most: int = 2**15) -> int:
    """Return the least n that passes, up to the jitter of rounding; `most` if none does."""
    high = 8
    while high < most and not passes(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def losses(prior: tuple[float, float], alpha: float) -> dict[tuple[float, int, float], float]:
    """Return the quotient of the two n by tau, pixels and place."""
    found = {}
    for tau in TAUS:
        for pixels in PIXELS:
            level = alpha / pixels
            for place in PLACES:
                p = tau + place * (1 - tau)
                here, there = (
                    least(
                        lambda n, table=table, p=p, level=level: table(n)[math.floor(n * p + 1e-9)] <= level
                    )
                    for table in (
                        lambda n, tau=tau: np.exp(-eprocesses.log_capital(n, tau, prior=prior)),
                        lambda n, tau=tau: statistics.p_values(n, tau),
                    )
                )
                found[tau, pixels, place] = here / there
    return found


def main() -> None:
    """Print the loss of every prior."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument(
        "--prior", type=float, nargs=2, action="append", help="a and b of a beta distribution; repeatable"
    )
    options = parser.parse_args()
    priors = options.prior or [
        (a, b)
        for a, b in (
            (1, 1),
            (0.5, 0.5),
            (5, 0.5),
            (10, 0.5),
            (20, 0.5),
            (40, 0.5),
            (80, 0.5),
            (20, 1),
            (20, 0.25),
        )
    ]
    print(header("benchmarks.prior", packages=("numpy", "scipy")), "\n")
    print(f"| prior | mean | at p = 1 | {' | '.join(f'{place:g}' for place in PLACES[1:])} | worst |")
    print(f"| --- |{' ---: |' * (len(PLACES) + 2)}")
    for prior in priors:
        found = losses((float(prior[0]), float(prior[1])), options.alpha)
        means = [
            math.exp(np.mean([math.log(loss) for (_, _, at), loss in found.items() if at == place]))
            for place in PLACES
        ]
        mean = math.exp(np.mean([math.log(loss) for loss in found.values()]))
        cells = " | ".join(f"{each:.3f}" for each in (mean, *means, max(found.values())))
        print(f"| Beta({prior[0]:g}, {prior[1]:g}) | {cells} |", flush=True)


if __name__ == "__main__":
    main()
