"""How long the statistics of one image take, beside an exact binomial test a pixel and statsmodels' Holm.

    python -m benchmarks.statistics --height 1024 --width 2048 --n 100 --pixels-sampled 2000

The certifier's time runs from finished votes to the certificate: class, hits, histogram, threshold, verdict. The
plain form is handed the hits and calls `scipy.stats.binomtest` once a pixel, measured on a random sample of pixels
and extrapolated in proportion, and statsmodels' Holm once, on all p-values. Both run on one thread, and what is
reported is processor time, which a busy machine does not stretch. The script fails if the two disagree on a p-value
or a verdict, or if the ratio of the times is below `--required`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy
import statsmodels
import torch
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from smoothseg.smoothing.votes import Votes
from smoothseg_segcertify import HolmRecipe
from smoothseg_segcertify import statistics as segcertify


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A smoothed model in numbers: its likeliest class, the runner-up and the likeliest's probability, (H, W)."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    classes: int

    @classmethod
    def blocks(cls, height: int, width: int, classes: int, rng: np.random.Generator) -> Scene:
        """Return blocks of one class each that are certain inside and doubtful along their borders."""
        side = max(2, height // 16)
        row, column = np.divmod(np.arange(height), side), np.divmod(np.arange(width), side)
        grid = rng.integers(0, classes, (row[0][-1] + 2, column[0][-1] + 2))
        first = grid[row[0][:, None], column[0]]
        second = grid[row[0][:, None] + 1, column[0] + 1]
        second = np.where(second == first, (first + 1) % classes, second)
        depth = np.minimum.outer(*(np.minimum(inside, side - 1 - inside) for _, inside in (row, column)))
        certain = (1 - 0.02 * rng.random(grid.shape) ** 4)[row[0][:, None], column[0]]
        return cls(first, second, certain - 0.5 * np.exp(-depth / (0.02 * side)), classes)

    def votes(self, n: int, rng: np.random.Generator) -> Votes:
        """Return the votes of `n` samples, every pixel independent of the others."""
        votes = Votes(self.classes, self.first.shape, capacity=n)
        hits = rng.binomial(n, self.probability)
        runner_up = rng.binomial(n - hits, 0.9)
        stray = rng.integers(0, self.classes, self.first.shape)
        counts = votes.counts.numpy()
        for index, seen in ((self.first, hits), (self.second, runner_up), (stray, n - hits - runner_up)):
            before = np.take_along_axis(counts, index[None], axis=0)
            np.put_along_axis(counts, index[None], before + seen[None].astype(counts.dtype), axis=0)
        votes.n = n
        return votes


class Drawn:
    """A draw whose votes are there already."""

    sigma = 0.25

    def __init__(self, *votes: Votes) -> None:
        self._votes = iter(votes)

    def __call__(self, n: int) -> Votes:
        votes = next(self._votes)
        assert votes.n == n
        return votes


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the shortest of `repeats` times of `function`: what else the machine does only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def machine() -> str:
    """Return the processor's name and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--n0", type=int, default=10, help="samples of the selection")
    parser.add_argument("--n", type=int, default=100, help="samples of the estimation")
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--tau", type=float, default=0.75)
    parser.add_argument("--pixels-sampled", type=int, default=2000, help="pixels given to binomtest")
    parser.add_argument("--repeats", type=int, default=7, help="calls of which the shortest counts")
    parser.add_argument("--required", type=float, default=1000, help="least ratio that is no failure")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, and fail if the results differ or the ratio is too small."""
    options = parse()
    torch.set_num_threads(1)
    n, alpha, tau, repeats = options.n, options.alpha, options.tau, options.repeats
    rng = np.random.default_rng(options.seed)
    scene = Scene.blocks(options.height, options.width, options.classes, rng)
    selection, estimation = scene.votes(options.n0, rng), scene.votes(n, rng)
    certifier = HolmRecipe(n0=options.n0, n=n, alpha=alpha, tau=tau).load()

    certificate = certifier.certify(Drawn(selection, estimation))  # type: ignore[arg-type]
    prediction, hits = selection.mode(), certificate.hits
    bins, p = segcertify.histogram(hits, n), segcertify.p_values(n, tau)
    parts = {
        "class of every pixel (mode)": lambda: selection.mode(),
        "hits of that class": lambda: estimation.hits(prediction),
        "histogram of hits": lambda: segcertify.histogram(hits, n),
        "table of p-values": lambda: segcertify.p_values.__wrapped__(n, tau),
        "threshold (Holm)": lambda: segcertify.holm_threshold(bins, p, alpha),
        "verdict, with histogram and threshold": lambda: certifier.decide(hits, n, sigma=0.25),
        "votes to certificate, all of it": lambda: certifier.certify(Drawn(selection, estimation)),  # type: ignore[arg-type]
    }
    rows = [(name, seconds(part, repeats)) for name, part in parts.items()]
    ours = rows[-1][1]

    sampled = rng.choice(hits.size, min(options.pixels_sampled, hits.size), replace=False)
    of_sample = [int(count) for count in hits.flat[sampled]]
    every_p = p[hits].ravel()

    def test(counts: list[int]) -> list[float]:
        return [binomtest(count, n, tau, alternative="greater").pvalue for count in counts]

    def correct() -> npt.NDArray[np.bool_]:
        return multipletests(every_p, alpha, method="holm")[0]

    testing = seconds(lambda: test(of_sample), 3) / len(of_sample) * hits.size
    correcting = seconds(correct, 3)
    plain = testing + correcting
    rows += [
        (f"binomtest a pixel, extrapolated from {len(sampled)}", testing),
        (f"statsmodels Holm on {hits.size} p-values", correcting),
        ("plain form, all of it", plain),
    ]

    print(f"{datetime.date.today()}, {machine()}")
    print(f"torch {torch.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, ", end="")
    print(f"statsmodels {statsmodels.__version__}")
    print(f"python -m benchmarks.statistics {shlex.join(sys.argv[1:])}".rstrip())
    print(
        f"{options.height}x{options.width}, {options.classes} classes, n0 {options.n0}, n {n}, tau {tau}, "
        f"alpha {alpha}: {100 * certificate.abstained:.1f} % abstain\n"
    )
    print("| step | processor seconds |\n| --- | ---: |")
    for name, duration in rows:
        print(f"| {name} | {duration:.5f} |")
    print(f"\nratio: {plain / ours:.0f}")

    if not np.array_equal(test(of_sample), p[of_sample]):
        sys.exit("binomtest and the table of p-values differ")
    if not np.array_equal(correct().reshape(hits.shape), certificate.certified):
        sys.exit("statsmodels and the certifier certify different pixels")
    if plain / ours < options.required:
        sys.exit(f"the ratio is below {options.required:g}")


if __name__ == "__main__":
    main()
