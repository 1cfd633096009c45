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

from smoothseg.errors import RunBusyError, RunMismatchError
from smoothseg.machine import versions
from smoothseg.runs.interrupting import Terminated

__all__ = ["log", "settings", "telling", "writing"]

log = logging.getLogger("smoothseg")
"""The logger: stages and certificates are INFO, possible problems WARNING, errors that end a run ERROR."""

log.addHandler(logging.NullHandler())  # otherwise Python would print warnings that nobody requested


class _File(logging.FileHandler):
    """Appends lines with time and level, or holds them back until `let_go`.

    A log that cannot be written must not end its run.
    """

    def __init__(self, path: Path, *, held: bool) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(_Timed("%(asctime)s  %(levelname)-7s  %(message)s"))
        self._held: list[logging.LogRecord] | None = [] if held else None

    @property
    def held(self) -> bool:
        """Whether lines are still held back."""
        return self._held is not None

    def let_go(self) -> None:
        """Create the folder, write the lines held back, and from now on write each line at once."""
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        lines, self._held = self._held or [], None
        for line in lines:
            self.emit(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Hold `record` back, append it, or drop it if the file cannot be written."""
        if self._held is not None:
            self._held.append(record)
            return
        with contextlib.suppress(OSError):  # the first line opens the file, which may fail
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line."""


class _Timed(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return local time with its offset from UTC, to the second."""
        return datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


@contextlib.contextmanager
def telling(handler: logging.Handler) -> Iterator[None]:
    """Send messages of level INFO and above to `handler` while the block runs."""
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
    """Append the messages of the block to the file `path`, with Python's warnings and the error that ends the block.

    The log starts with the command and the versions of the software. The folder is created. No result depends on the
    log, and it may be deleted at any time.

    held: hold all lines back until a nested block writes to the same file. So the log also covers the steps before it
    is clear whether the run gets a folder. If an error comes first, the lines are appended to the file if it exists,
    and dropped otherwise. They are also dropped if the error is that the folder belongs to another run or process.
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
                if isinstance(error, KeyboardInterrupt | Terminated):
                    log.warning("interrupted" if isinstance(error, KeyboardInterrupt) else "terminated")
                else:
                    log.error("%s: %s", type(error).__name__, " ".join(str(error).split()))
                if handler.held and path.is_file() and not isinstance(error, RunMismatchError | RunBusyError):
                    handler.let_go()
                raise
            finally:
                warnings.showwarning = shown
    finally:
        handler.close()


def settings(**values: Any) -> None:
    """Log the settings of the run."""
    log.info("%s", ", ".join(f"{name} {value}" for name, value in values.items()))


def _begin() -> None:
    log.info("command: %s", shlex.join(sys.argv))
    log.info("%s", ", ".join(f"{name} {version}" for name, version in versions.numerical().items()))
