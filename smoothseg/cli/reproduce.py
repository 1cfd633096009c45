"""`smoothseg reproduce`: the runs of a table, the table, and the published numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothseg.cli.report import FORMAT_NAMES

if TYPE_CHECKING:
    from smoothseg.experiments import Experiment, Part

__all__ = ["reproduce"]


@click.command()
@click.argument("table")
@click.option("--dataset", default="streets", show_default=True, help="Dataset that the table is made on.")
@click.option("--root", type=click.Path(file_okay=False), help="Folder of the dataset.")
@click.option(
    "--geometry",
    type=click.Choice(["ours", "paper", "both"]),
    default="ours",
    show_default=True,
    help="ours tells the denoiser the noise that resizing leaves; paper does what the published code does.",
)
@click.option("--only", multiple=True, help="Only the run of this name; repeat for several.")
@click.option("--images", type=click.IntRange(min=1), help="Certify at most so many images.")
@click.option("--every", type=click.IntRange(min=1), help="Certify every k-th image.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the noise.  [default: 0]")
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: auto]")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Noise samples at once."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; 1 where others compute too.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the runs.  [default: runs/TABLE-DATASET]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be run and what it costs, and run nothing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMAT_NAMES),
    default="table",
    show_default=True,
    help="How to print the result.",
)
def reproduce(
    table: str,
    dataset: str,
    root: str | None,
    geometry: str,
    only: tuple[str, ...],
    batch_size: int,
    threads: int | None,
    output: Path | None,
    dry_run: bool,
    form: str,
    **overrides: Any,
) -> None:
    """Make a table of the DenoiseCertify paper, run by run.

    TABLE is table1 (certified accuracy), table2 (scales), table3 (single step and chain), or a YAML file of your own of
    the same form as those in examples/paper. The plan and its cost come first; what is finished is not done again, and
    the table shows every run that the output folder holds, beside the published numbers. Runs can be spread over
    processes and machines with --only and one output folder.

    \b
    Examples:
      smoothseg reproduce table1
      smoothseg reproduce table2 --dataset camvid --root CamVid --every 20
      smoothseg reproduce table1 --dataset cityscapes --root cityscapes --geometry both --dry-run
    """
    from smoothseg import experiments
    from smoothseg.cli.report import show

    path = Path(table) if table.endswith((".yaml", ".yml")) else experiments.find(table, dataset)
    experiment = experiments.read(path, overrides=overrides, root=root)
    wanted = experiments.GEOMETRIES if geometry == "both" else (geometry,)
    parts = experiments.select(experiment, geometries=wanted, only=only)
    _show_plan(experiment, parts, counted=not dry_run)
    if dry_run:
        return
    output = output or Path("runs") / path.stem
    import torch

    from smoothseg import runs
    from smoothseg.cli.certify import resumable
    from smoothseg.cli.progress import progress

    runs.check_directory(output)
    if threads is not None:
        torch.set_num_threads(threads)

    def run(part: Part, directory: Path) -> None:
        with progress() as track:
            track.note(f"run {part.name}")
            prepared = runs.prepare(part.plan, on_download=track.download)
            track.plan(prepared)
            runs.execute(
                prepared, directory, batch_size=batch_size,
                on_start=track.start, on_samples=track.samples, on_done=track.done,
            )  # fmt: skip

    with resumable():
        experiments.execute(experiment, parts, output, run=run)
    show(experiments.rows(experiment, output), form)
    click.echo(f"\ntables  {output}/table.md, table.tex, metrics.csv, metrics.json", err=True)
    click.echo(f"runs    {', '.join(str(output / part.name) for part in parts)}", err=True)


def _show_plan(experiment: Experiment, parts: Sequence[Part], *, counted: bool) -> None:
    """Print what is to be run; the number of images is known where the dataset is there."""
    from rich.console import Console
    from rich.table import Table

    from smoothseg import experiments
    from smoothseg.errors import DataError

    console = Console(highlight=False, stderr=counted)
    console.print(experiment.title, style="bold")
    total = 0
    for part in parts:
        try:
            images = len(part.plan.indices(len(part.plan.dataset.load())))
        except DataError as error:
            if counted:
                raise
            images = part.plan.images or 100
            if part is parts[0]:
                console.print(f"{error}; {images} images are taken for granted", style="dim")
        geometry = "" if part.geometry == "ours" else ", geometry of the paper's code"
        sigmas = ", ".join(f"{sigma:g}" for sigma in part.plan.sigma)
        console.print(f"{part.name}: {images} images, scale {part.plan.scale:g}, sigma {sigmas}{geometry}")
        table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
        table.add_column("  method", min_width=33)
        for name in ("certificates", "noise samples", "denoiser passes"):
            table.add_column(name, justify="right")
        for method in part.plan.methods:
            one = experiments.cost(part, method, images)
            total += one.samples
            table.add_row(
                f"  {method.name}", str(one.certificates), str(one.samples), str(one.denoiser_passes)
            )
        console.print(table)
    console.print(f"{total} noise samples in all", style="dim")
