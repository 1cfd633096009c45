"""One process at a time in a run directory."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from smoothseg.errors import RunBusyError
from smoothseg.files import parse_json, read_bytes, write_atomically

__all__ = ["NAMES", "locked"]

_LOCK, _OWNER = ".lock", ".owner.json"

NAMES = frozenset({_LOCK, _OWNER})
"""Names of the files in a run directory that are the lock's."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the run directory for this process while the block runs; it is created if it is missing.

    The operating system lets go of the lock when the process ends, however it ends. So what a killed process leaves is
    never in the way. On file systems without locks, the library's lock file takes its place.

    Raises `RunBusyError` with process and host if another process holds it.
    """
    from filelock import FileLock, Timeout

    directory.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(directory / _LOCK), directory / _OWNER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunBusyError(
            f"{directory} is in use by {_named(owner)}: wait for it, or choose another --output"
        ) from None
    try:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        told = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        write_atomically(owner, json.dumps(told).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def _named(owner: Path) -> str:
    """Return who holds the directory, in words."""
    try:
        told = parse_json(read_bytes(owner, 2**12))
        return f"process {int(told['pid'])} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has the lock and has not yet said who it is
        return "another process"
