"""What a run directory says: its rows and tables, from the ledger alone, without torch or an image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg import certificate as certificates
from smoothseg import metrics
from smoothseg.bounds import Bounds, Region, bounds, check_certifier, regions
from smoothseg.errors import ConfigError, DataError, UnknownNameError
from smoothseg.files import write_atomically
from smoothseg.images import read_labels
from smoothseg.ledger import Ledger
from smoothseg.plugins import plugins
from smoothseg.registry import settings
from smoothseg.report.formats import FORMATS, per_class
from smoothseg.report.rows import Row

__all__ = ["SCHEMA", "Bounded", "bounded", "entries", "intact", "read_identity", "rows", "write_tables"]

SCHEMA = 1
"""Version of the run directory's layout; `read_identity` refuses any other."""


@dataclasses.dataclass(frozen=True)
class Bounded:
    """The bounds of one certificate of a run, and its regions, the largest first."""

    key: str
    method: str
    sigma: float
    bounds: Bounds
    regions: tuple[Region, ...]


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


def bounded(
    directory: Path,
    *,
    method: str | None = None,
    sigma: float | None = None,
    key: str | None = None,
    radius: float | None = None,
    region: Path | None = None,
    least: int = 1,
) -> Iterator[Bounded]:
    """Yield the bounds of the certificates of the run in `directory`, those of one method, sigma or key if given.

    Labels come from the run's dataset. radius: what to bound at, no more than a certificate's unless it has a radius
    a pixel; None takes the certificate's. region: a mask file of the image's size, 0 outside. least: pixels of the
    smallest region that is listed.

    Raises `UnknownNameError` and `ConfigError` for what the run does not have, `DataError` for files that are missing
    or are not those that the ledger records.
    """
    identity = read_identity(directory)
    latest = {entry["certificate"]: entry for entry in Ledger(directory / "ledger.jsonl")}
    wanted = set(identity["images"])
    entries = [entry for entry in latest.values() if entry["key"] in wanted]
    for name, value in (("method", method), ("sigma", sigma), ("key", key)):
        known = sorted({entry[name] for entry in entries})
        if value is not None and value not in known:
            raise UnknownNameError.of(
                "image" if name == "key" else name, str(value), map(str, known), listed="the run has"
            )
        entries = [entry for entry in entries if value is None or entry[name] == value]
    dataset = plugins()["dataset"].recipe(identity["plan"]["dataset"]).load()
    index = {name: number for number, name in enumerate(dataset.keys)}
    for entry in sorted(entries, key=lambda one: (one["key"], one["method"], one["sigma"])):
        if entry["key"] not in index or not intact(directory, entry):
            what = (
                "dataset has no image"
                if entry["key"] not in index
                else "ledger records another certificate of"
            )
            raise DataError(f"{directory}: the {what} '{entry['key']}'")
        made = certificates.load(directory / entry["certificate"])
        check_certifier(made.provenance["certifier"])
        at, certified = _at(made, radius)
        labels = dataset[index[entry["key"]]].labels
        mask = None
        if region is not None:
            size = made.prediction.shape[0], made.prediction.shape[1]
            mask = read_labels(region, classes=255, ignore=255, size=size) != 0
        classes, ignore = made.provenance["classes"], None if labels is None else dataset.ignore
        inside = made.prediction if mask is None else np.where(mask, made.prediction, -1)
        yield Bounded(
            entry["key"],
            entry["method"],
            entry["sigma"],
            bounds(made.prediction, certified, classes, radius=at, labels=labels, ignore=ignore, region=mask),
            regions(inside, certified, classes, least=least),
        )


def _at(made: certificates.Certificate, radius: float | None) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return the radius to bound at and the pixels that are certified at it."""
    if radius is None or radius == made.radius:
        return made.radius, made.certified
    if made.verdict.radii is not None:
        return radius, made.certified & (made.verdict.radii >= radius)
    if not radius < made.radius:
        raise ConfigError(f"--radius {radius:g} is beyond the certificate's radius of {made.radius:g}")
    return radius, made.certified


def write_tables(directory: Path, result: Sequence[Row]) -> None:
    """Write the files a run promises: metrics.json, metrics.csv, per_class.csv and table.md."""
    for name, content in (
        ("metrics.json", FORMATS["json"](result)),
        ("metrics.csv", FORMATS["csv"](result)),
        ("per_class.csv", per_class(result)),
        ("table.md", FORMATS["markdown"](result)),
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
