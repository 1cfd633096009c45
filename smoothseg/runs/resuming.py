"""The directory of a run: create it, empty it, or recognise the same run in it, and find what is done.

RUN/
  config.yaml                                       the resolved configuration; `--config` runs it again
  run.json                                          what determines the results, compared before resuming
  ledger.jsonl                                      one line for each finished certificate, with times
  log.txt                                           what happened when, see `logs.py`; not part of the result
  certificates/METHOD/sigma-S/KEY.npz               see `certificates/file.py`
  pictures/METHOD/KEY.png                           noisy, denoised, ground truth, certified
  previews/KEY/, legend.json                        see `report/previews.py`
  metrics.json, metrics.csv, per_class.csv, table.md, report.html

`report/` makes the pictures, previews, tables and the page.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from smoothseg.errors import ConfigError, RunMismatchError
from smoothseg.files import write_atomically, yaml_of
from smoothseg.runs import results
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.preparing import Job, Prepared
from smoothseg.smoothing.kinds import ALGORITHMS, name_of

__all__ = ["begin", "check_directory", "done", "remaining"]


def check_directory(directory: Path) -> None:
    """Raise `ConfigError` unless a run can be created or continued in `directory`."""
    parent = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise ConfigError(f"output {directory}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"output {directory}: no permission to write in {parent}")


def remaining(prepared: Prepared, directory: Path) -> list[Job]:
    """Return the jobs of `prepared` whose certificates are missing in `directory` or differ from the ledger.

    Raises `RunMismatchError` if the directory holds a run of another configuration.
    """
    _stored_threads(prepared, directory)
    there = done(directory)
    return [job for job in prepared.jobs if job.path not in there]


def done(directory: Path) -> set[str]:
    """Return the paths of the certificates that exist with the bytes that the ledger records."""
    entries = Ledger(directory / "ledger.jsonl")
    return {entry["certificate"] for entry in entries if results.intact(directory, entry)}


def begin(prepared: Prepared, directory: Path, *, fresh: bool) -> int:
    """Create, empty or recognise the run directory of `prepared`, and return the run's number of threads.

    The number of threads can change the last bits of a network's output, so a resumed run keeps its first number.
    """
    if fresh and (directory / "run.json").exists():
        # Rename first: a crash during removal must not leave half a run under this name.
        doomed = directory.with_name(f".{directory.name}.{os.getpid()}.old")
        directory.rename(doomed)
        shutil.rmtree(doomed)
    threads = _stored_threads(prepared, directory)
    if threads is None:
        threads = torch.get_num_threads()
        directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({**prepared.identity(), "threads": threads}, indent=1) + "\n"
        write_atomically(directory / "run.json", content.encode())
    config = {**prepared.plan.describe(), "threads": threads, "skip_bad": bool(prepared.skipped)}
    write_atomically(directory / "config.yaml", yaml_of(config).encode())
    return threads


def _stored_threads(prepared: Prepared, directory: Path) -> int | None:
    """Return the number of threads of the run in `directory`; None if there is no run.

    Raises `RunMismatchError` if it is not the run of `prepared`, or if the directory holds something else.
    """
    if not (directory / "run.json").exists():
        if directory.exists() and any(not _leftover(path) for path in directory.iterdir()):
            raise RunMismatchError(f"{directory} is not empty and holds no run; choose another --output")
        return None
    identity, stored = prepared.identity(), results.read_identity(directory)
    threads = int(stored.pop("threads", torch.get_num_threads()))
    # A package that was not installed then had no effect on the results.
    known = stored.get("versions", {})
    identity["versions"] = {name: found for name, found in identity["versions"].items() if name in known}
    if "noise" not in stored.get("plan", {}):  # made when there was only one kind
        stored.setdefault("plan", {})["noise"] = name_of(stored.get("noise", ""))
    if "plugins" not in stored:  # made by a smoothseg that did not record the plugins of components
        del identity["plugins"]
    different = list(_differences(stored, json.loads(json.dumps(identity))))
    if different:
        kind = stored["plan"]["noise"]
        only_noise = kind in ALGORITHMS and all(
            each.startswith(("plan.noise is", "noise is")) for each in different
        )
        raise RunMismatchError(
            f"{directory} holds a run of another configuration: {different[0]}; "
            + (f"continue it with --noise {kind}, " if only_noise else "")
            + "choose another --output, or start anew with --fresh"
        )
    return threads


def _leftover(path: Path) -> bool:
    """Return whether `path` is a file left behind by a crash during `write_atomically`."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


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
