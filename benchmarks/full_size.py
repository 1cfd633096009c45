"""What one image costs in the published giants: seconds and memory of a forward pass at full size.

    python -m benchmarks.full_size --size 512x256
    python -m benchmarks.full_size --size 2048x1024 --device cuda --precision bfloat16

ADM-256 denoises, ViT-Adapter-L with Mask2Former (of Pascal-Context and of Cityscapes) and with UPerNet segments, all
with random weights, which cost as much as trained ones. The segmenters slide their published windows over an image
that is larger than one. Each network is a process of its own: its memory is the peak of that process on the CPU (after
building, and after the pass), and what torch allocated at most on a GPU.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click
import torch

from benchmarks import machine

GIGABYTE = 1e9


def adm(device: str, precision: Any) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """Return the single step of ADM-256 at sigma 0.25, and its number of parameters."""
    from smoothseg_adm import ADMRecipe
    from smoothseg_adm.architecture import PRESETS
    from smoothseg_adm.denoiser import ADMDenoiser
    from smoothseg_adm.network import ADM

    with torch.device(device):
        network = ADM(PRESETS["256-uncond"])
    count = sum(parameter.numel() for parameter in network.parameters())
    denoiser = ADMDenoiser(network, ADMRecipe(precision=precision), digests={})
    return lambda images: denoiser.denoise(images, 0.25, seeds=[0]), count


def vit_adapter(
    preset: str, device: str, precision: Any
) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """Return the scores of a published ViT-Adapter, and its number of parameters."""
    from smoothseg_vit_adapter import VitAdapterRecipe
    from smoothseg_vit_adapter.architecture import PRESETS
    from smoothseg_vit_adapter.network import ViTAdapterNetwork
    from smoothseg_vit_adapter.segmenter import VitAdapterSegmenter

    sizes = PRESETS[preset]
    with torch.device(device):
        network = ViTAdapterNetwork(sizes)
    count = sum(parameter.numel() for parameter in network.parameters())
    segmenter = VitAdapterSegmenter(
        network,
        VitAdapterRecipe(precision=precision),
        classes=tuple(f"class {i}" for i in range(sizes.classes)),
        digests={},
        device=device,
    )
    return segmenter.segment, count


NETWORKS: dict[str, Callable[..., Any]] = {
    "adm-256": adm,
    "large-480-mask2former": lambda *given: vit_adapter("large-480-mask2former", *given),
    "large-896-mask2former": lambda *given: vit_adapter("large-896-mask2former", *given),
    "large-480-upernet": lambda *given: vit_adapter("large-480-upernet", *given),
}


def measure(name: str, size: tuple[int, int], device: str, precision: str, passes: int) -> tuple[Any, ...]:
    """Return parameters, shape of the result, fastest seconds, and bytes after building and at the peak."""
    network, count = NETWORKS[name](device, precision)
    built = torch.cuda.max_memory_allocated() if device == "cuda" else machine.high_water()
    images = torch.rand(1, 3, size[1], size[0], device=device)
    seconds = []
    for _ in range(passes):
        start = time.perf_counter()
        result = network(images)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    if not bool(torch.isfinite(result).all()):
        raise SystemExit(f"{name}: the result is not finite")
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else machine.high_water()
    return count, tuple(result.shape), min(seconds), built, peak


@click.command()
@click.option("--size", default="512x256", show_default=True, help="WIDTHxHEIGHT of the image.")
@click.option("--network", "names", multiple=True, type=click.Choice(sorted(NETWORKS)), help="Default: all.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16"]))
@click.option("--passes", default=1, show_default=True, help="Forward passes; the fastest counts.")
def main(size: str, names: tuple[str, ...], device: str, precision: str, passes: int) -> None:
    """Measure a forward pass of each network."""
    click.echo(machine.header("benchmarks.full_size") + "\n")
    if device == "cuda":
        click.echo(f"{torch.cuda.get_device_name()}\n")
    width, height = (int(side) for side in size.split("x"))
    click.echo("| network | parameters | result | seconds | GB built | GB at the peak |")
    click.echo("| --- | ---: | --- | ---: | ---: | ---: |")
    for name in names or NETWORKS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            count, shape, seconds, built, peak = pool.submit(
                measure, name, (width, height), device, precision, passes
            ).result()
        click.echo(
            f"| {name} | {count:,} | {'x'.join(map(str, shape))} | {seconds:.2f} | {built / GIGABYTE:.2f} | "
            f"{peak / GIGABYTE:.2f} |"
        )


if __name__ == "__main__":
    main()
