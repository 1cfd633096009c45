"""Execute a run, image by image: make and record every missing certificate, and do nothing twice."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoothseg.certificates import counts
from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.file import load, save
from smoothseg.certificates.hierarchy import Hierarchy, leaf_count
from smoothseg.certificates.rounding import rounded_down
from smoothseg.certificates.stopping import OUT_OF_TIME, Look
from smoothseg.components.blaming import blamed
from smoothseg.components.plugins import plugins
from smoothseg.errors import DataError, SmoothsegError, first_line
from smoothseg.files import plain, sha256_of
from smoothseg.machine import devices
from smoothseg.protocols import Sample
from smoothseg.runs import logs
from smoothseg.runs.interrupting import Expired, limited
from smoothseg.runs.ledger import Ledger, has_failed
from smoothseg.runs.listener import Illustrator, Listener
from smoothseg.runs.logs import log
from smoothseg.runs.plan import Method
from smoothseg.runs.preparing import Job, Prepared
from smoothseg.runs.resuming import Extension, begin, found
from smoothseg.smoothing.sampling import BatchSize
from smoothseg.smoothing.stop import Stop

__all__ = ["execute"]


@dataclasses.dataclass(frozen=True)
class _Work:
    """What every certificate of a run shares."""

    prepared: Prepared
    directory: Path
    ledger: Ledger
    batch: BatchSize
    timeout: float | None
    told: Listener
    illustrator: Illustrator | None
    stop: Stop
    extension: Extension | None
    made: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def before(self, job: Job) -> Certificate | None:
        """Return the certificate that goes on as that of `job`; None: it is made anew."""
        path = self.directory / job.path
        if job.path in self.made:
            return load(path)
        if path.exists() and self._is_of(job, path):
            return load(path)  # the process ended before it could write the ledger's line
        return None if self.extension is None else self.extension.certificate(job.path)

    def _is_of(self, job: Job, path: Path) -> bool:
        """Tell whether a file without a line of the ledger is a certificate of `job` that may go on."""
        try:
            there = load(path)
        except SmoothsegError:
            return False
        rules = plugins()["certifier"].describe(job.method.certifier)
        return there.stopping is not None and plain(there.provenance["certifier"]) == plain(rules)

    def earlier(self, job: Job) -> Mapping[str, Any] | None:
        """Return the ledger line of the certificate that goes on as that of `job`, if one does."""
        made = self.made if self.extension is None else {**self.extension.made, **self.made}
        return made.get(job.path)


class _OfListenerError(BaseException):
    """What a listener raises is no fault of the component that was at work: it ends the run."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def execute(
    prepared: Prepared,
    directory: Path,
    *,
    batch_size: int = 1,
    fresh: bool = False,
    timeout: float | None = None,
    retry_failed: bool = False,
    extension: Extension | None = None,
    listener: Listener | None = None,
    illustrator: Illustrator | None = None,
    stop: Stop | None = None,
) -> None:
    """Make every certificate of `prepared` in `directory`.

    Certificates in the ledger are not made again, and the result is that of an uninterrupted run. A certificate that
    cannot be made, because a component raises, hangs or breaks its contract, is a line of the ledger with the reason,
    and the run goes on with the next; it has no votes, no pixels and no file.

    batch_size: noise samples labelled at once; it changes speed and memory, but no count. fresh: remove an earlier run
    from the directory first. timeout: seconds that one certificate may take. retry_failed: try those that failed before
    once more. listener: receives the progress. illustrator: draws each image once its certificates exist.

    Certificates of a certifier that may stop at any time go on where they stopped, if that was for an interruption or
    by other rules. extension: all of them go on, those of its run too. stop: such a certifier is asked to stop by it;
    the time limit asks it, too, and its certificate is saved as it is then.

    The caller holds the directory, see `locking.py`. Raises `RunMismatchError` if it holds a run of another
    configuration.
    """
    told = Listener() if listener is None else listener
    threads = begin(prepared, directory, fresh=fresh, extension=extension)
    # What a plugin prints must not stand between the results.
    with logs.writing(directory / "log.txt"), _threads(threads), contextlib.redirect_stdout(sys.stderr):
        logs.settings(device=devices.describe(prepared.device), threads=threads, batch_size=batch_size)
        for problem in prepared.skipped.values():
            log.warning("skipped: %s", problem)
        if illustrator is not None:
            illustrator.begin()
        told.opened()
        batch = BatchSize(batch_size, halved=_halved)
        ledger = Ledger(directory / "ledger.jsonl")
        stop = Stop() if stop is None else stop
        work = _Work(prepared, directory, ledger, batch, timeout, told, illustrator, stop, extension)
        _run(work, retry_failed=retry_failed)


def _halved(size: int) -> None:
    log.warning("out of memory: going on with %d noise sample%s at once", size, "" if size == 1 else "s")


def _run(work: _Work, *, retry_failed: bool) -> None:
    """Make every missing certificate and picture, image by image."""
    prepared, illustrator = work.prepared, work.illustrator
    there = found(work.directory)
    work.made.update(there.made)
    known = sum(job.path in there.made for job in prepared.jobs)
    log.info("%d of %d certificates are there already", known, len(prepared.jobs))
    every = work.extension is not None
    undone = {job.path for job in there.undone(prepared.jobs, retry_failed=retry_failed, every=every)}
    for job in prepared.jobs:
        if job.path in undone:
            continue
        if job.path in there.made:
            work.told.certified(job, there.made[job.path], True)
        else:
            work.told.failed(job, str(there.failed[job.path]["failed"]), True)
    for index, key in zip(prepared.indices, prepared.keys, strict=True):
        missing = [job for job in prepared.jobs_of(key) if job.path in undone]
        undrawn = () if illustrator is None else illustrator.missing(key)
        if not missing and not undrawn:
            continue
        sample: Sample | SmoothsegError
        try:
            with limited(work.timeout):
                sample = _sample(prepared, index, key)
        except SmoothsegError as error:
            sample = error
        except Expired:
            sample = DataError(f"the dataset did not give it within {work.timeout:g} s")
        for job in missing:
            work.told.started(job)
            _do(work, job, sample)
        if illustrator is None or not isinstance(sample, Sample):
            continue
        undrawn = illustrator.missing(key)
        last = {str(entry["certificate"]): entry for entry in work.ledger}
        for method in undrawn:
            lines = [last.get(job.path) for job in prepared.jobs_of(key) if job.method is method]
            if all(line is not None and not has_failed(line) for line in lines):
                _draw(work, illustrator, sample, method)


def _sample(prepared: Prepared, index: int, key: str) -> Sample:
    """Return a sample; raise `PluginError` if the dataset does not give it, and `DataError` if it has changed."""
    with blamed("dataset", plugins()["dataset"].name_of(prepared.plan.dataset)):
        sample = prepared.dataset[index]
    if sample_digests(sample) != prepared.images[key]:
        raise DataError(f"image {key} changed while the run was going on")
    return sample


def _draw(work: _Work, illustrator: Illustrator, sample: Sample, method: Method) -> None:
    """Draw a picture; a run does not fail for want of one, but it does for want of a place to write."""
    log.info("drawing %s", sample.key)
    try:
        with limited(work.timeout):
            illustrator.draw(sample, method)
    except OSError:
        raise
    except (Expired, Exception) as error:
        reason = "out of time" if isinstance(error, Expired) else first_line(error)
        log.warning("no picture of %s, %s: %s", sample.key, method.name, reason)


def _do(work: _Work, job: Job, sample: Sample | SmoothsegError) -> None:
    """Make one certificate and record it, or record why it cannot be made. sample: the image, or its error.

    If somebody asked to end the run meanwhile, it ends then.
    """
    work.stop.finish()
    try:
        _attempt(work, job, sample)
    finally:
        ending = work.stop.finish()
    if ending is not None:
        raise ending


def _attempt(work: _Work, job: Job, sample: Sample | SmoothsegError) -> None:
    """Make one certificate and record it, or record why it cannot be made."""
    if not isinstance(sample, Sample):
        _fail(work, job, str(sample))
        return

    def lost() -> None:
        """End the process, from the watchdog's thread: the main thread does not return to Python."""
        reason = f"no certificate after {work.timeout:g} s, and nothing could stop it"
        _fail(work, job, reason)
        print(
            f"\nError: {job.key}: {reason}; the same command goes on with the others",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    started = time.perf_counter()
    try:
        with limited(work.timeout, stop=work.stop, lost=lost):
            result, sampling = _certified(work, job, sample)
    except Expired as error:
        note = "".join(f" {each}" for each in getattr(error, "__notes__", [])[:1])
        _fail(work, job, f"no certificate after {work.timeout:g} s{note}")
        return
    except _OfListenerError as error:
        raise error.error from None
    except Exception as error:  # plugins raise anything; the log has the traceback
        known = isinstance(error, SmoothsegError)
        _fail(
            work, job, first_line(error) if known else f"{type(error).__name__}: {first_line(error)}", error
        )
        return
    _record(work, job, sample, result, sampling, time.perf_counter() - started)


def _certified(work: _Work, job: Job, sample: Sample) -> tuple[Certificate, float]:
    """Return the certificate and the seconds until its last noise sample."""
    started, sampling = time.perf_counter(), 0.0

    def timed(count: int) -> None:
        nonlocal sampling
        sampling = time.perf_counter() - started
        late = work.timeout is not None and sampling > work.timeout and work.stop.asked is None
        if late and not work.stop.ask(OUT_OF_TIME):
            raise Expired  # where no signal can say it
        with _of_listener():
            work.told.sampled(count)

    def looked(look: Look) -> None:
        with _of_listener():
            work.told.looked(job, look)

    pipeline, before = work.prepared.pipeline(job.method), work.before(job)
    made = pipeline.certify(
        sample,
        sigma=job.sigma,
        batch_size=work.batch,
        progress=timed,
        looked=looked,
        stop=work.stop,
        before=before,
    )
    return made, sampling


@contextlib.contextmanager
def _of_listener() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _OfListenerError(error) from error


def _fail(work: _Work, job: Job, reason: str, error: Exception | None = None) -> None:
    """Record that the certificate cannot be made, and why. One that could not go on stays as it was."""
    log.error("failed: %s, %s, sigma %g: %s", job.key, job.method.name, job.sigma, reason, exc_info=error)
    if job.path in work.made:
        work.told.failed(job, f"{reason}; its certificate stays as it was", False)
        return
    (work.directory / job.path).unlink(missing_ok=True)  # what is there is damaged: else it would not be made
    work.ledger.append(
        {
            "method": job.method.name,
            "sigma": job.sigma,
            "key": job.key,
            "certificate": job.path,
            "failed": reason,
        }
    )
    work.told.failed(job, reason, False)


def _record(
    work: _Work, job: Job, sample: Sample, result: Certificate, sampling: float, seconds: float
) -> None:
    """Save one certificate and its ledger line."""
    path, prepared = work.directory / job.path, work.prepared
    before = work.earlier(job)
    changed = before is None or before.get("samples") != result.provenance["samples"]
    if path.exists() and changed and work.illustrator is not None:
        work.illustrator.forget(job.key, job.method)
    save(result, path)
    log.info(
        "certified %s, %s, sigma %g: radius %s, %.1f%% abstain, %d samples in %.1f s",
        job.key, job.method.name, job.sigma, rounded_down(result.radius, 4), 100 * result.abstained,
        result.provenance["samples"], seconds,
    )  # fmt: skip
    entry = {
        "method": job.method.name,
        "sigma": job.sigma,
        "key": job.key,
        "certificate": job.path,
        "sha256": sha256_of(path),
        "samples": result.provenance["samples"],
        "radius": result.radius if np.isfinite(result.radius) else None,
        "by_radius": _by_radius(result, sample, prepared.hierarchy(job.method)),
        "seconds": {"sampling": round(sampling, 4), "total": round(seconds, 4)},
        **_counted(result, sample, prepared, job.method),
    }
    if result.stopping is not None and before is not None:
        entry["seconds"] = {
            name: round(value + before["seconds"].get(name, 0.0), 4)
            for name, value in entry["seconds"].items()
        }
    if result.stopping is not None:
        entry["stopping"] = {
            **result.stopping.to_json(),
            "trials": result.trials,
            "certifier": result.provenance["certifier"],
        }
    work.ledger.append(entry)
    work.told.certified(job, entry, False)


def _counted(result: Certificate, sample: Sample, prepared: Prepared, method: Method) -> dict[str, Any]:
    """Return the pixel counts of the certified and of the clean prediction for the ledger."""
    assert result.clean is not None
    names, ignore = prepared.names(method), prepared.ignore(method)
    leaves = leaf_count(names, prepared.hierarchy(method))
    certified, clean = (
        counts.update(prediction, sure, sample.labels, classes=len(names), ignore=ignore, leaves=leaves)
        for prediction, sure in ((result.prediction, result.certified), (result.clean, None))
    )
    return {"certified": certified.to_json(), "clean": clean.to_json()}


def _by_radius(result: Certificate, sample: Sample, hierarchy: Hierarchy | None) -> list[list[float]] | None:
    """Return the pixels at each radius for the ledger; None if all certified pixels have the same radius."""
    radii = result.verdict.radii
    if radii is None:
        return None
    found = counts.by_radius(result.prediction, result.certified, radii, sample.labels, hierarchy=hierarchy)
    return [list(each) for each in found]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
