"""Progress of a run: a bar with images per second and ETA on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smoothseg.errors import visible
from smoothseg.runs.listener import Listener

if TYPE_CHECKING:
    from rich.progress import TaskID

    from smoothseg.certificates.stopping import Look
    from smoothseg.runs.preparing import Job, Prepared
    from smoothseg.weights.transfer import Progress

__all__ = ["Teller", "Track", "counting", "downloading", "duration", "progress"]

_LINE_EVERY = 15.0
"""Seconds between two lines in a log."""


class Track(Listener):
    """Progress in noise samples, the only unit that all methods and sigmas share."""

    def __init__(self, *, quiet: bool = False) -> None:
        """quiet: show nothing."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        from smoothseg.terminal.console import Plain

        self._console = Plain(stderr=True, quiet=quiet)
        # A terminal that cannot move its cursor is treated as a log.
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("", total=None, speed="")
        self._samples: dict[str, int] = {}
        self._jobs = self._finished = 0
        self._jobs_of_image = 1
        self._drawn = 0
        self._certified = 0
        self._counted = 0
        self._share = ""
        self._started = self._printed = time.monotonic()

    def stage(self, text: str) -> None:
        """Show the current stage."""
        self._bar.update(self._task, description=visible(text))
        if not self._live:
            self._console.print(text)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._bar.console.print(text, markup=False, soft_wrap=not self._live)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show the progress of the download of a weight file."""
        text = _fetching(name, done, total)
        if done == 0:
            self._bar.reset(self._task, total=total)
        self._bar.update(self._task, description=visible(text), completed=done, total=total)
        if not self._live and (done == total or self._due()):
            self._console.print(text)

    def count(self, text: str, done: int, total: int, unit: str = "images") -> None:
        """Show how many items of one kind are done."""
        elapsed = time.monotonic() - self._started
        speed = f"{done}/{total}  {done / elapsed:.1f} {unit}/s" if elapsed else ""
        self._bar.update(self._task, description=visible(text), completed=done, total=total, speed=speed)
        if not self._live and (done == total or self._due()):
            self._console.print(f"{text}  {speed}")

    def plan(self, prepared: Prepared) -> None:
        """Take the size of the run from `prepared`."""
        self._samples = {slug: certifier.samples for slug, certifier in prepared.certifiers.items()}
        self._jobs = len(prepared.jobs)
        self._jobs_of_image = self._jobs // len(prepared.keys)
        total = sum(self._samples[job.method.slug] for job in prepared.jobs)
        self._bar.update(self._task, completed=0, total=total)
        images, jobs = len(prepared.keys), self._jobs
        sizes = (
            f"{images} image{'' if images == 1 else 's'}, {jobs} certificate{'' if jobs == 1 else 's'}, "
            f"{total} noise samples"
        )
        self.stage(f"certifying {sizes}")
        self._started = time.monotonic()

    def started(self, job: Job) -> None:
        """Name the certificate in progress."""
        self._counted = 0
        self._name(job, "")

    def looked(self, job: Job, look: Look) -> None:
        """Say how much of the certificate in progress is certified by now."""
        self._name(job, f"{100 * look.share:.1f} % certified")

    def _name(self, job: Job, share: str) -> None:
        self._share = share
        parts = (job.key, job.method.name, f"sigma {job.sigma:g}", share)
        self._bar.update(self._task, description=visible("  ".join(part for part in parts if part)))

    def sampled(self, count: int) -> None:
        """Count newly labelled noise samples."""
        self._drawn += count
        self._counted += count
        self._advance(count)

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """Count a finished certificate; `before`: an earlier run made it."""
        self._finished += 1
        expected = self._samples[job.method.slug]
        if before:
            self._advance(expected)
        else:
            self._certified += 1
            self._advance(expected - self._counted)  # a certifier may stop early

    def failed(self, job: Job, reason: str, before: bool) -> None:
        """Say that a certificate failed; `before`: an earlier run tried it."""
        self._finished += 1
        when = " (before)" if before else ""
        self.note(f"failed{when}: {job.key}, {job.method.name}, sigma {job.sigma:g}: {reason}")
        self._advance(self._samples[job.method.slug] - (0 if before else self._counted))

    def _advance(self, count: int) -> None:
        elapsed = time.monotonic() - self._started
        rate = self._drawn / elapsed if elapsed else 0.0
        images = self._certified / self._jobs_of_image / elapsed if elapsed else 0.0
        speed = f"{images:.3f} images/s"  # anything longer does not fit 80 columns beside the ETA
        self._bar.update(self._task, advance=count, speed=speed)
        if not self._live and self._due():
            task = self._bar.tasks[0]
            left = (task.total or 0) - task.completed
            eta = duration(left / rate) if rate else "?"
            now = f"  ({self._share} of this image)" if self._share else ""
            self._console.print(
                f"{self._finished}/{self._jobs} certificates{now}  {speed}  {rate:.1f} samples/s  ETA {eta}"
            )

    def _due(self) -> bool:
        """Return whether a log line is due; if so, start the wait for the next."""
        due = time.monotonic() - self._printed >= _LINE_EVERY
        if due:
            self._printed = time.monotonic()
        return due


class Teller(logging.Handler):
    """Passes log messages on as lines."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass `record` on."""
        self._tell(record.getMessage())


@contextlib.contextmanager
def progress(*, verbose: bool = False, quiet: bool = False) -> Iterator[Track]:
    """Show progress on stderr while the block runs; also log messages if `verbose`, nothing if `quiet`."""
    from smoothseg.runs.logs import telling

    track = Track(quiet=quiet)
    with track._bar, telling(Teller(track.note)) if verbose else contextlib.nullcontext():
        yield track


@contextlib.contextmanager
def downloading() -> Iterator[Progress]:
    """Yield a listener for `downloads.fetch`: one bar per file on a terminal, plain lines on stderr in a log."""
    track = Track()
    with track._bar:
        yield track.download


@contextlib.contextmanager
def counting(text: str, *, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """Yield a listener for (done, total) of some unit: a bar on a terminal, plain lines on stderr in a log."""
    track = Track()
    with track._bar:
        yield lambda done, total: track.count(text, done, total, unit)


def _fetching(name: str, done: int, total: int | None) -> str:
    of = "" if total is None else f" of {total / 1e6:,.0f}"
    return f"fetching {name}  {done / 1e6:,.0f}{of} MB"


def duration(seconds: float) -> str:
    """Return a time in words, rounded, such as `2 h 05 min`."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
