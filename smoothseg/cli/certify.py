"""`smoothseg certify`: certify a dataset and print the table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from smoothseg.cli.report import FORMAT_NAMES

__all__ = ["certify", "resumable"]


@click.command()
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML file of options."
)
@click.option("--dataset", help="Images to certify.  [default: streets:count=4]")
@click.option("--denoiser", multiple=True, help="Removes the noise; repeat to compare.  [default: adm]")
@click.option("--segmenter", multiple=True, help="Labels the pixels; repeat to compare.  [default: hrnet]")
@click.option(
    "--certifier", multiple=True, help="Votes, tests, abstains; repeat to compare.  [default: holm]"
)
@click.option(
    "--tau",
    help="Probability to exceed, for the certifier; several, as 0.6,0.75,0.9, are tested together.  [default: 0.75]",
)
@click.option(
    "--sigma", multiple=True, type=float, help="Noise in [0,1] pixel units; repeatable.  [default: 0.25]"
)
@click.option("--scale", type=float, help="Segmenter's input size over the image's.  [default: 0.5]")
@click.option(
    "--convention",
    type=click.Choice(["noise-aware", "paper"]),
    help="Tell the denoiser the noise left after resizing, or the noise before.  [default: noise-aware]",
)
@click.option(
    "--denoise-at",
    type=click.Choice(["scale", "full"]),
    help="Denoise after or before resizing.  [default: scale]",
)
@click.option("--images", type=click.IntRange(min=1), help="Certify at most so many images.  [default: all]")
@click.option("--every", type=click.IntRange(min=1), help="Certify every k-th image.  [default: 1]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the noise.  [default: 0]")
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: auto]")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Noise samples at once; changes the speed, never a count.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run directory.  [default: runs/NAME-DIGEST]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads; 1 where others compute too. A run that is taken up again keeps its number.",
)
@click.option("--fresh", is_flag=True, help="Start anew where the directory holds an earlier run.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be used, instead of stopping.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMAT_NAMES),
    default="table",
    show_default=True,
    help="How to print the result.",
)
def certify(
    config: Path | None,
    output: Path | None,
    batch_size: int,
    threads: int | None,
    fresh: bool,
    skip_bad: bool,
    form: str,
    tau: str | None,
    **options: Any,
) -> None:
    """Certify the segmentation of a dataset's images.

    Components are given as NAME or NAME:key=value,key=value; `smoothseg components` lists them. Options on the
    command line win over those in --config: a denoiser or segmenter given there replaces the file's methods, a
    certifier decides for all of them.

    A run is a directory: the same command takes up an interrupted run where it stopped, with the same result.

    \b
    Examples:
      smoothseg certify
      smoothseg certify --denoiser adm --denoiser identity --sigma 0.5
      smoothseg certify --dataset folder:root=photos --segmenter torchvision
    """
    from smoothseg.cli.report import show
    from smoothseg.errors import ConfigError
    from smoothseg.files import read_yaml
    from smoothseg.plan import Plan

    given = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    given = {key: value for key, value in given.items() if value not in (None, [])}
    values = {} if config is None else {k.replace("-", "_"): v for k, v in read_yaml(config).items()}
    if "methods" in values and ("denoiser" in given or "segmenter" in given):
        del values["methods"]
    elif "methods" in values and "certifier" in given:
        if len(given["certifier"]) > 1:
            raise ConfigError(
                "--config lists methods: give one --certifier for all of them, or name them in the file"
            )
        values["methods"] = [
            {**entry, "certifier": given["certifier"]} if isinstance(entry, dict) else entry
            for entry in values["methods"] or []
        ]
    values |= given
    if tau is not None:
        values = _with_tau(values, tau)
    plan = Plan.of(values)

    import hashlib
    import json

    from smoothseg.cli.progress import progress

    if output is None:
        text = json.dumps(plan.describe(), sort_keys=True)
        name = config.stem if config is not None else str(plan.describe()["dataset"]["name"])
        output = Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    plan.check_weights()  # before torch is imported: a misspelt name is told at once

    import torch

    from smoothseg import runs

    runs.check_directory(output)
    if threads is not None:
        torch.set_num_threads(threads)
    with resumable(fresh=fresh), progress() as track:
        track.stage("checking components and images")
        prepared = runs.prepare(plan, skip_bad=skip_bad, on_download=track.download)
        for problem in prepared.skipped.values():
            track.note(f"skipped: {problem}")
        track.plan(prepared)
        result = runs.execute(
            prepared,
            output,
            batch_size=batch_size,
            fresh=fresh,
            on_start=track.start,
            on_samples=track.samples,
            on_done=track.done,
        )
    show(result, form)
    click.echo(f"\nreport        {output}/report.html", err=True)
    click.echo(f"tables        {output}/table.md, metrics.csv, metrics.json", err=True)
    click.echo(f"pictures      {output}/pictures", err=True)
    click.echo(f"certificates  {output}/certificates   (smoothseg verify {output})", err=True)


def _with_tau(values: dict[str, Any], tau: str) -> dict[str, Any]:
    """Return the options `values` with `tau` for every certifier, or with `taus` where it lists several."""
    from smoothseg.registry import parse

    def changed(spec: Any) -> dict[str, Any]:
        name, options = parse(spec, "certifier")
        options = {key: value for key, value in options.items() if key not in ("tau", "taus")}
        return {"name": name, **options, "taus" if "," in tau else "tau": tau}

    given = values.get("certifier", "holm")
    certifiers = [changed(spec) for spec in (given if isinstance(given, list) else [given])]
    methods = values.get("methods")
    if isinstance(methods, list):
        methods = [
            {**entry, "certifier": changed(entry["certifier"])}
            if isinstance(entry, dict) and isinstance(entry.get("certifier"), str | dict)
            else entry
            for entry in methods
        ]
    return {**values, "certifier": certifiers, **({} if methods is None else {"methods": methods})}


@contextlib.contextmanager
def resumable(*, fresh: bool = False) -> Iterator[None]:
    """Tell whoever interrupts a run that it can be taken up again; exit code 130, as shells have it."""
    try:
        yield
    except KeyboardInterrupt:
        without = " without --fresh" if fresh else ""
        click.echo(f"interrupted; the same command{without} goes on from here", err=True)
        sys.exit(130)
