"""`smoothseg train`: networks of one's own, on one's own data."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import time
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from smoothseg.cli.completion import component
from smoothseg.components.plugins import plugins
from smoothseg.files import read_yaml, underscored, yaml_of
from smoothseg_training.configuration import (
    DenoiserTraining,
    Running,
    SegmenterTraining,
    Training,
    configure,
    describe,
    recipe,
)
from smoothseg_training.events import Event, Measured, Started, Stepped, Stopped

__all__ = ["denoiser", "segmenter"]

_COMPONENTS = ("dataset", "validation", "segmenter", "denoiser")

_LINE_SECONDS = 30.0
"""How often a run whose output is not a terminal writes a line."""


def _options(*kinds: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds one option a field of `kinds`; none has a default, so that YAML can have a say."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for field, hint in reversed([pair for kind in kinds for pair in _fields(kind)]):
            command = click.option(*_names(field, hint), **_parameter(field, hint))(command)
        command = click.option(
            "--print-config",
            is_flag=True,
            help="Print all of these options but --fresh as YAML for --config, and train nothing.",
        )(command)
        return click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="YAML file of these options; the command line wins.",
        )(command)

    return decorate


def _fields(kind: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    fields = [(field, _plain(hints[field.name])) for field in dataclasses.fields(kind)]
    first = (*_COMPONENTS, "output")
    return sorted(fields, key=lambda pair: first.index(pair[0].name) if pair[0].name in first else len(first))


def _plain(hint: Any) -> Any:
    """Return `X` of `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kept = [part for part in typing.get_args(hint) if part is not type(None)]
        return kept[0]
    return hint


def _names(field: dataclasses.Field[Any], hint: Any) -> list[str]:
    flag = f"--{field.name.replace('_', '-')}"
    short = [f"-{field.name[0]}"] if field.name in ("verbose", "quiet") else []
    return [f"{flag}/--no-{field.name.replace('_', '-')}" if hint is bool else flag, *short, field.name]


def _parameter(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Return what click needs to know of a field; its bounds are checked by the configuration."""
    default, text = field.default, str(field.metadata["help"])
    if default is not dataclasses.MISSING and default is not None and not isinstance(default, bool):
        size = field.name == "crop"
        shown = ("x" if size else " ").join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{text}  [default: {shown}]"
    known: dict[str, Any] = {"default": None, "help": text[0].upper() + text[1:]}
    if field.name in _COMPONENTS:
        kind = "dataset" if field.name == "validation" else field.name
        return known | {"metavar": "SPEC", "shell_complete": component(kind)}
    if typing.get_origin(hint) is typing.Literal:
        return known | {"type": click.Choice(typing.get_args(hint))}
    if field.name == "crop":
        return known | {"metavar": "HxW"}
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[-1] is Ellipsis:
        inner = typing.get_args(hint)[0]
        literal = typing.get_origin(inner) is typing.Literal
        if field.name == "track":
            known["help"] += ". none: to none of the file's"
            return known | {"type": click.Choice([*plugins()["tracker"].names, "none"]), "multiple": True}
        return known | {"type": click.Choice(typing.get_args(inner)) if literal else float, "multiple": True}
    if typing.get_origin(hint) is tuple:
        return known | {"type": float, "nargs": 2, "metavar": "LO HI"}
    if hint in {int, float}:
        return known | {"type": hint}
    if hint is Path:
        return known | {"type": click.Path(path_type=Path)}
    return known


@click.command()
@_options(SegmenterTraining, Running)
def segmenter(config: Path | None, print_config: bool, **given: Any) -> None:
    """Train a segmenter, with Gaussian noise on its images if asked for.

    Run the same command again to resume an interrupted run.
    """
    _train(SegmenterTraining, config, given, print_config=print_config)


@click.command()
@_options(DenoiserTraining, Running)
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
        _stoppable() as stop,
        _reporting(running) as listen,
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
        result = loop.train(training, running, listen=lambda event: _each(told, event), stop=stop)
        if isinstance(result, Stopped):
            without = " without --fresh" if running.fresh else ""
            raise click.ClickException(
                f"stopped after {result.step} steps; the same command{without} goes on from there"
            )
    click.echo(f"{'already trained' if result.already else 'wrote'}: {result.weights} and {result.card}")


def _each(listeners: Sequence[Callable[[Event], None]], event: Event) -> None:
    for listener in listeners:
        listener(event)


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM end the run after the step at hand; a second signal ends it at once."""
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
        yield lambda: bool(asked)
    finally:
        for caught, previous in before.items():
            signal.signal(caught, previous)


@contextlib.contextmanager
def _reporting(running: Running) -> Iterator[Callable[[Event], None]]:
    """Give a listener: a progress bar on a terminal, a line every half minute elsewhere; the log if verbose."""
    from rich.console import Console

    from smoothseg.runs.logs import telling
    from smoothseg.terminal.progress import Teller

    if running.quiet:
        yield lambda event: None
        return
    if running.verbose:
        with telling(Teller(functools.partial(click.echo, err=True))):
            yield lambda event: None
        return
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield functools.partial(_tell, state={"told": 0.0})
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.percentage:5.1f}%"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting", total=1.0)

        def listen(event: Event) -> None:
            if isinstance(event, Stepped):
                progress.update(bar, completed=event.progress, description=_line(event))
            else:
                progress.console.print(_line(event), highlight=False)

        yield listen


def _tell(event: Event, state: dict[str, float]) -> None:
    now = time.monotonic()
    if isinstance(event, Stepped):
        if event.step > 1 and event.progress < 1 and now - state["told"] < _LINE_SECONDS:
            return
        state["told"] = now
    click.echo(_line(event), err=True)


def _line(event: Event) -> str:
    """Return an event in one line."""
    if isinstance(event, Started):
        at = f"resuming after step {event.step}: " if event.step else ""
        return f"{at}{event.parameters / 1e6:.2f} M parameters, {event.images} images, {event.device}"
    if isinstance(event, Measured):
        figures = ", ".join(f"{name} {value:.4g}" for name, value in event.figures.items())
        return f"step {event.step}: validation {figures}"
    return (
        f"step {event.step} ({event.progress:.1%}) loss {event.loss:.4f} lr {event.lr:.2e} "
        f"{event.seconds / event.step:.3f} s/step, data {event.data_share:.0%}, "
        f"{_clock(event.seconds)} gone, {_clock(event.remaining)} to go"
    )


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
