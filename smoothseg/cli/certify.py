"""`smoothseg certify`: certify a dataset and print the table."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothseg.cli.completion import TrackerName, component
from smoothseg.cli.report import FORMAT_NAMES
from smoothseg.runs.listener import Listener
from smoothseg.runs.options import HELP
from smoothseg.smoothing.kinds import ALGORITHMS

if TYPE_CHECKING:
    from smoothseg.runs.plan import Plan
    from smoothseg.smoothing.stop import Stop

__all__ = ["certify", "check_failed", "resumable"]


def _help(key: str, *, default: str = "") -> str:
    text = HELP[key]
    shown = text if text.startswith("auto") else f"{text[0].upper()}{text[1:]}"  # auto is a value, not a word
    return f"{shown}." + (f"  [default: {default}]" if default else "")


@click.command()
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML file of options."
)
@click.option(
    "--dataset", shell_complete=component("dataset"), help=_help("dataset", default="streets:count=4")
)
@click.option(
    "--denoiser",
    multiple=True,
    shell_complete=component("denoiser"),
    help=_help("denoiser", default="adm"),
)
@click.option(
    "--segmenter",
    multiple=True,
    shell_complete=component("segmenter"),
    help=_help("segmenter", default="hrnet"),
)
@click.option(
    "--certifier",
    multiple=True,
    shell_complete=component("certifier"),
    help=_help("certifier", default="holm"),
)
@click.option(
    "--tau",
    help=_help("tau", default="0.75"),
)
@click.option("--stop", multiple=True, metavar="RULES", help=_help("stop"))
@click.option("--sigma", multiple=True, type=float, help=_help("sigma", default="0.25"))
@click.option("--scale", type=float, help=_help("scale", default="0.5"))
@click.option(
    "--convention",
    type=click.Choice(["noise-aware", "paper"]),
    help=_help("convention", default="noise-aware"),
)
@click.option(
    "--denoise-at",
    type=click.Choice(["scale", "full"]),
    help=_help("denoise_at", default="scale"),
)
@click.option(
    "--noise",
    type=click.Choice(list(ALGORITHMS)),
    help=_help("noise", default="lattice"),
)
@click.option("--images", type=click.IntRange(min=1), help=_help("images", default="all"))
@click.option("--every", type=click.IntRange(min=1), help=_help("every", default="1"))
@click.option("--seed", type=click.IntRange(min=0), help=_help("seed", default="0"))
@click.option("--device", help=_help("device", default="auto"))
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help=_help("batch_size", default="1"),
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help=_help("output", default="runs/NAME-DIGEST"),
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help=_help("threads"),
)
@click.option(
    "--extend",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Go on with this run and its options, by other rules for stopping; in place, or in --output.",
)
@click.option("--fresh/--no-fresh", default=None, help=_help("fresh"))
@click.option("--skip-bad/--no-skip-bad", default=None, help=_help("skip_bad"))
@click.option("--timeout", type=float, help=_help("timeout", default="none"))
@click.option("--retry-failed/--no-retry-failed", default=None, help=_help("retry_failed"))
@click.option(
    "--sign", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=_help("sign", default="none")
)
@click.option("--format", type=click.Choice(FORMAT_NAMES), help=_help("format", default="table"))
@click.option(
    "--track",
    multiple=True,
    type=TrackerName(),
    help=_help("track") + " none: to none of the file's.",
)
@click.option("--verbose/--no-verbose", "-v", default=None, help=_help("verbose"))
@click.option("--quiet/--no-quiet", "-q", default=None, help=_help("quiet"))
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, measure the pace, print time, memory and disk, and run nothing.",
)
@click.option(
    "--print-config",
    is_flag=True,
    help="Print all of these options but --fresh as YAML for --config, and run nothing.",
)
def certify(
    config: Path | None, extend: Path | None, print_config: bool, dry_run: bool, **options: Any
) -> None:
    """Certify the segmentation of a dataset's images.

    Components are given as NAME or NAME:key=value,key=value; `smoothseg components` lists them. A file given with
    --config may hold all of these options, under their names. Those on the command line win: a denoiser or segmenter
    given there replaces that of the file's methods, which must agree in the rest; a certifier decides for all of them.

    A run is a directory: the same command takes up an interrupted run where it stopped, with the same result. With the
    certifier anytime, images end when a rule says so, --extend goes on with a finished run, and an interruption saves
    what was drawn.

    \b
    Examples:
      smoothseg certify
      smoothseg certify --denoiser adm --denoiser identity --sigma 0.5
      smoothseg certify --dataset folder:root=photos --segmenter torchvision
      smoothseg certify --certifier anytime:gain=0.002 --output runs/street
      smoothseg certify --extend runs/street --stop max_n=3000,gain=none
    """
    from smoothseg.cli.report import show
    from smoothseg.files import read_yaml, yaml_of
    from smoothseg.runs import configuration, manifest, tracking

    given = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    given = {key: value for key, value in given.items() if value not in (None, [])}
    if "track" in given:
        given["track"] = tracking.chosen(given["track"])
    if extend is not None:
        config, given = _extended(extend, config, given)
    file, name = ({}, None) if config is None else (read_yaml(config), config.stem)
    plan, running = configuration.configure(file, given)
    plan.check_weights()  # before torch is imported, so that a misspelt name fails at once
    if print_config:
        click.echo(yaml_of(configuration.describe(plan, running)), nl=False)
        return

    tracking.check(running.track)
    key = None if running.sign is None else manifest.signing_key(running.sign)

    import torch

    from smoothseg.cli.estimates import announce, show_estimate
    from smoothseg.report import running as reported
    from smoothseg.report.illustrating import most_bytes
    from smoothseg.runs import estimates, logs, preparing, resuming
    from smoothseg.runs.listener import Listeners
    from smoothseg.smoothing.stop import Stop
    from smoothseg.terminal.console import Plain
    from smoothseg.terminal.progress import progress

    output = configuration.output(plan, running, name=name)
    resuming.check_directory(output)
    if running.threads is not None:
        torch.set_num_threads(running.threads)
    stop = Stop()
    with (
        resumable(fresh=running.fresh, stop=stop, output=output),
        progress(verbose=running.verbose, quiet=running.quiet) as track,
        contextlib.nullcontext() if dry_run else logs.writing(output / "log.txt", held=True),
    ):
        track.stage("checking components and images")
        if configuration.of_before_lattice_noise(file) and "noise" not in given:
            track.note(
                f"note: {config} is of a run that knew gaussian noise alone; --noise lattice takes the other"
            )
        for remark in _remarks(plan, torch.get_num_threads()):
            track.note(f"note: {remark}")
        prepared = preparing.prepare(plan, skip_bad=running.skip_bad, on_download=track.download)
        for problem in prepared.skipped.values():
            track.note(f"skipped: {problem}")
        extension = None if extend is None else resuming.extension_of(prepared, extend)
        drawn = {} if extension is None else extension.drawn
        jobs = list(prepared.jobs)
        if not running.fresh:
            jobs = resuming.remaining(
                prepared, output, retry_failed=running.retry_failed, extension=extension
            )
            for line in () if running.verbose else resuming.found(output).damaged:  # verbose shows the log
                track.note(f"note: {line}: made again")
        if not dry_run:
            described = configuration.describe(plan, running)
            with tracking.tracking(
                running.track,
                output,
                name=output.name,
                config=described,
                tell=None if running.verbose else track.note,  # verbose shows the log, which has the line
            ) as tracker:

                def begin() -> None:
                    if tracker is not None:
                        tracker.open()
                    announce(track, prepared, jobs, output, running.batch_size, running.timeout, drawn)
                    track.plan(prepared)

                figures = [] if tracker is None else [tracking.Figures(tracker, prepared)]
                result = reported.run(
                    prepared,
                    output,
                    batch_size=running.batch_size,
                    fresh=running.fresh,
                    timeout=running.timeout,
                    retry_failed=running.retry_failed,
                    extension=extension,
                    listener=Listeners([_Opened(begin), track, *figures]),
                    stop=stop,
                )
        else:
            track.stage("measuring the pace")
            estimate = estimates.measure(
                prepared, jobs, batch_size=running.batch_size, pictures=most_bytes, drawn=drawn
            )
    if dry_run:
        there = len(prepared.jobs) - len(jobs)
        show_estimate(Plain(), estimate, prepared, output, there)
        return
    if key is not None:
        manifest.sign(output, key)
    show(result, running.format)
    if not running.quiet:
        _say_where(output)
    check_failed(output)


def _extended(run: Path, config: Path | None, given: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the configuration of the run that goes on, and the options with its directory as their output."""
    from smoothseg.errors import ConfigError, DataError

    for name in ("config", "fresh"):
        if config if name == "config" else given.get(name):
            raise ConfigError(f"--extend goes on with a run as it was configured: leave out --{name}")
    if given.get("threads") is not None:
        raise ConfigError("--extend goes on with the run's number of threads: leave out --threads")
    file = run / "config.yaml"
    if not file.is_file():
        raise DataError(f"{run} holds no run (no config.yaml)")
    return file, {"output": run, **given}


def _say_where(output: Path) -> None:
    """Say where everything of a run is."""
    click.echo(f"\nreport        {output}/report.html", err=True)
    click.echo(f"tables        {output}/table.md, metrics.csv, metrics.json", err=True)
    click.echo(f"pictures      {output}/pictures", err=True)
    click.echo(f"certificates  {output}/certificates   (smoothseg verify {output})", err=True)
    _say_how_to_go_on(output)


def _say_how_to_go_on(output: Path) -> None:
    """Say how certificates go on whose time was over."""
    from smoothseg.certificates.stopping import OUT_OF_TIME
    from smoothseg.runs import results

    lines = results.entries(output, results.read_identity(output)).values()
    reasons = [(entry.get("stopping") or {}).get("reason") for each in lines for entry in each.values()]
    late = sum(reason in (OUT_OF_TIME, "minutes") for reason in reasons)
    if late:
        click.echo(
            f"\n{late} certificate{' was' if late == 1 else 's were'} stopped for want of time: "
            f"smoothseg certify --extend {output} goes on",
            err=True,
        )


def check_failed(output: Path) -> None:
    """Raise `FailedImagesError` if images of the run in `output` failed, or could not go on."""
    from smoothseg.certificates.stopping import INTERRUPTED
    from smoothseg.errors import FailedImagesError
    from smoothseg.runs import results

    identity = results.read_identity(output)
    failed = [entry for each in results.failures(output, identity).values() for entry in each.values()]
    rules = {method["name"]: method["certifier"] for method in identity["plan"]["methods"]}
    stuck = [
        entry
        for each in results.entries(output, identity).values()
        for entry in each.values()
        if (stopping := entry.get("stopping")) is not None
        and (stopping["reason"] == INTERRUPTED or stopping["certifier"] != rules[entry["method"]])
    ]
    if stuck and not failed:
        first = stuck[0]
        raise FailedImagesError(
            f"{len(stuck)} certificate{'' if len(stuck) == 1 else 's'} could not go on and stay as they were; "
            f"{first['key']}, {first['method']}, sigma {first['sigma']:g} ({output}/log.txt says why)"
        )
    if not failed:
        return
    first, images = failed[0], len(identity["images"])
    raise FailedImagesError(
        f"{len({entry['key'] for entry in failed})} of {images} image{'' if images == 1 else 's'} failed; "
        f"{first['key']}, {first['method']}, sigma {first['sigma']:g}: {first['failed']} "
        f"({output}/log.txt has all; --retry-failed tries once more)"
    )


class _Opened(Listener):
    """Calls `begin` when the directory of the run is ready."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin

    def opened(self) -> None:
        self._begin()


def _remarks(plan: Plan, threads: int) -> Iterator[str]:
    """Yield a remark for each setting that is valid but probably not intended."""
    from smoothseg.machine import resources as machine

    load, cores = machine.load(), machine.cores()
    if load is not None and threads > 1 and load > cores / 2:
        yield f"the cores are busy (load {load:.1f} on {cores}); if other programs use them, --threads 1 is faster"
    yield from plan.remarks()


@contextlib.contextmanager
def resumable(*, fresh: bool = False, stop: Stop | None = None, output: Path | None = None) -> Iterator[None]:
    """On SIGINT and SIGTERM, say that the run can be resumed and exit with code 130 or 143, as is usual in shells.

    stop: asks a certifier that may stop at any time to do so first; a second signal ends it at once. output: the run's.
    """
    from smoothseg.runs.interrupting import Terminated, terminable

    def asked() -> None:
        # In the middle of anything: no stream of Python may be in use here.
        said = f"\nstopping: this image is certified from what was drawn, in {output} (again: stop at once)\n"
        os.write(2, said.encode("utf-8", "backslashreplace"))

    without = " without --fresh" if fresh else ""
    try:
        with terminable(stop, asked=asked):
            yield
    except KeyboardInterrupt:
        click.echo(f"interrupted; the same command{without} goes on from here", err=True)
        sys.exit(128 + signal.SIGINT)
    except Terminated:
        click.echo(f"terminated; the same command{without} goes on from here", err=True)
        sys.exit(128 + signal.SIGTERM)
