"""How many samples does a certificate need: `anytime` and `holm` on the same draws, and what a stopping rule saves.

    python -m benchmarks.samples draw --dataset camvid:root=CamVid,split=val --every 10 --images 10 \\
        --denoiser adm:weights=... --segmenter hrnet:weights=... --at 0.25:0.5 --at 0.5:0.35 --at 1.0:0.25

    python -m benchmarks.samples show --dataset camvid:root=CamVid,split=val --picture docs/images/samples.png

`draw` labels n0 and then n noise samples of every image at every sigma, and keeps the hits of every block of them: one
sampling gives the verdicts at any number of samples. It is taken up again where it stopped. `show` decides from them
with `holm` for several n, and with `anytime` for the same numbers and for rules that stop it: the same certifiers that
a run uses, on the same draws.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__: list[str] = []


def drawn(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return what `draw` wrote for one image and sigma: prediction, labels, and hits by block, (blocks, H, W)."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def draw(options: argparse.Namespace) -> None:
    """Draw every image at every sigma, and write a file for each."""
    import torch

    from smoothseg.runs import preparing
    from smoothseg.runs.plan import Plan
    from smoothseg.smoothing.sampling import Draw

    torch.set_num_threads(options.threads)
    places = [tuple(map(float, each.split(":"))) for each in options.at]
    plans = [
        Plan.of(
            {
                **{
                    name: getattr(options, name)
                    for name in ("dataset", "denoiser", "segmenter", "every", "images")
                },
                "sigma": sigma,
                "scale": scale,
            }
        )
        for sigma, scale in places
    ]
    prepared = [preparing.prepare(plan) for plan in plans]
    options.output.mkdir(parents=True, exist_ok=True)
    for index, key in zip(prepared[0].indices, prepared[0].keys, strict=True):
        sample = prepared[0].dataset[index]
        for plan, each in zip(plans, prepared, strict=True):
            path = options.output / f"{key}-{plan.sigma[0]:g}.npz"
            if path.exists():
                continue
            started = time.perf_counter()
            samples = Draw(
                each.models[plan.methods[0].slug],
                sample.image,
                sample.key,
                sigma=plan.sigma[0],
                seed=plan.seed,
                batch_size=options.block,
                device=each.device,
            )
            prediction = samples(options.n0).mode().astype(np.uint8)
            blocks = [samples(options.block).hits(prediction) for _ in range(options.n // options.block)]
            partial = path.with_suffix(".tmp.npz")
            np.savez_compressed(
                partial, prediction=prediction, labels=sample.labels, hits=np.stack(blocks).astype(np.uint8)
            )
            partial.rename(path)
            print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)


class Stored:
    """The draw of samples that were counted before, for a certifier that counts hits in blocks."""

    def __init__(self, kept: Mapping[str, npt.NDArray[Any]], sigma: float, block: int) -> None:
        self.sigma = sigma
        self.size = kept["prediction"].shape
        self._prediction = kept["prediction"]
        self._hits = np.cumsum(kept["hits"], axis=0, dtype=np.int32)
        self._block = block

    def hits(self, trials: int) -> npt.NDArray[np.int32]:
        """Return the hits in the first so many trials, a multiple of the block."""
        if trials % self._block:
            raise ValueError(f"{trials} trials are no multiple of the {self._block} that were kept together")
        found: npt.NDArray[np.int32] = self._hits[trials // self._block - 1]
        return found

    def __call__(self, n: int) -> Stored:
        return self

    def mode(self) -> npt.NDArray[Any]:
        """Return the prediction of the selection."""
        return self._prediction

    def some(self, n: int, into: Any) -> None:
        """Add `n` samples to a tally."""
        into.begin(self.hits(into.trials + n), into.trials + n)

    def look(self, look: Any) -> None:
        """Nobody looks."""


@dataclasses.dataclass(frozen=True)
class Point:
    """What a certifier makes of all images at one sigma: shares in 0..1, samples that test and samples in all."""

    certifier: str
    sigma: float
    trials: float
    samples: float
    certified: float
    accuracy: float
    mean_iou: float
    reasons: Mapping[str, int]


def decided(spec: str, sigma: float, images: Sequence[Stored], labels: Sequence[Any], dataset: Any) -> Point:
    """Return what the certifier `spec` decides of the images."""
    from smoothseg.certificates import counts, metrics
    from smoothseg.components.plugins import plugins

    certifier = plugins()["certifier"].recipe(spec).load()
    found, trials, samples = [], [], []
    reasons: dict[str, int] = {}
    for image, truth in zip(images, labels, strict=True):
        if hasattr(certifier, "rules"):
            made = certifier.certify(image)
            verdict, n = made.verdict, made.trials
            reasons[made.stopping.reason] = reasons.get(made.stopping.reason, 0) + 1
        else:
            n = certifier.n
            verdict = certifier.decide(image.hits(n), n, sigma=sigma)
        trials.append(n)
        samples.append(certifier.n0 + n)
        found.append(
            counts.update(
                image.mode(), verdict.certified, truth, classes=len(dataset.classes), ignore=dataset.ignore
            )
        )
    scores = metrics.compute(found, dataset.classes)
    return Point(
        spec,
        sigma,
        float(np.mean(trials)),
        float(np.mean(samples)),
        float(np.mean([each.certified / each.pixels for each in found])),
        scores.accuracy or 0.0,
        scores.mean_iou or 0.0,
        reasons,
    )


def show(options: argparse.Namespace) -> None:
    """Print a table for each sigma, write the numbers and the picture, and fail if a stated aim is missed."""
    from benchmarks.machine import header
    from smoothseg.components.plugins import plugins

    dataset = plugins()["dataset"].recipe(options.dataset).load()
    by_sigma: dict[float, list[Mapping[str, npt.NDArray[Any]]]] = {}
    for path in sorted(options.input.glob("*.npz")):
        if path.name.endswith(".tmp.npz"):
            continue
        sigma = float(re.sub(r"^.*-", "", path.stem))
        by_sigma.setdefault(sigma, []).append(drawn(path))
    fixed = [100, 200, 300, 500, 1000]
    points: list[Point] = []
    for sigma, kept in sorted(by_sigma.items()):
        images = [Stored(each, sigma, options.block) for each in kept]
        labels = [each["labels"] for each in kept]
        specs = [f"holm:n={n}" for n in fixed] + [f"anytime:max_n={n},block=20" for n in fixed]
        specs += [f"anytime:{rule}" for rule in options.rule]
        points += [decided(spec, sigma, images, labels, dataset) for spec in specs]
        print(f"sigma {sigma:g}, {len(kept)} images", file=sys.stderr, flush=True)
    print(header("benchmarks.samples", packages=("numpy", "scipy")))
    missed = []
    for sigma in by_sigma:
        own = [point for point in points if point.sigma == sigma]
        best = next(point for point in own if point.certifier == "holm:n=1000")
        print(f"\nsigma {sigma:g}, {len(by_sigma[sigma])} images\n")
        print("| certifier | samples | certified | of holm n=1000 | acc | mIoU | stopped by |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
        for point in own:
            share = point.certified / best.certified
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(point.reasons.items()))
            print(
                f"| `{point.certifier}` | {point.samples:.0f} | {100 * point.certified:.1f} | {100 * share:.1f} | "
                f"{100 * point.accuracy:.1f} | {100 * point.mean_iou:.1f} | {reasons} |"
            )
        for rule in options.aim:
            point = next(point for point in own if point.certifier == f"anytime:{rule}")
            if point.certified < 0.975 * best.certified or point.samples > best.samples / 3:
                missed.append(f"sigma {sigma:g}: anytime:{rule}")
    plain = {
        "measured": header("benchmarks.samples", packages=("numpy", "scipy")).splitlines(),
        "points": [dataclasses.asdict(point) for point in points],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if options.picture is not None:
        picture(options.picture, by_sigma, options)
    if missed:
        sys.exit(f"less than 97.5 % of holm n=1000, or more than a third of its samples: {', '.join(missed)}")


def picture(
    path: Path,
    by_sigma: Mapping[float, Sequence[Mapping[str, npt.NDArray[Any]]]],
    options: argparse.Namespace,
) -> None:
    """Draw the certified share over the samples, for both certifiers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from smoothseg.components.plugins import plugins

    registry = plugins()["certifier"]
    anytime = registry.recipe("anytime").load()
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        sheet = Figure(figsize=(8.4, 3.2), dpi=110, layout="constrained")
        for axes, (sigma, kept) in zip(
            np.atleast_1d(sheet.subplots(1, len(by_sigma), sharey=True)),
            sorted(by_sigma.items()),
            strict=True,
        ):
            images = [Stored(each, sigma, options.block) for each in kept]
            places = range(
                options.block, 10 * ((len(kept[0]["hits"]) * options.block) // 10) + 1, options.block
            )
            for name, colour in (("holm", "#e8710a"), ("anytime", "#1a73e8")):
                shares = []
                for n in places:
                    certifier = anytime if name == "anytime" else registry.recipe(f"holm:n={n}").load()
                    verdicts = [certifier.decide(image.hits(n), n, sigma=sigma) for image in images]
                    shares.append(100 * float(np.mean([verdict.certified.mean() for verdict in verdicts])))
                if name == "holm":
                    axes.plot(
                        list(places),
                        shares,
                        color=colour,
                        linewidth=1,
                        linestyle=":",
                        label="holm, n chosen beforehand",
                    )
                else:
                    axes.plot(
                        list(places), shares, color=colour, linewidth=1.4, label="anytime, at every moment"
                    )
            axes.set_title(f"σ {sigma:g}", fontsize=9)
            axes.set_xlabel("noise samples that test")
            axes.grid(alpha=0.25)
            axes.set_ylim(0, 100)
        sheet.axes[0].set_ylabel("pixels certified, %")
        sheet.axes[0].legend(frameon=False, fontsize=8, loc="lower right")
        sheet.savefig(path, metadata={"Software": None})


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw", help="label the samples and keep their hits by block")
    drawing.set_defaults(run=draw)
    drawing.add_argument("--dataset", required=True)
    drawing.add_argument("--denoiser", default="adm")
    drawing.add_argument("--segmenter", default="hrnet")
    drawing.add_argument("--every", type=int, default=1)
    drawing.add_argument("--images", type=int)
    drawing.add_argument("--at", action="append", required=True, metavar="SIGMA:SCALE")
    drawing.add_argument("--n0", type=int, default=10)
    drawing.add_argument("--n", type=int, default=1000)
    drawing.add_argument("--block", type=int, default=10, help="samples whose hits are kept together")
    drawing.add_argument("--threads", type=int, default=1)
    drawing.add_argument("--output", type=Path, default=Path("runs/samples"))
    showing = commands.add_parser("show", help="decide from what was drawn, with both certifiers")
    showing.set_defaults(run=show)
    showing.add_argument("--dataset", required=True)
    showing.add_argument("--input", type=Path, default=Path("runs/samples"))
    showing.add_argument("--block", type=int, default=10, help="samples whose hits were kept together")
    showing.add_argument("--rule", action="append", default=[], help="options of anytime; repeatable")
    showing.add_argument(
        "--aim", action="append", default=[], help="a rule that must save two thirds of the samples"
    )
    showing.add_argument("--json", type=Path, default=Path("runs/samples.json"))
    showing.add_argument("--picture", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    options = parse()
    options.run(options)


if __name__ == "__main__":
    main()
