"""Execute a run, image by image: make and record every missing certificate, and do nothing twice."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoothseg.certificates import counts
from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.file import save
from smoothseg.certificates.rounding import rounded_down
from smoothseg.errors import DataError
from smoothseg.machine import devices
from smoothseg.protocols import Sample
from smoothseg.runs import logs
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.listener import Illustrator, Listener
from smoothseg.runs.logs import log
from smoothseg.runs.preparing import Job, Prepared
from smoothseg.runs.resuming import begin, done

__all__ = ["execute"]


def execute(
    prepared: Prepared,
    directory: Path,
    *,
    batch_size: int = 1,
    fresh: bool = False,
    listener: Listener | None = None,
    illustrator: Illustrator | None = None,
) -> None:
    """Make every certificate of `prepared` in `directory`.

    Certificates in the ledger are not made again, and the result is that of an uninterrupted run. batch_size: noise
    samples labelled at once; it changes speed and memory, but no count. fresh: remove an earlier run from the directory
    first. listener: receives the progress. illustrator: draws each image once its certificates exist.

    Raises `RunMismatchError` if the directory holds a run of another configuration.
    """
    told = Listener() if listener is None else listener
    threads = begin(prepared, directory, fresh=fresh)
    with logs.writing(directory / "log.txt"), _threads(threads):
        logs.settings(device=devices.describe(prepared.device), threads=threads, batch_size=batch_size)
        for problem in prepared.skipped.values():
            log.warning("skipped: %s", problem)
        if illustrator is not None:
            illustrator.begin()
        told.opened()
        _work(prepared, directory, batch_size, told, illustrator)


def _work(
    prepared: Prepared, directory: Path, batch_size: int, told: Listener, illustrator: Illustrator | None
) -> None:
    """Make every missing certificate and picture, image by image."""
    ledger = Ledger(directory / "ledger.jsonl")
    there = done(directory)
    log.info(
        "%d of %d certificates are there already",
        sum(job.path in there for job in prepared.jobs),
        len(prepared.jobs),
    )
    entries = {entry["certificate"]: entry for entry in ledger if entry["certificate"] in there}
    for job in prepared.jobs:
        if job.path in there:
            told.certified(job, entries[job.path], True)
    for index, key in zip(prepared.indices, prepared.keys, strict=True):
        missing = [job for job in prepared.jobs_of(key) if job.path not in there]
        undrawn = () if illustrator is None else illustrator.missing(key)
        if not missing and not undrawn:
            continue
        sample = prepared.dataset[index]
        if sample_digests(sample) != prepared.images[key]:
            raise DataError(f"image {key} changed while the run was going on")
        for job in missing:
            told.started(job)
            entry = _certify(prepared, job, sample, directory, batch_size, told)
            ledger.append(entry)
            told.certified(job, entry, False)
        if illustrator is not None and undrawn:
            log.info("drawing %s", key)
            for method in undrawn:
                illustrator.draw(sample, method)


def _certify(
    prepared: Prepared,
    job: Job,
    sample: Sample,
    directory: Path,
    batch_size: int,
    told: Listener,
) -> dict[str, Any]:
    """Make one certificate, save it, and return its ledger line."""
    model = prepared.models[job.method.slug]
    sampling = 0.0

    def timed(count: int) -> None:
        nonlocal sampling
        sampling = time.perf_counter() - started
        told.sampled(count)

    started = time.perf_counter()
    result = prepared.pipeline(job.method).certify(
        sample, sigma=job.sigma, batch_size=batch_size, progress=timed
    )
    seconds = time.perf_counter() - started
    path = directory / job.path
    save(result, path)
    log.info(
        "certified %s, %s, sigma %g: radius %s, %.1f%% abstain, %d samples in %.1f s",
        job.key, job.method.name, job.sigma, rounded_down(result.radius, 4), 100 * result.abstained,
        result.provenance["samples"], seconds,
    )  # fmt: skip
    return {
        "method": job.method.name,
        "sigma": job.sigma,
        "key": job.key,
        "certificate": job.path,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "radius": result.radius if np.isfinite(result.radius) else None,
        "by_radius": _by_radius(result, sample),
        "seconds": {"sampling": round(sampling, 4), "total": round(seconds, 4)},
        **_counted(result, sample, classes=len(model.segmenter.classes), ignore=prepared.ignore(job.method)),
    }


def _counted(result: Certificate, sample: Sample, *, classes: int, ignore: int) -> dict[str, Any]:
    """Return the pixel counts of the certified and of the clean prediction for the ledger."""
    assert result.clean is not None
    certified = counts.update(
        result.prediction, result.certified, sample.labels, classes=classes, ignore=ignore
    )
    clean = counts.update(result.clean, None, sample.labels, classes=classes, ignore=ignore)
    return {"certified": certified.to_json(), "clean": clean.to_json()}


def _by_radius(result: Certificate, sample: Sample) -> list[list[float]] | None:
    """Return the pixels at each radius for the ledger; None if all certified pixels have the same radius."""
    radii = result.verdict.radii
    if radii is None:
        return None
    return [
        list(each) for each in counts.by_radius(result.prediction, result.certified, radii, sample.labels)
    ]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
