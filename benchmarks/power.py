"""What share of the pixels each correction certifies at the same alpha, where all probabilities are known.

    python -m benchmarks.power --json runs/power.json --picture docs/images/power.png

An image has three kinds of pixels. At clear ones the class has a probability of 0.999, at doubtful ones one that is
chosen, at hopeless ones it has tau itself and must not be certified. Every certifier gets the same counts, drawn from
binomial distributions. Power is the share of the doubtful pixels that are certified within the radius of tau: for
clear ones it is 1 as soon as n is large enough. Two curves are measured: over n, with doubtful pixels of one
probability, and over that probability, with one n. Synthetic images with some pixels of high noise are also how Fischer
et al. (2021) compare corrections.

The script fails if hopeless pixels are certified in more images than a share of alpha explains, or if `holm` certifies
less than `bonferroni`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import header
from smoothseg.components.plugins import plugins

__all__: list[str] = []

CLEAR = 0.999
COLOURS = ("#9aa0a6", "#1a73e8", "#e8710a", "#188038", "#a142f4")
MARKERS = ("s", "o", "^", "D", "v")


@dataclasses.dataclass(frozen=True)
class Point:
    """What a certifier made of some images: the share of doubtful and of clear pixels certified, images with errors."""

    certifier: str
    n: int
    probability: float
    doubtful: float
    clear: float
    failed: int


def measure(options: argparse.Namespace, n: int, probability: float, rng: np.random.Generator) -> list[Point]:
    """Return a point for each certifier, all on the same counts."""
    pixels = options.height * options.width
    doubtful, hopeless = round(options.doubtful * pixels), round(options.hopeless * pixels)
    chances = np.full(pixels, CLEAR)
    chances[:doubtful] = probability
    chances[doubtful : doubtful + hopeless] = options.tau
    registry = plugins()["certifier"]
    found: dict[str, list[tuple[float, float, bool]]] = {spec: [] for spec in options.certifiers}
    for _ in range(options.images):
        hits = rng.binomial(n, chances).astype(np.int32).reshape(options.height, options.width)
        for spec in options.certifiers:
            words = [spec, f"n={n}", f"alpha={options.alpha}"]
            words += [] if "taus=" in spec else [f"tau={options.tau}"]
            recipe = registry.recipe(words[0] + (":" if ":" not in spec else ",") + ",".join(words[1:]))
            verdict = recipe.load().decide(hits, n, sigma=1.0)
            radii = np.broadcast_to(verdict.radius if verdict.radii is None else verdict.radii, hits.shape)
            # Radii are rounded down by a share of 1e-14.
            reached = radii >= stats.norm.ppf(options.tau) * (1 - 1e-9)
            sure = (verdict.certified & reached).ravel()
            wrong = int(sure[doubtful : doubtful + hopeless].sum()) > getattr(recipe, "tolerates", 0)
            found[spec].append((sure[:doubtful].mean(), sure[doubtful + hopeless :].mean(), wrong))
    return [
        Point(
            spec,
            n,
            probability,
            float(np.mean([one for one, _, _ in each])),
            float(np.mean([one for _, one, _ in each])),
            sum(wrong for _, _, wrong in each),
        )
        for spec, each in found.items()
    ]


def draw(path: Path, options: argparse.Namespace, over_n: list[Point], over_probability: list[Point]) -> None:
    """Write the two curves as a picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        sheet = Figure(figsize=(8.4, 3.3), dpi=110, layout="constrained")
        left, right = sheet.subplots(1, 2, sharey=True)
        for axes, points, name in ((left, over_n, "n"), (right, over_probability, "probability")):
            for spec, colour, marker in zip(options.certifiers, COLOURS, MARKERS, strict=False):
                own = [point for point in points if point.certifier == spec]
                x, y = [getattr(point, name) for point in own], [100 * point.doubtful for point in own]
                axes.plot(x, y, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=spec)
            axes.grid(alpha=0.25)
            axes.locator_params(axis="x", nbins=6)
        left.set_xlabel(f"n, with a probability of {options.probability:g} at doubtful pixels")
        right.set_xlabel(f"probability of the class at doubtful pixels, with n = {options.at}")
        left.set_ylabel("doubtful pixels certified, %")
        left.legend(frameon=False, fontsize=8)
        sheet.savefig(path, metadata={"Software": None})


def table(certifiers: list[str], points: list[Point], name: str) -> str:
    """Return the shares of doubtful pixels in percent, a row for each certifier."""
    places = list(dict.fromkeys(getattr(point, name) for point in points))
    lines = [
        f"| {name} | {' | '.join(f'{place:g}' for place in places)} |",
        f"| --- |{' ---: |' * len(places)}",
    ]
    for spec in certifiers:
        own = [f"{100 * point.doubtful:.1f}" for point in points if point.certifier == spec]
        lines.append(f"| `{spec}` | {' | '.join(own)} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--doubtful", type=float, default=0.1, help="share of the pixels")
    parser.add_argument("--hopeless", type=float, default=0.01, help="share of the pixels")
    parser.add_argument("--images", type=int, default=10, help="images in each place")
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--tau", type=float, default=0.75)
    parser.add_argument("--n", type=int, nargs="+", default=[75, 100, 125, 150, 200, 250, 300, 400, 500])
    parser.add_argument("--at", type=int, default=100, help="n of the curve over probabilities")
    parser.add_argument(
        "--probability", type=float, default=0.9, help="of doubtful pixels, for the curve over n"
    )
    parser.add_argument(
        "--probabilities", type=float, nargs="+", default=[0.8, 0.84, 0.88, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99]
    )
    parser.add_argument(
        "--certifiers",
        nargs="+",
        default=["bonferroni", "holm", "holm:taus=0.75,0.9", "kfwer:k=5", "kfwer:k=173"],
        help="with options, but without n, alpha and tau",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("runs/power.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/power.png"))
    return parser.parse_args()


def main() -> None:
    """Measure, print two tables, write the numbers and the picture, and fail if a promise is broken."""
    options = parse()
    rng = np.random.default_rng(options.seed)
    start = time.process_time()
    over_n = [point for n in options.n for point in measure(options, n, options.probability, rng)]
    over_probability = [
        point for chance in options.probabilities for point in measure(options, options.at, chance, rng)
    ]
    seconds = time.process_time() - start
    said = header("benchmarks.power", packages=("numpy", "scipy"))
    print(said)
    print(
        f"{options.height}x{options.width}, {options.images} images in each place, alpha {options.alpha:g}, tau "
        f"{options.tau:g}, {options.doubtful:.0%} doubtful, {options.hopeless:.0%} hopeless; {seconds:.0f} s of "
        "processor time\n"
    )
    print(table(options.certifiers, over_n, "n"), "\n")
    print(table(options.certifiers, over_probability, "probability"), "\n")
    points = over_n + over_probability
    clear = [point.clear for point in points if point.n >= options.at]
    print(f"clear pixels certified from n = {options.at} on: at least {100 * min(clear):.2f} %")
    plain: dict[str, Any] = {
        "measured": said.splitlines(),
        "options": {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items()},
        "points": [dataclasses.asdict(point) for point in points],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    draw(options.picture, options, over_n, over_probability)
    print(options.picture, options.picture.stat().st_size, "bytes")

    shares = {(point.certifier, point.n, point.probability): point.doubtful for point in points}
    for spec in options.certifiers:
        failed = sum(point.failed for point in points if point.certifier == spec)
        images = options.images * sum(point.certifier == spec for point in points)
        print(f"{spec}: too many hopeless pixels certified in {failed} of {images} images")
        if stats.binom.sf(failed - 1, images, options.alpha) < 1e-6:
            sys.exit(f"{spec} certifies what it must not")
    for (spec, n, chance), share in shares.items():
        if spec == "bonferroni" and shares.get(("holm", n, chance), 1.0) < share:
            sys.exit("holm certifies less than bonferroni")


if __name__ == "__main__":
    main()
