"""The directory of a run: create it, empty it, or recognise the same run in it, and find what is done.

RUN/
  config.yaml                                       the resolved configuration; `--config` runs it again
  run.json                                          what determines the results, compared before resuming
  ledger.jsonl                                      one line for each certificate, made or failed, with times
  log.txt                                           what happened when, see `logs.py`; not part of the result
  .lock, .owner.json                                who is at work here, see `locking.py`
  certificates/METHOD/sigma-S/KEY.npz               see `certificates/file.py`
  pictures/METHOD/KEY.png                           noisy, denoised, ground truth, certified
  previews/KEY/, legend.json                        see `report/previews.py`
  metrics.json, metrics.csv, per_class.csv, table.md, report.html

`report/` makes the pictures, previews, tables and the page.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.file import load
from smoothseg.certificates.stopping import INTERRUPTED, without
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, DataError, RunMismatchError
from smoothseg.files import plain, write_atomically, yaml_of
from smoothseg.machine import devices
from smoothseg.runs import auditing, manifest, results
from smoothseg.runs.ledger import Ledger, has_failed
from smoothseg.runs.locking import NAMES
from smoothseg.runs.logs import log
from smoothseg.runs.preparing import Job, Prepared
from smoothseg.smoothing.kinds import ALGORITHMS, name_of
from smoothseg.smoothing.pipeline import check_sequential

__all__ = ["Extension", "Found", "begin", "check_directory", "extension_of", "found", "remaining"]

_DOOMED = ".fresh"
"""Name of the run.json of a run that `--fresh` is removing: as long as it is there, so may be the run's other files."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What an earlier run left: the ledger lines of its certificates by path, made and failed, and what is damaged.

    damaged: a line in words for everything that is made again because of damage: run.json, ledger lines, certificates.
    """

    made: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, Mapping[str, Any]]
    damaged: tuple[str, ...]

    def undone(self, jobs: Iterable[Job], *, retry_failed: bool, every: bool = False) -> list[Job]:
        """Return the `jobs` that are still to be done, those that failed only if `retry_failed`.

        A certificate that may go on is to be done if it was interrupted, or stopped by other rules than those of its
        job; with `every` in any case, because its time may have been over.
        """
        return [job for job in jobs if self._is_undone(job, retry_failed, every)]

    def _is_undone(self, job: Job, retry_failed: bool, every: bool) -> bool:
        if job.path not in self.made:
            return retry_failed or job.path not in self.failed
        stopping = self.made[job.path].get("stopping")
        if stopping is None:
            return False
        rules = plugins()["certifier"].describe(job.method.certifier)
        return every or stopping["reason"] == INTERRUPTED or stopping["certifier"] != plain(rules)


@dataclasses.dataclass(frozen=True)
class Extension:
    """A run whose certificates go on, in the same directory or in another. made: ledger lines by path."""

    directory: Path
    made: Mapping[str, Mapping[str, Any]]

    @property
    def drawn(self) -> dict[str, int]:
        """How many noise samples each certificate has, by path."""
        return {path: int(entry.get("samples", 0)) for path, entry in self.made.items()}

    def certificate(self, path: str) -> Certificate | None:
        """Return the certificate of a path; None if the run has none."""
        return load(self.directory / path) if path in self.made else None


def extension_of(prepared: Prepared, directory: Path) -> Extension:
    """Return the run in `directory` as one that goes on as `prepared`, which has the same plan but other rules.

    Raises `ConfigError` if a certifier decides but once, and `RunMismatchError` if it is another run.
    """
    for method in prepared.plan.methods:
        described = plugins()["certifier"].describe(method.certifier)
        stops = getattr(method.certifier, "stops", ())
        check_sequential(described["name"], prepared.certifiers[method.slug], stops)
    if not (directory / "run.json").exists():
        raise DataError(f"{directory} holds no run (no run.json)")
    _threads(prepared, directory, extended=True)
    made = found(directory).made
    for job in prepared.jobs:
        drawn, most = made.get(job.path, {}).get("samples", 0), prepared.certifiers[job.method.slug].samples
        if drawn > most:
            raise ConfigError(
                f"{job.path} has {drawn} samples already, with the selection, more than the {most} of these rules"
            )
        if job.path not in made:
            continue
        on, here = load(directory / job.path).provenance.get("device"), devices.describe(prepared.device)
        if on != here:
            raise ConfigError(f"{job.path} cannot go on: it was drawn on {on}, and this is {here}")
    return Extension(directory, made)


def check_directory(directory: Path) -> None:
    """Raise `ConfigError` unless a run can be created or continued in `directory`."""
    parent = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise ConfigError(f"output {directory}: {parent} is a file, not a folder")
    for link in _links(directory):
        raise ConfigError(f"output {directory}: {link} is a link: what is written there would be elsewhere")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"output {directory}: no permission to write in {parent}")


def _links(directory: Path) -> Iterator[Path]:
    """Yield each link in `directory` that a run would write through: at the top any, below it those to folders."""
    for place, folders, files in os.walk(directory):
        here = Path(place)
        yield from (here / name for name in folders if (here / name).is_symlink())
        if here == directory:
            yield from (here / name for name in files if (here / name).is_symlink())


def remaining(
    prepared: Prepared,
    directory: Path,
    *,
    retry_failed: bool = False,
    extension: Extension | None = None,
) -> list[Job]:
    """Return the jobs of `prepared` that are still to be done in `directory`. extension: as in `begin`.

    Raises `RunMismatchError` if the directory holds a run of another configuration.
    """
    _threads(prepared, directory, extended=_is_of(extension, directory))
    return found(directory).undone(prepared.jobs, retry_failed=retry_failed, every=extension is not None)


def found(directory: Path) -> Found:
    """Return what there is in the run directory: certificates with the bytes that the ledger records, and failures."""
    if _is_doomed(directory):  # what is left of it belongs to a run that is being removed
        return Found({}, {}, ())
    ledger = Ledger(directory / "ledger.jsonl")
    last = {str(entry["certificate"]): entry for entry in ledger}
    made = {path: entry for path, entry in last.items() if results.intact(directory, entry)}
    # A file beside a line of a failure: the process was killed before it could write the new line.
    failed = {
        path: entry for path, entry in last.items() if has_failed(entry) and not (directory / path).exists()
    }
    damaged = ["run.json is damaged"] if _damaged(directory) else []
    damaged += [f"ledger.jsonl: line {number} is damaged" for number in ledger.damaged]
    for path in last:
        if path not in made and path not in failed:
            there = "is not the file that the ledger records" if (directory / path).exists() else "is missing"
            damaged.append(f"{path} {there}")
    return Found(made, failed, tuple(damaged))


def begin(
    prepared: Prepared, directory: Path, *, fresh: bool = False, extension: Extension | None = None
) -> int:
    """Create, empty or recognise the run directory of `prepared`, and return the run's number of threads.

    extension: a run that goes on. If it is the one in `directory`, its rules for stopping become those of `prepared`.

    The number of threads can change the last bits of a network's output, so a resumed run keeps its first number.
    The caller holds the directory's lock.
    """
    identity = directory / "run.json"
    if fresh and identity.exists():
        identity.rename(directory / _DOOMED)
    if _is_doomed(directory):
        _empty(directory)
    extended = _is_of(extension, directory)
    stored = _threads(prepared, directory, extended=extended)
    for path in [each for each in directory.rglob(".*.tmp") if _leftover(each)]:
        path.unlink()  # nobody else is at work here
    if stored is not None:
        for line in found(directory).damaged:
            log.warning("%s: made again", line)
        Ledger(directory / "ledger.jsonl").mend()
        for name in manifest.changed(directory, ("pictures", "previews")):
            log.warning("%s is not the file that was written: made again", name)
            (directory / name).unlink()
    threads = torch.get_num_threads() if stored is None else stored
    if extended and not _damaged(directory):
        # All else stays as it was: certificates that go on say the same.
        plan = prepared.identity()["plan"]
        results.write_identity(directory, {**results.read_identity(directory), "plan": plan})
    elif stored is None or _damaged(directory):
        results.write_identity(directory, {**prepared.identity(), "threads": threads})
    config = {**prepared.plan.describe(), "threads": threads, "skip_bad": bool(prepared.skipped)}
    write_atomically(directory / "config.yaml", yaml_of(config).encode())
    return threads


def _is_doomed(directory: Path) -> bool:
    """Return whether the run in `directory` is being removed by `--fresh`, or was when its process was killed."""
    return (directory / _DOOMED).exists() and not (directory / "run.json").exists()


def _empty(directory: Path) -> None:
    """Remove the run in `directory`; a crash on the way is made good by the next `begin`."""
    for path in directory.iterdir():
        if path.name in NAMES or path.name == _DOOMED:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (directory / _DOOMED).unlink()


def _damaged(directory: Path) -> bool:
    try:
        results.read_identity(directory)
    except results.DamagedError:
        return True
    except DataError:  # there is none, or it is another version's
        return False
    return False


def _is_of(extension: Extension | None, directory: Path) -> bool:
    """Tell whether the run in `directory` goes on there."""
    return extension is not None and extension.directory.resolve() == directory.resolve()


def _threads(prepared: Prepared, directory: Path, *, extended: bool = False) -> int | None:
    """Return the number of threads of the run in `directory`; None if there is no run.

    extended: it may have other rules for stopping than `prepared`.

    Raises `RunMismatchError` if it is not the run of `prepared`, or if the directory holds something else.
    """
    if not (directory / "run.json").exists():
        if (
            directory.exists()
            and not _is_doomed(directory)
            and any(not _leftover(path) for path in directory.iterdir())
        ):
            raise RunMismatchError(f"{directory} is not empty and holds no run; choose another --output")
        return None
    try:
        stored = results.read_identity(directory)
    except results.DamagedError:
        return _threads_of_certificates(prepared, directory)
    identity = prepared.identity()
    threads = int(stored.pop("threads", torch.get_num_threads()))
    # A package that was not installed then had no effect on the results.
    known = stored.get("versions", {})
    identity["versions"] = {name: found for name, found in identity["versions"].items() if name in known}
    if "noise" not in stored.get("plan", {}):  # made when there was only one kind
        stored.setdefault("plan", {})["noise"] = name_of(stored.get("noise", ""))
    if "plugins" not in stored:  # made by a smoothseg that did not record the plugins of components
        del identity["plugins"]
    here = plain(identity)
    different = list(_differences(stored, here))
    others = list(_differences(_without_rules(stored, prepared), _without_rules(here, prepared)))
    other_rules = bool(different) and not others
    different = others or different
    if different and not (extended and other_rules):
        if extended:
            raise RunMismatchError(
                f"{directory} cannot go on with these options: {different[0]}; only rules for stopping may differ"
            )
        kind = stored["plan"]["noise"]
        only_noise = kind in ALGORITHMS and all(
            each.startswith(("plan.noise is", "noise is")) for each in different
        )
        raise RunMismatchError(
            f"{directory} holds a run of another configuration: {different[0]}; "
            + (f"continue it with --noise {kind}, " if only_noise else "")
            + (f"--extend {directory} goes on by these rules, " if other_rules else "")
            + "choose another --output, or start anew with --fresh"
        )
    return threads


def _threads_of_certificates(prepared: Prepared, directory: Path) -> int:
    """Return the number of threads of a run whose run.json is damaged, from its certificates.

    Raises `RunMismatchError` if a certificate is not of the run of `prepared`: nobody can tell whose run it is.
    """
    was = found(directory)
    there, jobs = was.made, {job.path for job in prepared.jobs}
    for path in (*was.made, *was.failed):
        if path not in jobs:
            raise RunMismatchError(
                f"{directory / 'run.json'} is damaged, and {path} is of another configuration; choose another "
                "--output, or start anew with --fresh"
            )
    threads = None
    for job in prepared.jobs:
        if job.path not in there:
            continue
        header = load(directory / job.path).provenance
        threads = int(header.get("threads", torch.get_num_threads())) if threads is None else threads
        identity = {**prepared.identity(), "threads": threads}
        for field, stated, right in auditing.header_differences(
            identity, job.method.name, job.sigma, job.key, header
        ):
            raise RunMismatchError(
                f"{directory / 'run.json'} is damaged, and {job.path} is of another configuration: {field} is "
                f"{stated!r} there and {right!r} here; choose another --output, or start anew with --fresh"
            )
    return torch.get_num_threads() if threads is None else threads


def _without_rules(identity: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Return an identity without the options that only say when certifiers stop."""
    left: dict[str, Any] = plain(identity)
    stops = {method.name: getattr(method.certifier, "stops", ()) for method in prepared.plan.methods}
    for method in left["plan"]["methods"]:
        method["certifier"] = without(method["certifier"], stops.get(method["name"], ()))
    return left


def _leftover(path: Path) -> bool:
    """Return whether `path` is the lock's, or a file left behind by a crash during `write_atomically`."""
    return path.name in NAMES or (path.name.startswith(".") and path.name.endswith(".tmp"))


def _differences(there: Any, here: Any, where: str = "") -> Iterator[str]:
    """Yield a description of each place where two JSON values differ, in order."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            yield from _differences(there.get(key), here.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from _differences(a, b, f"{where}[{i}]")
    elif there != here:
        yield f"{where} is {json.dumps(there)} there and {json.dumps(here)} here"
