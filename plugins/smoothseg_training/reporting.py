"""What does a training report on the terminal while it runs?"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator

import click

from smoothseg_training.events import Event, Measured, Started, Stepped
from smoothseg_training.options import Running

__all__ = ["reporting"]

_LINE_SECONDS = 30.0
"""Seconds between two lines where the output is not a terminal."""


@contextlib.contextmanager
def reporting(running: Running) -> Iterator[Callable[[Event], None]]:
    """Yield a listener: a progress bar on a terminal, a line every half minute elsewhere, or the log if verbose."""
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
    """Return `event` as one line of text."""
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
