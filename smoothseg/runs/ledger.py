"""Which certificates of a run are made, and which failed: one JSON line each, appended once its file is on disk.

Each line is sealed, so that a damaged line is noticed and its certificate made again. A certificate's last line counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smoothseg.errors import DataError
from smoothseg.files import read_bytes, write_atomically
from smoothseg.runs.seals import sealed, unsealed
from smoothseg.runs.shapes import is_entry

__all__ = ["LARGEST", "Ledger", "has_failed"]

LARGEST = 2**30
"""Bytes of the largest ledger that is read."""

_BEFORE = frozenset(
    (
        "method",
        "sigma",
        "key",
        "certificate",
        "sha256",
        "radius",
        "by_radius",
        "seconds",
        "certified",
        "clean",
    )
)
"""The fields of lines that were written before lines were sealed."""


def has_failed(entry: Mapping[str, Any]) -> bool:
    """Return whether a line says that a certificate could not be made; its `failed` says why."""
    return "failed" in entry


class Ledger:
    """An append-only file of JSON lines that survives a crash in the middle of a line, and damage of any line.

    damaged: the numbers of the lines that are not as they were written, from 1.
    """

    def __init__(self, path: Path) -> None:
        """Raise `DataError` if the file cannot be read."""
        self.path = path
        self.damaged: list[int] = []
        self._lines: list[Mapping[str, Any]] = []
        for number, line in enumerate(_lines(path), start=1):
            if not line:
                continue
            entry = unsealed(line, before=_BEFORE)
            if entry is None or not is_entry(entry):
                self.damaged.append(number)
            else:
                self._lines.append(entry)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._lines)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line and wait until it is on disk."""
        line = _written(entry)
        with self.path.open("ab") as file:
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b"\n")  # the line before is incomplete and is skipped when read
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._lines.append(json.loads(json.dumps(entry)))

    def mend(self) -> None:
        """Write the file without its damaged lines, if it has any."""
        if self.damaged:
            write_atomically(self.path, b"".join(map(_written, self._lines)))
            self.damaged = []


def _lines(path: Path) -> list[bytes]:
    try:
        return read_bytes(path, LARGEST).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"ledger {path} cannot be read: {error}") from None


def _written(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(sealed(entry), sort_keys=True).encode() + b"\n"


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
