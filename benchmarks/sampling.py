"""Where the time of a noise sample goes, and how much memory sampling takes beside the networks.

    python -m benchmarks.sampling --size 480x360 --size 2048x1024 --memory-samples 10 --memory-samples 1000

Time: the functions and components that one sample goes through are wrapped while a real `Draw` runs; a stage within
another counts once, the stages and the remainder add up to the sample. What is shown is the fastest of `--samples`,
on one thread in processor time, which a busy machine stretches little. Networks are untrained: how long they take
does not depend on their weights. Beside it stand the plain forms of the same steps.

Noise: that of a sample on the lattice of levels, beside the floating-point one, drawn by turns.

Memory: the peak of a process that certifies one image by Holm's rule, above that of one which only imports the same.
The segmenter in it is a few lines instead of a network, so that what is measured is what sampling itself takes.

The script fails if what is no network takes more than `--share` of a sample, if lattice noise of a million pixels or
more is not at least 2 times as fast as the other on one thread (3.5 times without the image), if memory exceeds
`--limit` or grows with n, or if a plain form gives another result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmarks import machine
from smoothseg import weights
from smoothseg.components.plugins import plugins
from smoothseg.networks import seeds, standard_normal
from smoothseg.protocols import Trainable
from smoothseg.smoothing import base_model, geometry, lattice
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.noise import NoisyImage
from smoothseg.smoothing.sampling import Draw
from smoothseg.smoothing.votes import Votes

NETWORKS = ("denoiser", "segmenter")
STAGES = ("noise", "resizing", "denoiser", "segmenter", "upsampling + argmax", "voting")
MEGABYTE = 2**20


class Stopwatch:
    """Adds up the time of each stage; what a stage calls that is a stage itself is taken off it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within: list[float] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, its time counted under `stage`."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self._within.append(0.0)
            start = self.clock()
            try:
                return function(*arguments, **options)
            finally:
                spent = self.clock() - start
                self.seconds[stage] += spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent

        return call

    @contextlib.contextmanager
    def watching(self, model: BaseModel) -> Iterator[None]:
        """Count every stage of `model` and of the sampling around it until the block ends."""
        places = (
            (NoisyImage, "samples"),
            (base_model, "resize"),
            (type(model.denoiser), "denoise"),
            (type(model.segmenter), "segment"),
            (geometry, "labels"),
            (Votes, "add"),
        )
        with contextlib.ExitStack() as stack:
            for stage, (owner, name) in zip(STAGES, places, strict=True):
                timed = self.timed(stage, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, timed))
            yield


@dataclasses.dataclass(frozen=True)
class GreyLevels:
    """Scores each class by how near a cell's brightness is to its grey: a segmenter that takes next to no memory."""

    count: int

    @property
    def classes(self) -> tuple[str, ...]:
        """`class-0`, `class-1`, ..."""
        return names(self.count)

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (B, C, h, w) of cells of 4 x 4 pixels."""
        cells = F.avg_pool2d(images, 4, ceil_mode=True).mean(dim=1, keepdim=True)
        return -(cells - torch.linspace(0.3, 0.7, self.count).view(1, -1, 1, 1)).abs()


def names(count: int) -> tuple[str, ...]:
    """Return `count` class names."""
    return tuple(f"class-{i}" for i in range(count))


def picture(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return an image (H, W, 3) of smooth gradients, so that there are regions and borders."""
    rows, columns = np.linspace(0, 6, height)[:, None, None], np.linspace(0, 9, width)[:, None]
    waves = np.sin(rows + np.arange(3)) * np.cos(columns - np.arange(3))
    return (127.5 + 127.5 * waves).astype(np.uint8)


def untrained(kind: str, spec: str, classes: tuple[str, ...], folder: Path) -> Any:
    """Return the component `spec`, with an untrained network for `classes` if it can be trained."""
    recipe = plugins()[kind].recipe(spec)
    trainable = isinstance(recipe, Trainable)
    if not trainable:
        return recipe.load("cpu")
    network = recipe.network(None if kind == "denoiser" else classes)
    path = folder / f"{kind}-{len(classes)}.safetensors"
    weights.save(
        path,
        network.state_dict(),
        network=plugins()[kind].name_of(recipe),
        config=network.config,
        classes=None if kind == "denoiser" else classes,
    )
    return dataclasses.replace(recipe, weights=str(path)).load("cpu")


def split(
    model: BaseModel, image: npt.NDArray[np.uint8], *, sigma: float, samples: int, clock: Callable[[], float]
) -> tuple[float, Mapping[str, float]]:
    """Return the seconds of the fastest of `samples` noise samples, and of each of its stages."""
    watch = Stopwatch(clock)
    ticks: list[tuple[float, Mapping[str, float]]] = []

    def tick(_: int) -> None:
        ticks.append((clock(), watch.seconds.copy()))

    draw = Draw(model, image, "benchmark", sigma=sigma, seed=0, progress=tick)
    with watch.watching(model):
        draw(samples + 1)  # the first is for caches to fill
    taken = [
        (after - before, {stage: late[stage] - early[stage] for stage in STAGES})
        for (before, early), (after, late) in itertools.pairwise(ticks)
    ]
    return min(taken, key=lambda sample: sample[0])


def beside(
    model: BaseModel, image: npt.NDArray[np.uint8], *, sigma: float, repeats: int, clock: Callable[[], float]
) -> list[tuple[str, str, float, float]]:
    """Return (step, plain form, seconds here, seconds of the plain form) of steps that have a plain form.

    Raises `SystemExit` if the two differ: votes in any pixel, labels in more than one of a thousand, where
    rounding can decide between classes of nearly equal score.
    """
    size, classes = image.shape[:2], len(model.segmenter.classes)
    copies = NoisyImage(image, "benchmark", sigma=sigma, seed=0)
    noisy = copies.samples([0])
    with torch.inference_mode():
        scores = model.segmenter.segment(model.denoised(noisy, sigma, seeds=[0]))
    labels = geometry.labels(scores, (size[0], size[1]))
    clean = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    stored = labels.repeat(4, 1, 1)
    pixels = torch.arange(labels.numel())

    def votes(added: torch.Tensor) -> torch.Tensor:
        counted = Votes(classes, (size[0], size[1]), capacity=len(added))
        counted.add(added)
        return counted.counts

    total = Votes(classes, (size[0], size[1]), capacity=2**15 - 1)
    steps: list[tuple[str, str, Callable[[], Any], Callable[[], Any], int]] = [
        (
            "noise",
            "image + sigma * torch.randn",
            lambda: copies.samples([1]),
            lambda: clean.float().div(255) + sigma * torch.randn(1, *clean.shape),
            1,
        ),
        (
            "upsampling + argmax",
            "F.interpolate(scores).argmax(1)",
            lambda: geometry.labels(scores, (size[0], size[1])),
            lambda: F.interpolate(scores, size=size, mode="bilinear", align_corners=False).argmax(1),
            1,
        ),
        (
            "voting",
            "F.one_hot(labels).sum(0)",
            lambda: total.add(labels),
            lambda: F.one_hot(labels.long(), classes).sum(0),
            1,
        ),
        (
            "voting",
            "torch.bincount of 4 stored label maps",
            lambda: total.add(stored),
            lambda: torch.bincount(
                (stored.long() * labels.numel()).flatten(1).add(pixels).ravel(),
                minlength=classes * labels.numel(),
            ),
            4,
        ),
    ]
    apart = float((steps[1][2]() != steps[1][3]()).float().mean())
    if apart > 0.001:
        sys.exit(f"labels differ from the plain form's at {100 * apart:.2f} % of the pixels")
    same = torch.equal(votes(labels).long(), steps[2][3]().permute(2, 0, 1))
    if not (same and torch.equal(votes(stored).long().ravel(), steps[3][3]())):
        sys.exit("votes differ from the plain form's")
    rows = []
    for step, plain, ours, theirs, count in steps:
        times: dict[Callable[[], Any], list[float]] = {ours: [], theirs: []}
        for _ in range(repeats):
            for function, seconds in times.items():
                start = clock()
                function()
                seconds.append((clock() - start) / count)
        rows.append((step, plain, min(times[ours]), min(times[theirs])))
    return rows


def noises(
    image: npt.NDArray[np.uint8], *, sigma: float, repeats: int, clock: Callable[[], float]
) -> dict[str, tuple[float, float]]:
    """Return the seconds of one sample's noise, (lattice, gaussian): the numbers alone, and the noisy image."""
    kinds = {
        kind: NoisyImage(image, "benchmark", sigma=sigma, seed=0, kind=kind)
        for kind in ("lattice", "gaussian")
    }
    law, own = lattice.law(sigma), seeds(0, "benchmark", range(repeats), purpose="noise")
    forms: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
        "numbers alone": (
            lambda i: lattice.draw([own[i]], image.size, law),
            lambda i: standard_normal([own[i]], (image.size,)),
        ),
        "noisy image": (
            lambda i: kinds["lattice"].samples([i]),
            lambda i: kinds["gaussian"].samples([i]),
        ),
    }
    fastest = {}
    for form, pair in forms.items():
        times: list[list[float]] = [[], []]
        for i in range(repeats):
            for function, seconds in zip(pair, times, strict=True):
                start = clock()
                function(i)
                seconds.append(clock() - start)
        fastest[form] = min(times[0]), min(times[1])
    return fastest


def peak(size: tuple[int, int], classes: int, sigma: float, scale: float, n: int | None) -> tuple[int, float]:
    """Return the peak memory of this process in bytes and the seconds, after certifying one image with `n` samples.

    With `n` None nothing is certified; all that is imported and loaded is the same.
    """
    torch.set_num_threads(1)
    certifier = plugins()["certifier"].recipe(f"holm:n0=10,n={n or 1}").load()
    model = BaseModel(
        plugins()["denoiser"].recipe("identity").load("cpu"), GreyLevels(classes), Geometry(scale)
    )
    start = time.perf_counter()
    if n is not None:
        certifier.certify(Draw(model, picture(*size), "benchmark", sigma=sigma, seed=0))
    return machine.high_water(), time.perf_counter() - start


def in_own_process(*arguments: Any) -> tuple[int, float]:
    """Return `peak(*arguments)` of a process of its own, which inherits no memory of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak, *arguments).result()


def show(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, text: int = 1) -> None:
    """Print a table; all columns but the first `text` are numbers."""
    rules = ["---"] * text + ["---:"] * (len(head) - text)
    for row in (head, tuple(rules), *rows):
        click.echo(f"| {' | '.join(row)} |")
    click.echo()


def show_time(total: float, stages: Mapping[str, float]) -> float:
    """Print where the time of a sample went; return the share of what is no network."""
    rest = total - sum(stages.values())
    rows = [(stage, seconds) for stage, seconds in stages.items()]
    rows += [("remainder (loop, checks, seeds)", rest), ("sample", total)]
    outside = total - sum(stages[stage] for stage in NETWORKS)
    rows.append(("all but the networks", outside))
    show(
        ("stage", "ms a sample", "share"),
        [(stage, f"{1000 * seconds:.2f}", f"{100 * seconds / total:.1f} %") for stage, seconds in rows],
    )
    return outside / total


def show_memory(
    size: tuple[int, int], classes: int, sigma: float, scale: float, counts: tuple[int, ...]
) -> list[int]:
    """Measure and print the peak memory with each number of samples; return how far each is above the imports."""
    imports, _ = in_own_process(size, classes, sigma, scale, None)
    above = []
    rows = [("imports only", f"{imports / MEGABYTE:.0f}", "", "", "")]
    for n in counts:
        most, seconds = in_own_process(size, classes, sigma, scale, n)
        above.append(most - imports)
        maps = n * size[0] * size[1] / MEGABYTE
        rows.append(
            (
                f"n = {n}",
                f"{most / MEGABYTE:.0f}",
                f"{above[-1] / MEGABYTE:.0f}",
                f"{maps:.0f}",
                f"{seconds:.0f}",
            )
        )
    click.echo(f"{size[0]} x {size[1]}, {classes} classes, holm with n0 = 10, one process each\n")
    show(("peak memory", "MiB", "above imports", "n label maps would be", "seconds"), rows)
    return above


def width_by_height(text: str) -> tuple[int, int]:
    """Return the two numbers of `WIDTHxHEIGHT`."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"expected WIDTHxHEIGHT such as 480x360, got {text}")
    return int(width), int(height)


@click.command()
@click.option(
    "--size",
    "sizes",
    type=width_by_height,
    metavar="WIDTHxHEIGHT",
    multiple=True,
    default=("480x360", "2048x1024"),
    show_default=True,
)
@click.option("--classes", type=click.IntRange(2), multiple=True, default=(11, 19), show_default=True)
@click.option("--samples", type=click.IntRange(1), default=5, show_default=True, help="The fastest counts.")
@click.option("--denoiser", default="adm:architecture=small", show_default=True)
@click.option("--segmenter", default="hrnet:width=w18-small", show_default=True)
@click.option("--sigma", type=float, default=0.25, show_default=True)
@click.option("--scale", type=float, default=0.5, show_default=True)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Above 1: elapsed time."
)
@click.option("--time/--no-time", "timing", default=True, show_default=True)
@click.option("--memory/--no-memory", default=True, show_default=True)
@click.option(
    "--memory-samples",
    type=click.IntRange(1),
    multiple=True,
    default=(10, 100),
    show_default=True,
    help="Values of n whose peak memory is compared, at the largest size.",
)
@click.option("--share", type=float, default=10, show_default=True, help="Most percent that is no network.")
@click.option("--limit", type=float, default=1.5e9, show_default=True, help="Most bytes above the imports.")
def main(
    sizes: tuple[tuple[int, int], ...],
    classes: tuple[int, ...],
    samples: int,
    denoiser: str,
    segmenter: str,
    sigma: float,
    scale: float,
    threads: int,
    timing: bool,
    memory: bool,
    memory_samples: tuple[int, ...],
    share: float,
    limit: float,
) -> None:
    """Measure time and memory of noise samples, print tables, and fail if a requirement is missed."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    unit = "processor time" if threads == 1 else "elapsed time"
    click.echo(machine.header("benchmarks.sampling"))
    missed = []
    if timing:
        click.echo(f"{denoiser} and {segmenter}, scale {scale}, sigma {sigma}, {threads} thread(s), {unit}\n")
        with tempfile.TemporaryDirectory() as folder:
            for count in classes:
                parts = [
                    untrained(kind, spec, names(count), Path(folder))
                    for kind, spec in (("denoiser", denoiser), ("segmenter", segmenter))
                ]
                model = BaseModel(parts[0], parts[1], Geometry(scale))
                for width, height in sizes:
                    where = f"{width} x {height}, {count} classes"
                    click.echo(f"{where}\n")
                    image = picture(width, height)
                    outside = show_time(*split(model, image, sigma=sigma, samples=samples, clock=clock))
                    if 100 * outside > share:
                        missed.append(f"{where}: {100 * outside:.1f} % of a sample is no network")
                    show(
                        ("step", "plain form", "ms here", "ms plain", "plain / here"),
                        [
                            (
                                step,
                                plain,
                                f"{1000 * ours:.2f}",
                                f"{1000 * theirs:.2f}",
                                f"{theirs / ours:.1f}",
                            )
                            for step, plain, ours, theirs in beside(
                                model, image, sigma=sigma, repeats=samples, clock=clock
                            )
                        ],
                        text=2,
                    )
        for width, height in sizes:
            click.echo(f"noise of a sample, {width} x {height}\n")
            found = noises(picture(width, height), sigma=sigma, repeats=max(samples, 10), clock=clock)
            show(
                ("noise", "ms lattice", "ms gaussian", "gaussian / lattice"),
                [
                    (form, f"{1000 * ours:.2f}", f"{1000 * theirs:.2f}", f"{theirs / ours:.2f}")
                    for form, (ours, theirs) in found.items()
                ],
            )
            if threads == 1 and width * height >= 2**20:
                missed += [
                    f"lattice noise, {form}: {theirs / ours:.2f} times as fast, not {times}"
                    for (form, (ours, theirs)), times in zip(found.items(), (3.5, 2), strict=True)
                    if theirs < times * ours
                ]
    if memory:
        largest = max(sizes, key=math.prod)
        above = show_memory(largest, max(classes), sigma, scale, memory_samples)
        if max(above) > limit:
            missed.append(f"sampling takes {max(above) / 1e9:.2f} GB")
        if max(above) - min(above) > 16 * MEGABYTE:
            missed.append(
                f"memory differs by {(max(above) - min(above)) / MEGABYTE:.0f} MiB between values of n"
            )
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
