"""How much noise a denoiser takes away: PSNR on the images of a dataset, by sigma.

    python -m benchmarks.denoising --dataset camvid:root=CamVid,split=val --every 5 --scale 0.5 \\
        --denoiser identity --denoiser adm:weights=examples/camvid/weights/adm.safetensors

Noise is added to the whole image at its own size and resized with it, as in certification, and the denoiser is told
the noise that is left. What it gives is compared with the clean image, resized as well. PSNR is the mean over images,
in dB, of images in [0, 1]; noise is the same for all denoisers. `--scale 1` is denoising at the image's own size.
"""

from __future__ import annotations

import math
import time

import click
import numpy as np
import torch

from benchmarks import machine
from smoothseg import networks, weights
from smoothseg.components.plugins import plugins
from smoothseg.runs.plan import DEFAULTS, Plan
from smoothseg.smoothing import geometry
from smoothseg.smoothing.noise import NoisyImage, unit


@click.command()
@click.option("--dataset", default=DEFAULTS["dataset"], show_default=True, help="Images to denoise.")
@click.option("--denoiser", "specs", multiple=True, default=("identity", "adm"), help="Repeat to compare.")
@click.option("--sigma", "sigmas", multiple=True, type=float, default=(0.1, 0.25, 0.5, 1.0))
@click.option("--scale", default=1.0, show_default=True, help="What the denoiser sees over the image's size.")
@click.option("--images", type=int, help="At most so many images.")
@click.option("--every", default=1, show_default=True, help="Take every so manyth image.")
@click.option("--device", default="auto", show_default=True)
def main(
    dataset: str,
    specs: tuple[str, ...],
    sigmas: tuple[float, ...],
    scale: float,
    images: int | None,
    every: int,
    device: str,
) -> None:
    """Measure the PSNR of denoisers."""
    from smoothseg.machine import devices

    click.echo(machine.header("benchmarks.denoising") + "\n")
    plan = Plan.of({"dataset": dataset, "images": images, "every": every})
    pictures, place = plan.dataset.load(), devices.device(device)
    name = plugins()["dataset"].name_of(plan.dataset)
    denoisers = []
    for spec in specs:
        recipe = plugins()["denoiser"].recipe(spec)
        component = plugins()["denoiser"].name_of(recipe)
        recipe = weights.pinned(recipe, component=component, dataset=name)
        denoisers.append((spec, recipe.load(place)))
    shape = geometry.Geometry(scale)
    click.echo(
        f"| denoiser | {' | '.join(f'sigma {sigma:g}' for sigma in sigmas)} | ms an image |\n"
        f"| --- |{' ---: |' * (len(sigmas) + 1)}"
    )
    for spec, denoiser in denoisers:
        found: list[list[float]] = [[] for _ in sigmas]
        spent = 0.0
        for index in plan.indices(len(pictures)):
            sample = pictures[index]
            clean = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))).to(place)
            height, width = sample.image.shape[:2]
            small = shape.size(height, width)
            wanted = networks.resize(unit(clean)[None], small)
            for values, sigma in zip(found, sigmas, strict=True):
                noisy = NoisyImage(sample.image, sample.key, sigma=sigma, seed=0, device=place).samples([0])
                begun = time.perf_counter()
                got = denoiser.denoise(
                    networks.resize(noisy, small), shape.sigma_told(sigma, height, width), seeds=[0]
                )
                spent += time.perf_counter() - begun
                values.append(-10 * math.log10(float((got.clamp(0, 1) - wanted).square().mean())))
        count = len(found[0]) * len(sigmas)
        cells = " | ".join(f"{np.mean(values):.2f}" for values in found)
        click.echo(f"| {spec} | {cells} | {1000 * spent / count:.0f} |")


if __name__ == "__main__":
    main()
