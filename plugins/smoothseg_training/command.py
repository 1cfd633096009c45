"""How does `smoothseg train` run a training, from its options to the written files or to a stop on a signal?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from smoothseg.files import read_yaml, underscored, yaml_of
from smoothseg_training.click_options import options
from smoothseg_training.configuration import configure, describe, recipe
from smoothseg_training.events import Event, Stopped
from smoothseg_training.options import DenoiserTraining, Running, SegmenterTraining, Training
from smoothseg_training.reporting import reporting

__all__ = ["denoiser", "segmenter"]


@click.command()
@options(SegmenterTraining, Running)
def segmenter(config: Path | None, print_config: bool, **given: Any) -> None:
    """Train a segmenter, with Gaussian noise on its images if asked for.

    Run the same command again to resume an interrupted run.
    """
    _train(SegmenterTraining, config, given, print_config=print_config)


@click.command()
@options(DenoiserTraining, Running)
def denoiser(config: Path | None, print_config: bool, **given: Any) -> None:
    """Train a denoiser on crops under Gaussian noise.

    Run the same command again to resume an interrupted run.
    """
    _train(DenoiserTraining, config, given, print_config=print_config)


def _train(kind: type[Training], config: Path | None, given: dict[str, Any], *, print_config: bool) -> None:
    from smoothseg.runs import tracking

    values = {} if config is None else underscored(read_yaml(config))
    values |= {key: value for key, value in given.items() if value not in (None, ())}
    if given["track"]:
        values["track"] = tracking.chosen(given["track"])
    names = {field.name for field in dataclasses.fields(Running)}
    running = configure(Running, {key: value for key, value in values.items() if key in names})
    training = configure(kind, {key: value for key, value in values.items() if key not in names})
    if print_config:
        click.echo(yaml_of(recipe(training, running)), nl=False)
        return
    tracking.check(running.track)

    import torch

    from smoothseg_training import loop
    from smoothseg_training.checkpoint import Outputs
    from smoothseg_training.figures import steps

    if running.threads is not None:
        torch.set_num_threads(running.threads)
    outputs = Outputs.of(running.output)
    with (
        _stoppable() as asked,
        reporting(running) as listen,
        tracking.tracking(
            running.track,
            outputs.weights.parent,
            name=running.output.stem,
            config=describe(training),
            tell=None if running.verbose or running.quiet else functools.partial(click.echo, err=True),
        ) as tracker,
    ):
        told = [listen]
        if tracker is not None:
            tracker.open()
            told.append(steps(tracker))
        result = loop.train(
            training, running, listen=lambda event: _each(told, event), stop=lambda: bool(asked)
        )
        if isinstance(result, Stopped):
            without = " without --fresh" if running.fresh else ""
            click.echo(
                f"stopped after {result.step} steps; the same command{without} goes on from there", err=True
            )
            sys.exit(128 + asked[0])  # as is usual in shells
    click.echo(f"{'already trained' if result.already else 'wrote'}: {result.weights} and {result.card}")


def _each(listeners: Sequence[Callable[[Event], None]], event: Event) -> None:
    for listener in listeners:
        listener(event)


@contextlib.contextmanager
def _stoppable() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM stop the run after the current step; a second signal stops it at once.

    Yields the list of the signals so far.
    """
    asked: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        for caught, previous in before.items():
            signal.signal(caught, previous)

    with contextlib.suppress(ValueError):  # only the main thread may catch signals
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    try:
        yield asked
    finally:
        for caught, previous in before.items():
            signal.signal(caught, previous)
