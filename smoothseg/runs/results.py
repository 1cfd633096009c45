"""What a run directory records: the run's inputs and its certificates, read without torch and without images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smoothseg.errors import DataError
from smoothseg.runs.ledger import Ledger

__all__ = ["SCHEMA", "certificate_path", "entries", "intact", "read_identity"]

SCHEMA = 1
"""Version of the run directory's layout; `read_identity` refuses any other."""


def entries(
    directory: Path, identity: Mapping[str, Any]
) -> dict[tuple[str, float], dict[str, Mapping[str, Any]]]:
    """Return the last ledger line of every certificate, by (method, sigma) in the plan's order and then by key.

    identity: the result of `read_identity`. Certificates without a line are left out.
    """
    found: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = {}
    for entry in Ledger(directory / "ledger.jsonl"):
        found.setdefault((entry["method"], entry["sigma"]), {})[entry["key"]] = entry
    result = {}
    for method in identity["plan"]["methods"]:
        for sigma in identity["plan"]["sigma"]:
            made = found.get((method["name"], sigma), {})
            known = {key: entry for key, entry in sorted(made.items()) if key in identity["images"]}
            if known:
                result[method["name"], sigma] = known
    return result


def read_identity(directory: Path) -> dict[str, Any]:
    """Return the run's inputs as run.json records them; raise `DataError` if `directory` holds no run."""
    try:
        identity = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{directory} holds no run (no run.json)") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{directory / 'run.json'} cannot be read: {error}") from None
    if not isinstance(identity, dict) or identity.get("schema") != SCHEMA:
        raise DataError(f"{directory} has another run schema; this version reads {SCHEMA}")
    return identity


def certificate_path(slug: str, sigma: float, key: str) -> str:
    """Return where a certificate lies in the run directory. slug: the name of the method's folders."""
    return f"certificates/{slug}/sigma-{sigma}/{key}.npz"


def intact(directory: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether the certificate of a ledger line exists with the bytes that were written."""
    path = directory / entry["certificate"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == str(entry["sha256"])
