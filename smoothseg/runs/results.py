"""What a run directory records: the run's inputs and its certificates, read without torch and without images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smoothseg.certificates.hierarchy import Hierarchy, from_header
from smoothseg.errors import DataError
from smoothseg.files import parse_json, read_bytes, sha256_of, write_atomically
from smoothseg.runs.ledger import Ledger, has_failed
from smoothseg.runs.seals import sealed, unsealed
from smoothseg.runs.shapes import is_identity

__all__ = [
    "LARGEST",
    "SCHEMA",
    "DamagedError",
    "certificate_path",
    "entries",
    "failures",
    "hierarchy",
    "intact",
    "is_sealed",
    "read_identity",
    "write_identity",
]

SCHEMA = 1
"""Version of the run directory's layout; `read_identity` refuses any other."""

LARGEST = 2**28
"""Bytes of the largest run.json that is read: some hundreds for each image."""

_BEFORE = frozenset(
    ("schema", "plan", "weights", "classes", "noise", "versions", "plugins", "images", "skipped", "threads")
)
"""The fields of run.json when it was not sealed."""

_Lines = dict[tuple[str, float], dict[str, Mapping[str, Any]]]
"""Ledger lines by (method, sigma) and key."""


class DamagedError(DataError):
    """run.json is there, and not as it was written."""


def entries(directory: Path, identity: Mapping[str, Any]) -> _Lines:
    """Return the last ledger line of every certificate, by (method, sigma) in the plan's order and then by key.

    identity: the result of `read_identity`. Certificates that are not made, or failed, are left out.
    """
    return _lines(directory, identity, failed=False)


def failures(directory: Path, identity: Mapping[str, Any]) -> _Lines:
    """Return the last ledger line of every certificate that failed, in the order of `entries`."""
    return _lines(directory, identity, failed=True)


def _lines(directory: Path, identity: Mapping[str, Any], *, failed: bool) -> _Lines:
    found: _Lines = {}
    for entry in Ledger(directory / "ledger.jsonl"):
        found.setdefault((entry["method"], entry["sigma"]), {})[entry["key"]] = entry
    result = {}
    for method in identity["plan"]["methods"]:
        for sigma in identity["plan"]["sigma"]:
            last = found.get((method["name"], sigma), {})
            known = {
                key: entry
                for key, entry in sorted(last.items())
                if key in identity["images"] and has_failed(entry) == failed
            }
            if known:
                result[method["name"], sigma] = known
    return result


def read_identity(directory: Path) -> dict[str, Any]:
    """Return the run's inputs as run.json records them; raise `DataError` if `directory` holds no run.

    Raises `DamagedError` if run.json is not as it was written.
    """
    path = directory / "run.json"
    try:
        content = read_bytes(path, LARGEST)
    except FileNotFoundError:
        raise DataError(f"{directory} holds no run (no run.json)") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    identity = unsealed(content, before=_BEFORE)
    if identity is None:
        raise DamagedError(f"{path} is damaged: the command that made the run writes it again")
    if identity.get("schema") != SCHEMA:
        raise DataError(f"{directory} has another run schema; this version reads {SCHEMA}")
    if not is_identity(identity):
        raise DamagedError(f"{path} is not as smoothseg writes it")
    return identity


def hierarchy(identity: Mapping[str, Any], method: str) -> Hierarchy | None:
    """Return the hierarchy of what a method of the run certifies; None if it certifies classes alone."""
    return from_header(identity["classes"][method], identity.get("levels", {}).get(method))


def is_sealed(directory: Path) -> bool:
    """Return whether run.json is there and has a digest of its own, as those of runs with a manifest have."""
    try:
        return "check" in parse_json(read_bytes(directory / "run.json", LARGEST))
    except (OSError, ValueError, TypeError):
        return False


def write_identity(directory: Path, identity: Mapping[str, Any]) -> None:
    """Write run.json; `read_identity` returns the same values."""
    write_atomically(directory / "run.json", (json.dumps(sealed(identity), indent=1) + "\n").encode())


def certificate_path(slug: str, sigma: float, key: str) -> str:
    """Return where a certificate lies in the run directory. slug: the name of the method's folders."""
    return f"certificates/{slug}/sigma-{sigma}/{key}.npz"


def intact(directory: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether the certificate of a ledger line exists with the bytes that were written."""
    if has_failed(entry):
        return False
    path = directory / entry["certificate"]
    return path.is_file() and sha256_of(path) == str(entry["sha256"])
