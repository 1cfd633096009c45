"""The messages of Python's logger `smoothseg`, and the log file of a run."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from smoothseg.errors import RunMismatchError
from smoothseg.machine import versions

__all__ = ["log", "settings", "telling", "writing"]

log = logging.getLogger("smoothseg")
"""The logger: stages and certificates are INFO, doubtful things are WARNING, what ends a run is ERROR."""

log.addHandler(logging.NullHandler())  # without it Python would print warnings of whoever asked for none


class _File(logging.FileHandler):
    """Appends lines with time and level, or holds them until it is `let_go`.

    A log that cannot be written must not end its run.
    """

    def __init__(self, path: Path, *, held: bool) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(_Timed("%(asctime)s  %(levelname)-7s  %(message)s"))
        self._held: list[logging.LogRecord] | None = [] if held else None

    @property
    def held(self) -> bool:
        """Whether lines are still held."""
        return self._held is not None

    def let_go(self) -> None:
        """Write what was held, and from now on each line as it comes; the folder is made."""
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        lines, self._held = self._held or [], None
        for line in lines:
            self.emit(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Hold `record`, append it, or leave it out."""
        if self._held is not None:
            self._held.append(record)
            return
        with contextlib.suppress(OSError):  # from opening the file, which is done with the first line
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""


class _Timed(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return local time with its offset from UTC, to the second."""
        return datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


@contextlib.contextmanager
def telling(handler: logging.Handler) -> Iterator[None]:
    """Send messages from INFO upwards to `handler` while the block runs."""
    before = log.level
    if log.getEffectiveLevel() > logging.INFO or log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    handler.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


@contextlib.contextmanager
def writing(path: Path, *, held: bool = False) -> Iterator[None]:
    """Append to the file `path` what is told while the block runs, Python's warnings, and what ends it.

    It begins with the command and the versions of the software. The folder is created. Nothing in the log enters a
    result, and it may be deleted at any time.

    held: write nothing before a block within this one writes to the same file, which then goes on in it: so that there
    can be a log of what decides whether there will be a folder at all. If an error comes first, the lines are added
    to a file that is there already and else forgotten; they are forgotten, too, if the error is that the folder is
    another run's.
    """
    for outer in log.handlers:
        if isinstance(outer, _File) and outer.baseFilename == os.path.abspath(path):
            if not held:
                outer.let_go()
            yield
            return
    handler = _File(path, held=held)
    if not held:
        handler.let_go()
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.warning("%s: %s", category.__name__, " ".join(str(message).split()))
        shown(message, category, filename, lineno, file, line)

    try:
        with telling(handler):
            warnings.showwarning = show
            try:
                _begin()
                yield
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    log.warning("interrupted")
                else:
                    log.error("%s: %s", type(error).__name__, " ".join(str(error).split()))
                if handler.held and path.is_file() and not isinstance(error, RunMismatchError):
                    handler.let_go()
                raise
            finally:
                warnings.showwarning = shown
    finally:
        handler.close()


def settings(**values: Any) -> None:
    """Tell with what it is done."""
    log.info("%s", ", ".join(f"{name} {value}" for name, value in values.items()))


def _begin() -> None:
    log.info("command: %s", shlex.join(sys.argv))
    log.info("%s", ", ".join(f"{name} {version}" for name, version in versions.numerical().items()))
