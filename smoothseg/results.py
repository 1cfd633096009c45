"""What a run directory says: its rows and tables, from the ledger alone, without torch or an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg import metrics
from smoothseg.errors import DataError
from smoothseg.files import write_atomically
from smoothseg.ledger import Ledger
from smoothseg.plugins import plugins
from smoothseg.registry import settings
from smoothseg.report.formats import FORMATS, per_class
from smoothseg.report.rows import Row

__all__ = ["SCHEMA", "entries", "intact", "read_identity", "rows", "write_tables"]

SCHEMA = 1
"""Version of the run directory's layout; `read_identity` refuses any other."""


def rows(directory: Path) -> list[Row]:
    """Return the rows of the run in `directory`, a (method, sigma) each, also while it is unfinished.

    Raises `DataError` if `directory` holds no run.
    """
    identity = read_identity(directory)
    methods = {method["name"]: method for method in identity["plan"]["methods"]}
    return [
        _row(identity, methods[name], sigma, list(found.values()))
        for (name, sigma), found in entries(directory, identity).items()
    ]


def entries(
    directory: Path, identity: Mapping[str, Any]
) -> dict[tuple[str, float], dict[str, Mapping[str, Any]]]:
    """Return the ledger's last line of every certificate by (method, sigma), in the plan's order, and by key.

    identity: what `read_identity` gave. What nothing is known of yet is left out.
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


def write_tables(directory: Path, result: Sequence[Row]) -> None:
    """Write the tables of a run, or of several together: metrics.json and .csv, per_class.csv, table.md and .tex."""
    for name, content in (
        ("metrics.json", FORMATS["json"](result)),
        ("metrics.csv", FORMATS["csv"](result)),
        ("per_class.csv", per_class(result)),
        ("table.md", FORMATS["markdown"](result)),
        ("table.tex", FORMATS["latex"](result)),
    ):
        write_atomically(directory / name, content.encode())


def read_identity(directory: Path) -> dict[str, Any]:
    """Return what run.json says the results depend on; raise `DataError` if `directory` holds no run."""
    try:
        identity = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{directory} holds no run (no run.json)") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{directory / 'run.json'} cannot be read: {error}") from None
    if not isinstance(identity, dict) or identity.get("schema") != SCHEMA:
        raise DataError(f"{directory} has another run schema; this version reads {SCHEMA}")
    return identity


def intact(directory: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether the certificate of a ledger line is there, byte for byte as it was written."""
    path = directory / entry["certificate"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == str(entry["sha256"])


def _row(
    identity: Mapping[str, Any], method: Mapping[str, Any], sigma: float, entries: Sequence[Mapping[str, Any]]
) -> Row:
    radii = [entry["radius"] for entry in entries if entry["radius"] is not None]
    seconds = [entry["seconds"]["total"] for entry in entries]
    classes = identity["classes"][method["name"]]
    certified, clean = (
        metrics.compute([metrics.Counts.from_json(entry[which]) for entry in entries], classes)
        for which in ("certified", "clean")
    )
    return Row(
        method=method["name"],
        denoiser=_spec("denoiser", method),
        segmenter=_spec("segmenter", method),
        certifier=_spec("certifier", method),
        sigma=sigma,
        radius=min(radii, default=None),
        scale=identity["plan"]["scale"],
        images=len(entries),
        certified=certified,
        clean=clean,
        seconds=sum(seconds) / len(seconds),
    )


def _spec(kind: str, method: Mapping[str, Any]) -> str:
    """Return a component of a stored method as the text that names it on the command line."""
    plain = method[kind]
    registry = plugins()[kind]
    fields = registry.entry(plain["name"]).fields if plain["name"] in registry else ()
    return settings(plain["name"], plain, {field.name: field.default for field in fields})
