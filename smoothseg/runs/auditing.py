"""Whether all in a run directory agrees: run.json, certificates, ledger and, with the dataset, images and labels.

This finds what was changed by hand, dropped, or put in. It cannot find a change that was made everywhere alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smoothseg.certificates import counts
from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.file import load
from smoothseg.components.plugins import plugins
from smoothseg.errors import DataError
from smoothseg.protocols import Dataset, Sample
from smoothseg.runs import results
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.plan import Method

__all__ = ["audit"]

_Expected = Mapping[str, tuple[Mapping[str, Any], float, str]]
"""Method as run.json describes it, sigma and key of every certificate of a run, by path."""


def audit(directory: Path, *, images: bool = False) -> Iterator[str]:
    """Yield what in the run of `directory` contradicts run.json or the ledger, each as `file: field: what`.

    images: also compare images and labels with run.json, and the ledger's counts with the labels; this needs the
    dataset.

    Raises `DataError` if `directory` holds no run.
    """
    identity = results.read_identity(directory)
    expected = _expected(identity)
    there = {path.relative_to(directory).as_posix() for path in directory.glob("certificates/**/*.npz")}
    missing = [path for path in expected if path not in there]
    if missing:
        yield (
            f"run.json: {len(missing)} of its {len(expected)} certificates are missing, the first is {missing[0]}; the "
            "run is unfinished, or they were removed"
        )
    for path in sorted(there - set(expected)):
        yield f"{path}: not a certificate of this run"
    ledger = {}
    for number, entry in enumerate(Ledger(directory / "ledger.jsonl"), start=1):
        if not {"certificate", "sha256"} <= set(entry):
            yield f"ledger.jsonl: line {number} names no certificate with its sha256"
            continue
        ledger[entry["certificate"]] = entry
    for path in ledger:
        if path not in expected:
            yield f"ledger.jsonl: a line for {path}, which is not of this run"
    samples = _Samples(identity) if images else None
    if samples is not None:
        yield from samples.differences()
    for path, (method, sigma, key) in expected.items():
        if path not in there:
            continue
        try:
            made = load(directory / path)
        except DataError as error:
            yield str(error)
            continue
        for field, stated, right in _header(identity, method, sigma, key, made.provenance):
            yield f"{path}: {field} is {stated!r}, run.json says {right!r}"
        if path not in ledger:
            yield f"ledger.jsonl: no line for {path}"
        elif not results.intact(directory, ledger[path]):
            yield f"{path}: not the file that the ledger records"
        else:
            sample = None if samples is None else samples.get(key)
            classes = len(identity["classes"][method["name"]])
            ignore = classes if samples is None else samples.ignore(classes)
            for field, stated, right in _line(ledger[path], method, sigma, key, made, sample, ignore):
                yield f"ledger.jsonl: {path}: {field} is {stated!r}, the certificate gives {right!r}"


def _expected(identity: Mapping[str, Any]) -> _Expected:
    return {
        f"certificates/{Method(method['name'], None, None, None).slug}/sigma-{sigma}/{key}.npz": (
            method,
            sigma,
            key,
        )
        for key in identity["images"]
        for method in identity["plan"]["methods"]
        for sigma in identity["plan"]["sigma"]
    }


class _Samples:
    """The samples of a run's dataset, by key."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self._dataset: Dataset = plugins()["dataset"].recipe(identity["plan"]["dataset"]).load()
        self._index = {key: number for number, key in enumerate(self._dataset.keys)}
        self._images = identity["images"]

    def get(self, key: str) -> Sample | None:
        """Return the sample called `key`; None if the dataset has none."""
        return self._dataset[self._index[key]] if key in self._index else None

    def ignore(self, classes: int) -> int:
        """Return the label that is no class; of a dataset without classes, the first index after the segmenter's."""
        return self._dataset.ignore if self._dataset.classes else classes

    def differences(self) -> Iterator[str]:
        """Yield each image and label map that is not that of run.json."""
        for key, digests in self._images.items():
            sample = self.get(key)
            if sample is None:
                yield f"run.json: images: the dataset has no {key}"
                continue
            for what, found in sample_digests(sample).items():
                if found != digests[what]:
                    yield f"run.json: images: {key}: the dataset's {what} is another"


_Differences = Iterator[tuple[str, Any, Any]]
"""Field, what is stated, and what is right."""


def _header(
    identity: Mapping[str, Any], method: Mapping[str, Any], sigma: float, key: str, header: Mapping[str, Any]
) -> _Differences:
    """Yield what differs between the header of a certificate and run.json."""
    plan, slug = identity["plan"], Method(method["name"], None, None, None).slug
    right: dict[str, Any] = {
        "image.key": key,
        "image.sha256": identity["images"][key]["image"],
        "method": method["name"],
        **{kind: method[kind] for kind in ("denoiser", "segmenter", "certifier")},
        "sigma": sigma,
        "seed": plan["seed"],
        "dataset": plan["dataset"],
        "noise": identity["noise"],
        "classes": identity["classes"][method["name"]],
        **{f"weights.{kind}": digests for kind, digests in identity["weights"][slug].items()},
        **{f"geometry.{name}": plan[name] for name in ("scale", "convention", "denoise_at")},
        **{f"versions.{name}": version for name, version in identity["versions"].items()},
    }
    if "threads" in identity:
        right["threads"] = identity["threads"]
    if "plugins" in identity:
        right["plugins"] = identity["plugins"][slug]
    for field, value in right.items():
        first, _, rest = field.partition(".")
        stated = header.get(first)
        if rest:
            stated = stated.get(rest) if isinstance(stated, Mapping) else None
        if stated != value:
            yield field, stated, value


def _line(
    entry: Mapping[str, Any],
    method: Mapping[str, Any],
    sigma: float,
    key: str,
    made: Certificate,
    sample: Sample | None,
    ignore: int,
) -> _Differences:
    """Yield what differs between a line of the ledger and its certificate. sample: the image's, to count its labels."""
    classes = len(made.provenance["classes"])
    right: dict[str, Any] = {
        "method": method["name"],
        "sigma": sigma,
        "key": key,
        "radius": made.radius if math.isfinite(made.radius) else None,
    }
    yield from (
        (field, entry.get(field), value) for field, value in right.items() if entry.get(field) != value
    )
    for which, prediction, certified in (
        ("certified", made.prediction, made.certified),
        ("clean", made.clean, None),
    ):
        if prediction is None:
            continue
        try:
            told = counts.Counts.from_json(entry.get(which) or {})
        except DataError as error:
            yield which, str(error), "counts"
            continue
        labels = None if sample is None else sample.labels
        found = counts.update(prediction, certified, labels, classes=classes, ignore=ignore)
        for field in ("classes", "pixels", "certified", *(() if labels is None else ("confusion",))):
            if getattr(told, field) != getattr(found, field):
                yield f"{which}.{field}", getattr(told, field), getattr(found, field)
        if labels is None:
            yield from _columns(which, told, prediction, certified)
    yield from _radii(entry.get("by_radius"), made, None if sample is None else sample.labels)


def _radii(stated: Any, made: Certificate, labels: Any) -> _Differences:
    """Yield what differs between the pixels at each radius in the ledger and in the certificate."""
    radii = made.verdict.radii
    if radii is None or stated is None:
        if (radii is None) != (stated is None):
            yield "by_radius", stated, "none" if radii is None else "some for each radius"
        return
    known = slice(2 if labels is None else 3)  # without labels it is not known how many are correct
    there = [list(each)[known] for each in stated]
    here = [list(each)[known] for each in counts.by_radius(made.prediction, made.certified, radii, labels)]
    if there != here:
        yield "by_radius", there, here


def _columns(
    which: str, told: counts.Counts, prediction: np.ndarray[Any, Any], certified: np.ndarray[Any, Any] | None
) -> _Differences:
    """Yield each column of a confusion matrix that counts more pixels than there are in the certificate.

    Without labels this is all that can be told: pixels that the dataset ignores are left out of the matrix.
    """
    columns = prediction.astype(np.int64)
    if certified is not None:
        columns[~certified] = told.classes
    most = np.bincount(columns.ravel(), minlength=told.classes + 1)
    found = np.zeros(len(most), dtype=np.int64)
    for _, column, count in told.confusion or ():
        found[column] += count
    for over in np.flatnonzero(found > most).tolist():
        yield f"{which}.confusion, column {over}", int(found[over]), f"at most {int(most[over])}"
