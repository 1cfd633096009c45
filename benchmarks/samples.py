"""How many samples does a certificate need: `anytime` and `holm` on the same draws, and what a stopping rule saves.

    python -m benchmarks.samples draw --dataset camvid:root=CamVid,split=val --every 10 --images 10 \\
        --denoiser adm:weights=... --segmenter hrnet:weights=... --at 0.25:0.5 --at 0.5:0.35 --at 1.0:0.25

`draw` labels n0 and then n noise samples of every image at every sigma, and keeps the hits of every block of them: one
sampling gives the verdicts at any number of samples. It is taken up again where it stopped.
"""

from __future__ import annotations

import argparse
import time
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
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    options = parse()
    options.run(options)


if __name__ == "__main__":
    main()
