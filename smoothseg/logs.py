"""What is being done, told to Python's logger `smoothseg`, and the log file that a run keeps of it."""

from __future__ import annotations

import contextlib
import datetime
import logging
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from smoothseg import versions

__all__ = ["begin", "log", "telling", "writing"]

log = logging.getLogger("smoothseg")
"""Where everything is told: stages and certificates as INFO, what is doubtful as WARNING, what ends a run as ERROR."""

log.addHandler(logging.NullHandler())  # without it Python would print warnings of whoever asked for none


class _File(logging.FileHandler):
    """Appends lines with time and level. A log that cannot be written must not end the run that it is about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Append `record`, or leave it out."""
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
    """Give `handler` what is told from INFO upwards while the block runs."""
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
def writing(path: Path) -> Iterator[None]:
    """Append to the file `path` what is told while the block runs, Python's warnings, and what ends it.

    The folder is made. Nothing of it enters a result: it may be deleted at any time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _File(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Timed("%(asctime)s  %(levelname)-7s  %(message)s"))
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
                yield
            except KeyboardInterrupt:
                log.warning("interrupted")
                raise
            except BaseException as error:
                log.error("%s: %s", type(error).__name__, " ".join(str(error).split()))
                raise
            finally:
                warnings.showwarning = shown
    finally:
        handler.close()


def begin(**settings: Any) -> None:
    """Tell what begins: the command, the versions of what computes, and `settings`."""
    log.info("command: %s", shlex.join(sys.argv))
    log.info("%s", ", ".join(f"{name} {version}" for name, version in versions.numerical().items()))
    log.info("%s", ", ".join(f"{name} {value}" for name, value in settings.items()))
