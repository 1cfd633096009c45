"""The bounds of every certificate in a run directory, with the labels of the run's dataset.

`certificates/bounds.py` defines the bounds. Nothing here runs a network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates import certificate, file
from smoothseg.certificates.bounds import Bounds, bounds, check_certifier
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.hierarchy import from_header
from smoothseg.certificates.regions import Region, regions
from smoothseg.components.plugins import plugins
from smoothseg.data.images import read_labels
from smoothseg.errors import ConfigError, DataError, UnknownNameError
from smoothseg.protocols import Dataset, Sample
from smoothseg.runs import results

__all__ = ["Bounded", "bounded"]


@dataclasses.dataclass(frozen=True)
class Bounded:
    """The bounds of one certificate of a run, and its regions from largest to smallest."""

    key: str
    method: str
    sigma: float
    bounds: Bounds
    regions: tuple[Region, ...]
    grouped: bool
    """Whether pixels may be certified as groups of classes."""


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
    """Yield the bounds of the certificates of the run in `directory`, optionally of one method, sigma or key only.

    radius: the radius of the bounds; None takes the certificate's. It may exceed the certificate's radius only if every
    pixel has its own. region: a mask file of the image's size, 0 outside. least: pixels of the smallest region listed.

    Raises `UnknownNameError` and `ConfigError` if the run lacks what was requested, and `DataError` for certificates,
    images and labels that are missing or differ from the run's record.
    """
    if radius is not None and not 0 <= radius < math.inf:
        raise ConfigError(f"--radius must be a number of at least 0, got {radius}")
    identity = results.read_identity(directory)
    chosen = _chosen(directory, identity, method, sigma, key)
    dataset: Dataset = plugins()["dataset"].recipe(identity["plan"]["dataset"]).load()
    index = {name: number for number, name in enumerate(dataset.keys)}
    for entry in chosen:
        name = entry["key"]
        if name not in index:
            raise DataError(f"{directory}: the dataset has no image '{name}'")
        if not results.intact(directory, entry):
            raise DataError(f"{directory}: the ledger records another certificate of '{name}'")
        sample = dataset[index[name]]
        if sample_digests(sample) != identity["images"][name]:
            raise DataError(f"{directory}: the dataset's image or labels '{name}' are not those of the run")
        made = file.load(directory / entry["certificate"])
        check_certifier(plugins()["certifier"].recipe(made.provenance["certifier"]))
        yield _bounded(entry, made, sample, dataset.ignore, radius, region, least)


def _chosen(
    directory: Path, identity: Mapping[str, Any], method: str | None, sigma: float | None, key: str | None
) -> list[Mapping[str, Any]]:
    """Return the requested ledger lines, image by image."""
    chosen = [entry for each in results.entries(directory, identity).values() for entry in each.values()]
    for name, shown, value in (
        ("method", "method", method),
        ("sigma", "sigma", sigma),
        ("key", "image", key),
    ):
        known = sorted({entry[name] for entry in chosen})
        if value is not None and value not in known:
            raise UnknownNameError.of(shown, str(value), map(str, known), listed="the run has")
        chosen = [entry for entry in chosen if value is None or entry[name] == value]
    return sorted(chosen, key=lambda one: (one["key"], one["method"], one["sigma"]))


def _bounded(
    entry: Mapping[str, Any],
    made: certificate.Certificate,
    sample: Sample,
    ignore: int,
    radius: float | None,
    region: Path | None,
    least: int,
) -> Bounded:
    at, certified = _at(made, radius)
    mask = None
    if region is not None:
        size = made.prediction.shape[0], made.prediction.shape[1]
        mask = read_labels(region, classes=255, ignore=255, size=size) != 0
    found = made.prediction.astype(np.int32)
    classes = made.provenance["classes"]
    hierarchy = from_header(classes, made.provenance.get("levels"))
    return Bounded(
        entry["key"],
        entry["method"],
        entry["sigma"],
        bounds(
            found,
            certified,
            classes,
            radius=at,
            labels=sample.labels,
            ignore=None if sample.labels is None else ignore,
            region=mask,
            hierarchy=hierarchy,
        ),
        regions(
            found if mask is None else np.where(mask, found, -1),
            certified,
            classes,
            least=least,
            labels=sample.labels,
            ignore=None if sample.labels is None else ignore,
            hierarchy=hierarchy,
        ),
        hierarchy is not None,
    )


def _at(made: certificate.Certificate, radius: float | None) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return the radius of the bounds and the pixels that are certified at it.

    Radii are rounded down, and those of single pixels were once stored in 32 bits. A radius that exceeds a stored one
    by no more than that stands for the stored one.
    """
    if radius is None or not made.certified.any():
        return (made.radius if radius is None else radius), made.certified
    radii = made.verdict.radii
    stored = None if radii is None else np.where(made.certified, radii, np.nan)
    levels = np.array([made.radius]) if stored is None else np.unique(stored[~np.isnan(stored)])
    for level in levels:
        above = (
            np.nextafter(level, np.float32(math.inf)) if levels.dtype == np.float32 else level * (1 + 1e-13)
        )
        if float(level) < radius <= float(above):
            radius = float(level)
    if stored is not None:
        return radius, stored.astype(np.float64) >= radius
    if radius > made.radius:
        raise ConfigError(f"--radius {radius} is beyond the certificate's radius of {made.radius}")
    return radius, made.certified
