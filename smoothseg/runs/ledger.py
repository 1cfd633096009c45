"""Which certificates of a run are done: one JSON line each, appended once the certificate is safely on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smoothseg.errors import DataError

__all__ = ["Ledger"]


class Ledger:
    """An append-only file of JSON lines that survives a crash in the middle of a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = list(_complete_lines(path))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._lines)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line and wait until it is on disk."""
        line = json.dumps(entry, sort_keys=True) + "\n"
        with self.path.open("ab") as file:
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b"\n")  # the line before is incomplete and is skipped when read
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._lines.append(json.loads(line))


def _complete_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"ledger {path} cannot be read: {error}") from None
    for line in content.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:  # incomplete after a crash: its certificate is made again
            continue
        if isinstance(entry, dict):
            yield entry


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
