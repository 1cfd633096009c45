"""Where the time of an image goes on a GPU, at full size: noise, networks, votes, test.

    python -m benchmarks.gpu --minutes 6 --output gpu.json
    python -m benchmarks.gpu --device cpu --quick

Every time is elapsed time between two synchronisations of the device, after a warm-up, over inputs that change from
call to call; what is shown is the median. TF32 and autotuning are off, as in a run. Networks that are not packaged
have random weights, which cost what trained ones cost. A batch of the denoiser goes through its network at once (the
option `rows`); a segmenter sees one row at a time, whatever the batch.

Seconds an image are (n0 + n) times a sample's noise, denoising, segmentation and votes, and once the mode, the hits
and the test. They are compared with those of the same networks in float32 at batch size 1 on the same device. The last
parts draw whole certificates, against which the sums can be held.

Each part is a process of its own: one that fails, or takes more than half of the time left, is reported as such, and
the others go on. `--output` is rewritten after each part.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from benchmarks import machine
from benchmarks.sampling import names, picture, show
from smoothseg import SmoothsegError, networks
from smoothseg.components.plugins import plugins
from smoothseg.machine import devices
from smoothseg.smoothing import geometry, lattice
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.noise import NoisyImage
from smoothseg.smoothing.sampling import Draw
from smoothseg.smoothing.votes import Votes

GIGABYTE = 1e9
KEY = "benchmark"
SIGMA = 0.25
NOISE = (
    "lattice noise, integers alone",
    "lattice noise, noisy image",
    "gaussian noise, drawn on the CPU",
    "its copy to the device",
    "gaussian noise, noisy image",
)
"""The rows of noise; the second is what a run does."""

DENOISERS = {"adm-small": "the packaged small ADM", "adm-256": "ADM 256, unconditional"}
SEGMENTERS = {
    "hrnet-small": "the packaged small HRNet",
    "hrnet-w48": "HRNet-W48",
    "vit-adapter-large": "ViT-Adapter, BEiT-L, windows of 896",
}
PAIRS = (
    ("adm-small", "hrnet-small"),
    ("adm-256", "hrnet-w48"),
    ("adm-256", "vit-adapter-large"),
)
PARTS = (
    "steps",
    "adm-small",
    "hrnet-small",
    "adm-256",
    "hrnet-w48",
    "vit-adapter-large",
    *("+".join(pair) for pair in PAIRS),
)
"""What is measured, in this order: what matters most comes first."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and how: sizes in pixels, `cap` in seconds a measurement."""

    device: str
    height: int
    width: int
    scale: float
    n0: int
    n: int
    batches: tuple[int, ...]
    repeats: int
    cap: float

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.height, self.width

    @property
    def orders(self) -> list[tuple[str, int]]:
        """Precision and batch size of each measurement of a network, the baseline first."""
        first, *others = self.batches
        return [
            ("float32", first),
            *(("bfloat16", batch) for batch in self.batches),
            *(("float32", batch) for batch in others),
        ]


def synchronised(device: torch.device) -> float:
    """Return the time at which all that was given to `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(call: Callable[[int], object], settings: Settings, device: torch.device) -> Row:
    """Return median, shortest and longest seconds of `call`, how many there were, and the peak of the memory.

    `call` is handed 0, 1, 2, ..., so that it can take another input each time; the first call counts for nothing. There
    are `repeats` of them after that, fewer if together they take longer than `cap`, but two.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    call(0)
    seconds: list[float] = []
    for i in range(1, settings.repeats + 1):
        begun = synchronised(device)
        call(i)
        seconds.append(synchronised(device) - begun)
        if len(seconds) > 1 and sum(seconds) > settings.cap:
            break
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else machine.high_water()
    return {
        "seconds": statistics.median(seconds),
        "shortest": min(seconds),
        "longest": max(seconds),
        "repeats": len(seconds),
        "peak_bytes": peak,
    }


# Networks


def filled(network: nn.Module) -> nn.Module:
    """Return `network` without parameters that are zero throughout: a GPU multiplies zeros at less power, so faster."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and not bool(parameter.any()):
                nn.init.normal_(parameter, std=0.02)
    return network


def build(name: str, device: torch.device) -> tuple[Callable[[str, int], Any], int]:
    """Return what makes the component `name` of a precision and a number of rows, and its parameters' number.

    The component takes over the network of the one before it, which is then of no more use.
    """
    if name in ("adm-small", "hrnet-small"):
        kind, plugin = ("denoiser", "adm") if name == "adm-small" else ("segmenter", "hrnet")

        def packaged(precision: str, rows: int) -> Any:
            many = f",rows={rows}" if kind == "denoiser" else ""
            recipe = plugins()[kind].recipe(f"{plugin}:weights=streets,precision={precision}{many}")
            return recipe.load(device)

        state = plugins()[kind].recipe(f"{plugin}:weights=streets").converted().state
        return packaged, sum(tensor.numel() for tensor in state.values())

    with torch.device(device):
        if name == "adm-256":
            from smoothseg_adm import ADMRecipe
            from smoothseg_adm.architecture import PRESETS
            from smoothseg_adm.denoiser import ADMDenoiser
            from smoothseg_adm.network import ADM

            adm = ADM(PRESETS["256-uncond"])
            network: nn.Module = adm

            def component(precision: Any, rows: int) -> Any:
                return ADMDenoiser(adm, ADMRecipe(precision=precision, rows=rows), digests={})

        elif name == "hrnet-w48":
            from smoothseg_hrnet.config import named
            from smoothseg_hrnet.network import HRNet
            from smoothseg_hrnet.segmenter import HRNetSegmenter

            hrnet = HRNet(named("w48", 19))
            network = hrnet

            def component(precision: Any, rows: int) -> Any:
                return HRNetSegmenter(
                    hrnet, classes=names(19), digests={}, precision=precision, device=device, fit="pad"
                )

        else:
            from smoothseg_vit_adapter import VitAdapterRecipe
            from smoothseg_vit_adapter.architecture import PRESETS as SIZES
            from smoothseg_vit_adapter.network import ViTAdapterNetwork
            from smoothseg_vit_adapter.segmenter import VitAdapterSegmenter

            vit = ViTAdapterNetwork(SIZES["large-896-mask2former"])
            network = vit

            def component(precision: Any, rows: int) -> Any:
                recipe = VitAdapterRecipe(precision=precision)
                return VitAdapterSegmenter(vit, recipe, classes=names(19), digests={}, device=device)

    return component, sum(parameter.numel() for parameter in filled(network).parameters())


# Parts


def steps(settings: Settings, device: torch.device) -> Iterator[Row]:
    """Give the times of what is no network: by batch what a sample takes, and once what an image takes."""
    image = picture(settings.width, settings.height)
    shape = (3, *settings.size)
    copies = NoisyImage(image, KEY, sigma=SIGMA, seed=0, device=device)
    gaussian = NoisyImage(image, KEY, sigma=SIGMA, seed=0, kind="gaussian", device=device)
    law = lattice.law(SIGMA, device)
    small = Geometry(settings.scale).size(*settings.size)

    def seeds(i: int, batch: int) -> list[int]:
        return networks.seeds(0, KEY, range(i * batch, (i + 1) * batch), purpose="noise")

    def noisy(i: int, batch: int) -> torch.Tensor:
        return copies.samples(range(i * batch, (i + 1) * batch))

    for batch in settings.batches:
        made = [noisy(i, batch) for i in range(2)]
        on_cpu = [each.cpu() for each in made]
        sampled: dict[str, Callable[[int], object]] = {
            NOISE[0]: lambda i, batch=batch: lattice.draw(seeds(i, batch), math.prod(shape), law),
            NOISE[1]: lambda i, batch=batch: noisy(i, batch),
            NOISE[2]: lambda i, batch=batch: networks.standard_normal(seeds(i, batch), shape),
            NOISE[3]: lambda i, on_cpu=on_cpu: on_cpu[i % 2].to(device, copy=True),
            NOISE[4]: lambda i, batch=batch: gaussian.samples(range(i * batch, (i + 1) * batch)),
            "resizing": lambda i, made=made: networks.resize(made[i % 2], small),
        }
        for name, call in sampled.items():
            yield {"what": name, "batch": batch, **measure(call, settings, device)}
    for classes in (11, 19):
        yield from counting(classes, settings, device)


def counting(classes: int, settings: Settings, device: torch.device) -> Iterator[Row]:
    """Give the times of votes for so many classes by batch, and of what an image takes once they are counted."""
    drawing = np.random.Generator(np.random.Philox(3))

    def labels(batch: int) -> torch.Tensor:
        maps = drawing.integers(0, classes, (batch, *settings.size), dtype=np.uint8)
        return torch.from_numpy(maps).to(device)

    total = Votes(classes, settings.size, capacity=2**15 - 1, device=device)
    for batch in settings.batches:
        maps = [labels(batch) for _ in range(3)]
        yield {
            "what": "votes",
            "classes": classes,
            "batch": batch,
            **measure(lambda i, maps=maps: total.add(maps[i % 3]), settings, device),
        }
    likely = labels(1)
    drawn = [Votes(classes, settings.size, capacity=settings.n, device=device) for _ in range(2)]
    for votes in drawn:
        for _ in range(settings.n):
            strays = torch.from_numpy(drawing.random((1, *settings.size), dtype=np.float32) < 0.1).to(device)
            votes.add(torch.where(strays, labels(1), likely))
    certifier = plugins()["certifier"].recipe(f"holm:n0={settings.n0},n={settings.n}").load()
    predictions = [votes.mode() for votes in drawn]
    hits = [votes.hits(prediction) for votes, prediction in zip(drawn, predictions, strict=True)]
    once: dict[str, Callable[[int], object]] = {
        "mode": lambda i: drawn[i % 2].mode(),
        "hits": lambda i: drawn[i % 2].hits(predictions[i % 2]),
        "test, on the CPU": lambda i: certifier.decide(hits[i % 2], settings.n, sigma=SIGMA),
    }
    for name, call in once.items():
        yield {"what": name, "classes": classes, **measure(call, settings, device)}


def network(name: str, settings: Settings, device: torch.device) -> Iterator[Row]:
    """Give the times of one network by precision and batch: of denoising, or of scores and the labels at full size."""
    small = Geometry(settings.scale).size(*settings.size)
    told = Geometry(settings.scale).sigma_told(SIGMA, *settings.size)
    image = picture(settings.width, settings.height)
    most = max(settings.batches)
    inputs = [
        networks.resize(
            NoisyImage(image, KEY, sigma=SIGMA if name in DENOISERS else 0.02, seed=0, device=device).samples(
                range(i * most, (i + 1) * most)
            ),
            small,
        )
        for i in range(3)
    ]
    make, count = build(name, device)
    for precision, batch in settings.orders:
        row: Row = {"what": name, "parameters": count, "precision": precision, "batch": batch}
        component = make(precision, batch)

        @torch.inference_mode()
        def call(i: int, component: Any = component, batch: int = batch) -> torch.Tensor:
            images = inputs[i % len(inputs)][:batch]
            if name in DENOISERS:
                return component.denoise(images, told, seeds=range(batch))
            return geometry.labels(component.segment(images), settings.size)

        try:
            finite = bool(torch.isfinite(call(0)).all())
            yield {**row, **measure(call, settings, device), "finite": finite}
        except Exception as error:  # such as too little memory; the next may fit
            yield {**row, "error": described(error)}
        finally:
            del component, call
            if device.type == "cuda":
                torch.cuda.empty_cache()


def certificate(denoiser: str, segmenter: str, settings: Settings, device: torch.device) -> Iterator[Row]:
    """Give the seconds of whole certificates of one image, drawn as a run draws them; of the large in bfloat16 only."""
    image = picture(settings.width, settings.height)
    certifier = plugins()["certifier"].recipe(f"holm:n0={settings.n0},n={settings.n}").load()
    first, second = build(denoiser, device)[0], build(segmenter, device)[0]
    least, most = settings.batches[0], settings.batches[-1]
    chosen = [("bfloat16", most)]
    if denoiser == "adm-small":
        chosen = [("float32", least), ("bfloat16", most), ("bfloat16", least), ("float32", most)]
    for precision, batch in chosen:
        model = BaseModel(first(precision, batch), second(precision, 1), Geometry(settings.scale))

        def draw(key: str, model: BaseModel = model, batch: int = batch) -> Draw:
            return Draw(model, image, key, sigma=SIGMA, seed=0, batch_size=batch, device=device)

        draw("warm-up")(2 * batch)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begun = synchronised(device)
        result = certifier.certify(draw(KEY))
        seconds = synchronised(device) - begun
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else machine.high_water()
        yield {
            "what": f"{denoiser}+{segmenter}",
            "precision": precision,
            "batch": batch,
            "samples": certifier.samples,
            "seconds": seconds,
            "repeats": 1,
            "peak_bytes": peak,
            "abstained": result.abstained,
        }


def described(error: BaseException) -> str:
    """Return an error in one short line that has its place in a table."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first[:120]}".replace("|", "/")


def work(part: str, settings: Settings, pipe: Connection) -> None:
    """Measure `part` and send its rows; the last message is None, or an error."""
    try:
        torch.manual_seed(0)
        device = devices.device(settings.device)
        for row in rows_of(part, settings, device):
            pipe.send({"part": part, **row})
        pipe.send(None)
    except BaseException as error:  # whatever it was, the other parts go on
        pipe.send({"part": part, "what": part, "error": described(error)})
        raise
    finally:
        pipe.close()


def rows_of(part: str, settings: Settings, device: torch.device) -> Iterator[Row]:
    """Give what is measured of `part`, row by row."""
    if part == "steps":
        return steps(settings, device)
    if "+" in part:
        return certificate(*part.split("+"), settings, device)
    return network(part, settings, device)


def parted(part: str, settings: Settings, limit: float) -> Iterator[Row]:
    """Give the rows of `part`, measured in a process of its own, which is ended after `limit` seconds."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(part, settings, theirs), daemon=True)
    end = time.perf_counter() + limit
    process.start()
    theirs.close()
    try:
        while True:
            if not ours.poll(max(0.0, end - time.perf_counter())):
                yield {"part": part, "what": part, "error": f"cut off after {limit:.0f} s"}
                return
            try:
                row = ours.recv()
            except EOFError:
                process.join(10)
                yield {"part": part, "what": part, "error": f"its process ended with {process.exitcode}"}
                return
            if row is None:
                return
            yield row
            if "error" in row and "precision" not in row:
                return
    finally:
        if process.is_alive():
            process.join(10)
        if process.is_alive():
            process.terminate()
        process.join()
        ours.close()


# Tables


class Results:
    """What was measured, to be looked up: None is what was not."""

    def __init__(self, rows: list[Row], settings: Settings) -> None:
        self.rows = rows
        self.settings = settings

    def row(self, what: str, **given: Any) -> Row | None:
        """Return the row of `what` with the values `given`, with or without an error."""
        wanted = {"what": what, **given}
        found = (
            row
            for row in self.rows
            if all(row.get(key) == value for key, value in wanted.items()) and "part" in row
        )
        return next(found, None)

    def seconds(self, what: str, **given: Any) -> float | None:
        """Return the median seconds of `what`, a sample where it has a batch."""
        row = self.row(what, **given)
        if row is None or "seconds" not in row:
            return None
        return float(row["seconds"]) / (1 if "samples" in row else row.get("batch", 1))

    def image(self, denoiser: str, segmenter: str, precision: str, batch: int) -> tuple[float, float] | None:
        """Return the seconds of an image, summed up, and the share of them that is noise."""
        classes = 11 if segmenter == "hrnet-small" else 19
        samples = [
            self.seconds(NOISE[1], batch=batch),
            self.seconds("resizing", batch=batch),
            self.seconds(denoiser, precision=precision, batch=batch),
            self.seconds(segmenter, precision=precision, batch=batch),
            self.seconds("votes", classes=classes, batch=batch),
        ]
        once = [self.seconds(name, classes=classes) for name in ("mode", "hits", "test, on the CPU")]
        drawn = self.seconds(NOISE[1], batch=batch)
        if drawn is None or None in samples or None in once:
            return None
        count = self.settings.n0 + self.settings.n
        total = count * math.fsum(filter(None, samples)) + math.fsum(filter(None, once))
        return total, count * drawn / total


def number(value: float | None, digits: int = 2, factor: float = 1.0) -> str:
    """Return `factor` times `value`, or nothing for None."""
    return "" if value is None else f"{factor * value:.{digits}f}"


def tables(results: Results) -> None:
    """Print what was measured."""
    settings = results.settings
    batches = settings.batches
    head = tuple(f"batch {batch}" for batch in batches)
    click.echo(f"\nWhat is no network, {settings.width}x{settings.height}: milliseconds a sample.\n")
    rows = [
        (name, *(number(results.seconds(name, batch=batch), 3, 1000) for batch in batches))
        for name in (*NOISE, "resizing")
    ]
    rows += [
        (
            f"votes, {classes} classes",
            *(number(results.seconds("votes", classes=classes, batch=batch), 3, 1000) for batch in batches),
        )
        for classes in (11, 19)
    ]
    show(("step", *head), rows)
    click.echo("Milliseconds an image.\n")
    show(
        ("step", "11 classes", "19 classes"),
        [
            (name, *(number(results.seconds(name, classes=classes), 3, 1000) for classes in (11, 19)))
            for name in ("mode", "hits", "test, on the CPU")
        ],
    )
    height, width = Geometry(settings.scale).size(*settings.size)
    click.echo(f"Networks at {width}x{height}, labels at full size: milliseconds a sample.\n")
    rows = []
    for name, precision in itertools.product((*DENOISERS, *SEGMENTERS), ("float32", "bfloat16")):
        cells = []
        there = [results.row(name, precision=precision, batch=batch) for batch in batches]
        for row, batch in zip(there, batches, strict=True):
            error = None if row is None else row.get("error")
            cells.append(error or number(results.seconds(name, precision=precision, batch=batch), 2, 1000))
        measured = [row for row in there if row is not None and "peak_bytes" in row]
        count = f"{measured[0]['parameters']:,}" if measured else ""
        peak = number(max((row["peak_bytes"] for row in measured), default=None), 2, 1 / GIGABYTE)
        rows.append(({**DENOISERS, **SEGMENTERS}[name], precision, count, *cells, peak))
    show(("network", "precision", "parameters", *head, "GB at the peak"), rows, text=2)
    click.echo(f"Seconds an image, n0 = {settings.n0}, n = {settings.n}.\n")
    rows = []
    for (denoiser, segmenter), precision, batch in itertools.product(PAIRS, ("float32", "bfloat16"), batches):
        summed = results.image(denoiser, segmenter, precision, batch)
        base = results.image(denoiser, segmenter, "float32", batches[0])
        whole = results.seconds(f"{denoiser}+{segmenter}", precision=precision, batch=batch)
        if summed is None and whole is None:
            continue
        rows.append(
            (
                f"{denoiser} + {segmenter}",
                precision,
                str(batch),
                number(None if summed is None else summed[0]),
                number(None if summed is None or base is None else base[0] / summed[0]),
                number(None if summed is None else summed[1], 1, 100),
                number(whole),
            )
        )
    show(
        (
            *("base model", "precision", "batch", "seconds, summed up", "times as fast as float32, batch 1"),
            *("% noise", "seconds, a whole certificate"),
        ),
        rows,
        text=2,
    )
    failed = [row for row in results.rows if "error" in row]
    if failed:
        click.echo("What failed.\n")
        show(
            ("part", "of it", "error"),
            [
                (row["part"], f"{row.get('precision', '')} {row.get('batch', '')}".strip(), row["error"])
                for row in failed
            ],
            text=3,
        )


def surroundings(device: torch.device) -> Mapping[str, Any]:
    """Return what the numbers depend on besides the code."""
    return {
        "device": devices.describe(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "processor": machine.processor(),
        "cores": machine.cores(),
        "threads": torch.get_num_threads(),
    }


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option(
    "--quick", is_flag=True, help="Small images and few repeats: whether it works, not how fast it is."
)
@click.option("--minutes", type=float, default=6.0, show_default=True, help="After these no part begins.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Default: all, in this order.")
@click.option("--scale", default=0.5, show_default=True, help="What the networks see over the image's size.")
@click.option("--output", type=click.Path(path_type=Path), help="JSON file of everything measured.")
def main(
    device: str, quick: bool, minutes: float, parts: tuple[str, ...], scale: float, output: Path | None
) -> None:
    """Measure each part and print tables."""
    end = time.perf_counter() + 60 * minutes
    settings = Settings(device, 1024, 2048, scale, 10, 100, (1, 4, 8), repeats=15, cap=2.5)
    if quick:
        settings = dataclasses.replace(
            settings, height=64, width=128, n0=2, n=6, batches=(1, 2), repeats=2, cap=0.5
        )
    try:
        around = surroundings(devices.device(device))
    except SmoothsegError as error:
        raise click.ClickException(str(error)) from None
    click.echo(machine.header("benchmarks.gpu"))
    click.echo(f"{around['device']}, CUDA {around['cuda']}, cuDNN {around['cudnn']}, TF32 off")
    rows: list[Row] = []
    for part in parts or PARTS:
        begun = time.perf_counter()
        if end <= begun:
            rows.append({"part": part, "what": part, "error": f"{minutes:g} minutes were over"})
            continue
        for row in parted(part, settings, (end - begun) / (1 if part == (parts or PARTS)[-1] else 2)):
            rows.append(row)
            shown = {key: value for key, value in row.items() if key not in ("part", "parameters")}
            click.echo(f"{part}: {json.dumps(shown)}", err=True)
        click.echo(f"{part}: done in {time.perf_counter() - begun:.1f} s", err=True)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            written = {"machine": around, "settings": dataclasses.asdict(settings), "rows": rows}
            output.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    tables(Results(rows, settings))


if __name__ == "__main__":
    main()
