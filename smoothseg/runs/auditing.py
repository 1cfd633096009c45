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
from smoothseg.certificates.hierarchy import Hierarchy, from_header, leaf_count
from smoothseg.certificates.stopping import without
from smoothseg.components.plugins import plugins
from smoothseg.data.checks import check_sample
from smoothseg.errors import DataError, SmoothsegError
from smoothseg.protocols import Dataset, Sample
from smoothseg.runs import results
from smoothseg.runs.ledger import Ledger, has_failed
from smoothseg.runs.plan import Method
from smoothseg.smoothing.kinds import ALGORITHMS

__all__ = ["audit", "header_differences"]

_ALWAYS = {"python", "smoothseg", "torch", "numpy"}
"""What every run has a version of."""

_Expected = Mapping[str, tuple[Mapping[str, Any], float, str]]
"""Method as run.json describes it, sigma and key of every certificate of a run, by path."""


def audit(directory: Path, *, images: bool = False, dataset: str | None = None) -> Iterator[str]:
    """Yield what in the run of `directory` contradicts run.json or the ledger, each as `file: field: what`.

    images: also compare images and labels with run.json, and the ledger's counts with the labels; this needs the
    dataset. dataset: a spec of it, if it is not where run.json says.

    Raises `DataError` if `directory` holds no run.
    """
    identity = results.read_identity(directory)
    try:
        samples = _Samples(identity, dataset) if images else None
        yield from _faults(directory, identity, samples)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"run.json or ledger.jsonl: not as smoothseg writes them ({type(error).__name__}: {error})"


def _faults(directory: Path, identity: Mapping[str, Any], samples: _Samples | None) -> Iterator[str]:
    plan = identity["plan"]
    if "noise" in plan and ALGORITHMS.get(plan["noise"]) != identity["noise"]:
        yield f"run.json: noise is {identity['noise']!r}, its plan says {plan['noise']!r}"
    for package in _ALWAYS - identity["versions"].keys():
        yield f"run.json: versions: {package} is missing"
    expected = _expected(identity)
    there = {path.relative_to(directory).as_posix() for path in directory.glob("certificates/**/*.npz")}
    last: dict[str, Mapping[str, Any]] = {}
    lines = Ledger(directory / "ledger.jsonl")
    for number in lines.damaged:
        yield f"ledger.jsonl: line {number} is damaged: the command that made the run makes its certificate again"
    for entry in lines:
        path = entry["certificate"]
        if path not in expected:
            yield f"ledger.jsonl: a line for {path}, which is not of this run"
            continue
        last[path] = entry
        # Tables go by these three: a line may not stand for another certificate than the one it names.
        method, sigma, key = expected[path]
        for field, right in (("method", method["name"]), ("sigma", sigma), ("key", key)):
            if entry.get(field) != right:
                yield f"ledger.jsonl: {path}: {field} is {_shown(entry.get(field))}, the path says {right!r}"
    failed = {path for path, entry in last.items() if has_failed(entry)}
    for path in sorted(failed & there):
        yield f"{path}: the ledger says that it failed"
    there -= failed
    ledger = {path: entry for path, entry in last.items() if path not in failed}
    for path in sorted(set(ledger) - there):
        yield f"{path}: the ledger has it, and it was removed"
    missing = [path for path in expected if path not in there and path not in last]
    if missing:
        yield (
            f"run.json: {len(missing)} of its {len(expected)} certificates are missing, the first is {missing[0]}: the "
            "run is unfinished and the same command goes on, or they were removed"
        )
    for path in sorted(there - set(expected)):
        yield f"{path}: not a certificate of this run"
    yield from _labelled(identity, ledger)
    behind: list[str] = []
    if samples is not None:
        yield from samples.differences()
    for path, (method, sigma, key) in expected.items():
        if path not in there:
            continue
        try:
            made = load(directory / path)
        except DataError as error:
            yield f"{path}: {str(error).removeprefix(f'{directory / path} ')}"
            continue
        for field, stated, right in header_differences(identity, method["name"], sigma, key, made.provenance):
            if field == "certifier" and _is_behind(stated, right):
                behind.append(path)
                continue
            yield f"{path}: {field} is {_shown(stated)}, run.json says {right!r}"
        if path not in ledger:
            yield f"ledger.jsonl: no line for {path}: the run was interrupted there, or the line was removed"
        elif not results.intact(directory, ledger[path]):
            yield f"{path}: not the file that the ledger records"
        else:
            sample = None if samples is None else samples.get(key)
            classes = leaf_count(
                identity["classes"][method["name"]], results.hierarchy(identity, method["name"])
            )
            ignore = classes if samples is None else samples.ignore(classes)
            for field, stated, right in _line(ledger[path], made, sample, ignore):
                yield f"ledger.jsonl: {path}: {field} is {_shown(stated)}, the certificate gives {right!r}"
    if behind:
        yield (
            f"run.json: {len(behind)} certificates have the rules for stopping of before, the first is {behind[0]}: "
            "the run is being extended, and the same command goes on"
        )


def _is_behind(stated: Any, right: Mapping[str, Any]) -> bool:
    """Tell whether a certificate has other rules for stopping than the run, and the same certifier otherwise."""
    name = right["name"]
    registry = plugins()["certifier"]
    stops = getattr(registry.entry(name).recipe, "stops", ()) if name in registry else ()
    return bool(stops) and isinstance(stated, Mapping) and without(stated, stops) == without(right, stops)


def _shown(stated: Any) -> str:
    return "missing" if stated is None else repr(stated)


def _labelled(identity: Mapping[str, Any], ledger: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield where the ledger's counts cannot be of one label map for each image."""
    seen: dict[tuple[str, int], tuple[int, ...]] = {}
    for path, entry in ledger.items():
        key = str(entry.get("key"))
        for which in ("certified", "clean"):
            try:
                told = counts.Counts.from_json(entry[which])
            except (DataError, KeyError, TypeError):
                continue  # named where it is compared with its certificate
            if key in identity["images"] and (told.confusion is None) != (
                identity["images"][key]["labels"] is None
            ):
                yield f"ledger.jsonl: {path}: {which}.confusion: {key} has labels, or none, as run.json says"
            if told.confusion is None:
                continue
            totals: dict[int, int] = {}
            for label, _, count in told.confusion:
                totals[label] = totals.get(label, 0) + count
            of_each = tuple(value for pair in sorted(totals.items()) for value in pair)
            if seen.setdefault((key, told.classes), of_each) != of_each:
                yield f"ledger.jsonl: {path}: {which}.confusion: {key} has other labels here than in another line"


def _expected(identity: Mapping[str, Any]) -> _Expected:
    return {
        results.certificate_path(_slug(method), sigma, key): (method, sigma, key)
        for key in identity["images"]
        for method in identity["plan"]["methods"]
        for sigma in identity["plan"]["sigma"]
    }


def _slug(method: Mapping[str, Any]) -> str:
    return Method(method["name"], None, None, None).slug


class _Samples:
    """The samples of a run's dataset, by key."""

    def __init__(self, identity: Mapping[str, Any], dataset: str | None) -> None:
        spec = identity["plan"]["dataset"] if dataset is None else dataset
        self._dataset: Dataset = plugins()["dataset"].recipe(spec).load()
        self._index = {key: number for number, key in enumerate(self._dataset.keys)}
        self._images, self._skipped = identity["images"], set(identity.get("skipped", ()))
        plan = identity["plan"]
        self._chosen = [
            self._dataset.keys[i] for i in range(0, len(self._dataset), plan["every"])[: plan["images"]]
        ]

    def get(self, key: str) -> Sample | None:
        """Return the sample called `key`; None if the dataset has none."""
        return self._dataset[self._index[key]] if key in self._index else None

    def ignore(self, classes: int) -> int:
        """Return the label that is no class; of a dataset without classes, the first index after the segmenter's."""
        return self._dataset.ignore if self._dataset.classes else classes

    def differences(self) -> Iterator[str]:
        """Yield each image and label map that is not that of run.json, and images that were left out or added."""
        if set(self._chosen) != set(self._images) | self._skipped:
            apart = sorted(set(self._chosen) ^ (set(self._images) | self._skipped))
            yield f"run.json: images: not those that the plan takes of the dataset: {', '.join(apart[:3])}"
        for key, digests in self._images.items():
            sample = self.get(key)
            if sample is None:
                yield f"run.json: images: the dataset has no {key}"
                continue
            for what, found in sample_digests(sample).items():
                if found != digests[what]:
                    yield f"run.json: images: {key}: the dataset's {what} is another"
        for key in sorted(self._skipped & set(self._dataset.keys)):
            try:
                check_sample(self._dataset[self._index[key]], key, self._dataset)
            except SmoothsegError:
                continue
            yield f"run.json: skipped: {key}: it can be used"


_Differences = Iterator[tuple[str, Any, Any]]
"""Field, what is stated, and what is right."""


def header_differences(
    identity: Mapping[str, Any], name: str, sigma: float, key: str, header: Mapping[str, Any]
) -> _Differences:
    """Yield what differs between the header of a certificate and run.json: field, what is stated, what is right.

    name: the method's.
    """
    plan = identity["plan"]
    method = next(each for each in plan["methods"] if each["name"] == name)
    slug = _slug(method)
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
        "levels": identity.get("levels", {}).get(method["name"]),
        "weights": identity["weights"].get(slug),
        **{f"geometry.{name}": plan[name] for name in ("scale", "convention", "denoise_at")},
        **{f"versions.{name}": version for name, version in identity["versions"].items()},
    }
    if "recertified_from" in header:
        yield (
            "recertified_from",
            header["recertified_from"],
            "nothing: a run's certificates are at first hand",
        )
    if (plan["device"] == "cpu") != (header.get("device") == "cpu"):
        right["device"] = plan["device"]
    told = header["geometry"].get("sigma_told") if isinstance(header.get("geometry"), Mapping) else None
    if plan["convention"] == "paper" or plan["denoise_at"] == "full":
        right["geometry.sigma_told"] = sigma
    elif not (isinstance(told, float) and 0 < told <= sigma):
        yield "geometry.sigma_told", told, f"at most {sigma}, since resizing leaves no more noise"
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
    made: Certificate,
    sample: Sample | None,
    ignore: int,
) -> _Differences:
    """Yield what differs between a line of the ledger and its certificate. sample: the image's, to count its labels."""
    classes = len(made.provenance["classes"])
    hierarchy = from_header(made.provenance["classes"], made.provenance.get("levels"))
    leaves = leaf_count(made.provenance["classes"], hierarchy)
    radius = made.radius if math.isfinite(made.radius) else None
    if entry.get("radius") != radius:
        yield "radius", entry.get("radius"), radius
    if entry.get("samples", made.provenance.get("samples")) != made.provenance.get("samples"):
        yield "samples", entry["samples"], made.provenance.get("samples")
    stopping = made.stopping
    right = stopping and {
        **stopping.to_json(),
        "trials": made.trials,
        "certifier": made.provenance.get("certifier"),
    }
    if entry.get("stopping") != right:
        yield "stopping", entry.get("stopping"), right
    for which, prediction, certified in (
        ("certified", made.prediction, made.certified),
        ("clean", made.clean, None),
    ):
        if prediction is None:
            if entry.get(which) is not None:
                yield which, "there", "none: it has no prediction of the clean image"
            continue
        labels = None if sample is None else sample.labels
        try:
            found = counts.update(
                prediction, certified, labels, classes=classes, ignore=ignore, leaves=leaves
            )
            told = counts.Counts.from_json(entry.get(which) or {})
        except (DataError, TypeError) as error:
            yield which, f"no count ({error})", "one"
            continue
        for field in ("classes", "pixels", "certified", *(() if labels is None else ("confusion",))):
            if getattr(told, field) != getattr(found, field):
                yield f"{which}.{field}", getattr(told, field), getattr(found, field)
        if labels is None and told.classes == classes:
            yield from _columns(which, told, prediction, certified)
    yield from _radii(entry.get("by_radius"), made, None if sample is None else sample.labels, hierarchy)


def _radii(there: Any, made: Certificate, labels: Any, hierarchy: Hierarchy | None) -> _Differences:
    """Yield what differs between the pixels at each radius in the ledger and in the certificate."""
    radii = made.verdict.radii
    if radii is None or there is None:
        if (radii is None) != (there is None):
            yield "by_radius", there, "none" if radii is None else "some for each radius"
        return
    known = slice(2 if labels is None else 3)  # without labels it is not known how many are correct
    found = counts.by_radius(made.prediction, made.certified, radii, labels, hierarchy=hierarchy)
    told, here = ([list(each)[known] for each in lines] for lines in (there, found))
    if told != here:
        yield "by_radius", told, here


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
