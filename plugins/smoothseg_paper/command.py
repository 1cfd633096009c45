"""`smoothseg reproduce`: execute the runs of a table and show it with the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothseg.cli.report import FORMAT_NAMES

if TYPE_CHECKING:
    from smoothseg_paper.experiments import Experiment, Part

__all__ = ["reproduce"]


@click.command()
@click.argument("table")
@click.option("--dataset", help="Dataset that the table is made on.  [default: streets]")
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
@click.option(
    "--noise",
    type=click.Choice(["lattice", "gaussian"]),
    help="Kind of noise, as for certify.  [default: lattice]",
)
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
@click.option("--timeout", type=float, help="Seconds that one certificate may take.  [default: none]")
@click.option("--retry-failed", is_flag=True, help="Try images once more that failed before.")
@click.option("--verbose", "-v", is_flag=True, help="Say what is being done.")
@click.option("--quiet", "-q", is_flag=True, help="Print the result and errors alone.")
@click.option("--dry-run", is_flag=True, help="Show what would be run and what it costs, and run nothing.")
@click.option(
    "--measure",
    is_flag=True,
    help="Time a noise sample of every method first, and say how long all of it takes.",
)
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
    dataset: str | None,
    root: str | None,
    geometry: str,
    only: tuple[str, ...],
    batch_size: int,
    threads: int | None,
    output: Path | None,
    timeout: float | None,
    retry_failed: bool,
    dry_run: bool,
    measure: bool,
    form: str,
    verbose: bool,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Make a table of the DenoiseCertify paper, run by run.

    TABLE is table1 (certified accuracy), table2 (scales), table3 (single step and chain), or a YAML file of your own of
    the same form as those in the folder tables of smoothseg_paper. The plan and its cost come first; what is finished
    is not done again, and the table shows every run that the output folder holds, beside the published numbers. Runs
    can be spread over processes and machines with --only and one output folder.

    \b
    Examples:
      smoothseg reproduce table1
      smoothseg reproduce table2 --dataset camvid --root CamVid --every 20
      smoothseg reproduce table1 --dataset cityscapes --root PATH --dry-run
    """
    from smoothseg.cli.report import show
    from smoothseg.errors import ConfigError
    from smoothseg_paper import experiments

    if verbose and quiet:
        raise ConfigError("give --verbose or --quiet, not both")
    own = table.endswith((".yaml", ".yml"))
    if own and dataset is not None:
        raise ConfigError(f"{table} says itself which dataset it is about: leave --dataset out")
    path = Path(table) if own else experiments.find(table, dataset or "streets")
    experiment = experiments.read(path, overrides=overrides, root=root)
    wanted = experiments.GEOMETRIES if geometry == "both" else (geometry,)
    parts = experiments.select(experiment, geometries=wanted, only=only)
    experiments.check(parts)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    _show_plan(
        experiment,
        parts,
        strict=measure or not dry_run,
        measure=measure,
        batch_size=batch_size,
        aside=not dry_run,
    )
    if dry_run:
        return
    output = output or Path("runs") / path.stem
    from smoothseg.cli.certify import check_failed, resumable
    from smoothseg.cli.estimates import announce
    from smoothseg.report import running
    from smoothseg.runs import logs, preparing, resuming
    from smoothseg.terminal.progress import progress

    resuming.check_directory(output)

    def run(part: Part, directory: Path) -> None:
        with (
            progress(verbose=verbose, quiet=quiet) as track,
            logs.writing(directory / "log.txt", held=True),
        ):
            track.note(f"run {part.name}")
            prepared = preparing.prepare(part.plan, on_download=track.download)
            resuming.check_directory(directory)
            jobs = resuming.remaining(prepared, directory, retry_failed=retry_failed)
            announce(track, prepared, jobs, directory, batch_size, timeout)
            track.plan(prepared)
            running.run(
                prepared,
                directory,
                batch_size=batch_size,
                timeout=timeout,
                retry_failed=retry_failed,
                listener=track,
            )

    with resumable():
        experiments.execute(experiment, parts, output, run=run)
    show(experiments.rows(experiment, output), form)
    if not quiet:
        if experiment.source:
            click.echo(f"\npublished: {experiment.source}", err=True)
        click.echo(f"\ntables  {output}/table.md, table.tex, metrics.csv, metrics.json", err=True)
        click.echo(f"runs    {', '.join(str(output / part.name) for part in parts)}", err=True)
    for part in parts:
        check_failed(output / part.name)


def _show_plan(
    experiment: Experiment,
    parts: Sequence[Part],
    *,
    strict: bool,
    measure: bool,
    batch_size: int,
    aside: bool,
) -> None:
    """Print the runs to do, with their time if it is to be measured; `aside`: on stderr.

    strict: raise if the dataset is missing; otherwise assume its number of images.
    """
    from rich.console import Console

    from smoothseg.cli.estimates import show_methods
    from smoothseg.errors import DataError
    from smoothseg.runs.estimates import cost
    from smoothseg.terminal.progress import duration

    console = Console(highlight=False, stderr=aside)
    console.print(experiment.title, style="bold")
    total, seconds = 0, 0.0
    lengths: dict[Any, int | None] = {}  # loading a dataset can be slow: load each once
    for part in parts:
        if part.plan.dataset not in lengths:
            try:
                lengths[part.plan.dataset] = len(part.plan.dataset.load())
            except DataError as error:
                if strict:
                    raise
                lengths[part.plan.dataset] = None
                console.print(f"{error}", style="dim")
                console.print("100 images are assumed", style="dim")
        length = lengths[part.plan.dataset]
        images = len(part.plan.indices(100 if length is None else length))
        geometry = "" if part.geometry == "ours" else ", geometry of the paper's code"
        sigmas = ", ".join(f"{sigma:g}" for sigma in part.plan.sigma)
        console.print(f"{part.name}: {images} images, scale {part.plan.scale:g}, sigma {sigmas}{geometry}")
        pace = _pace(part, batch_size) if measure else {}
        listed = []
        for method in part.plan.methods:
            one = cost(part.plan, method, images)
            about = pace[method.slug] * one.samples if measure else None
            total += one.samples
            seconds += about or 0.0
            listed.append((method.name, one, about))
        show_methods(console, listed)
    told = f"{total} noise samples in all" + (
        f", about {duration(seconds)} on this machine" if measure else ""
    )
    console.print(told, style="dim")


def _pace(part: Part, batch_size: int) -> dict[str, float]:
    from smoothseg.runs import estimates, preparing
    from smoothseg.terminal.progress import progress

    with progress() as track:
        return estimates.pace(preparing.prepare(part.plan, on_download=track.download), batch_size=batch_size)
