"""Show the estimated cost of a run: as a table before it, and as a line at its start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from smoothseg.terminal.progress import duration

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from smoothseg.runs.estimates import Cost, Estimate
    from smoothseg.runs.preparing import Job, Prepared
    from smoothseg.terminal.progress import Track

__all__ = ["announce", "show_estimate", "show_methods", "size"]


def show_methods(console: Console, methods: Iterable[tuple[str, Cost, float | None]]) -> None:
    """Print the name, the cost and, if all are measured, the seconds of each method."""
    from rich.table import Table

    listed = list(methods)
    measured = all(seconds is not None for _, _, seconds in listed)
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    table.add_column("  method", min_width=33)
    for name in ("certificates", "samples", "denoiser passes", *(["about"] if measured else [])):
        table.add_column(name, justify="right")
    for name, one, seconds in listed:
        passes = one.denoiser_passes // one.samples if one.samples else 0
        counts = (
            one.certificates,
            _between(one.fewest, one.samples),
            _between(one.fewest * passes, one.denoiser_passes),
        )
        about = [_times(seconds, one)] if measured and seconds is not None else []
        table.add_row(f"  {name}", *map(str, counts), *about)
    console.print(table)


def show_estimate(
    console: Console, estimate: Estimate, prepared: Prepared, directory: Path, there: int
) -> None:
    """Print the output of `certify --dry-run`; `there`: the number of certificates that exist already."""
    from smoothseg.machine import resources as machine

    jobs = sum(one.certificates for one in estimate.costs.values())
    sigmas = ", ".join(f"{sigma:g}" for sigma in prepared.plan.sigma)
    images = len(prepared.keys)
    already = f", {there} are there already" if there else ""
    console.print(
        f"{directory}: {images} image{'' if images == 1 else 's'}, sigma {sigmas}; "
        f"{jobs} certificate{'' if jobs == 1 else 's'} to make{already}"
    )
    show_methods(console, ((name, one, estimate.seconds[name]) for name, one in estimate.costs.items()))
    samples = sum(one.samples for one in estimate.costs.values())
    fewest = sum(one.fewest for one in estimate.costs.values())
    if not samples:
        console.print("nothing is left to do")
        return
    console.print(
        f"{_between(fewest, samples)} noise samples in all, about {_range(estimate)} on this machine"
        + ("" if fewest == samples else ", depending on when images stop")
    )
    free = machine.free_disk(directory)
    console.print(
        f"{_memory(estimate, prepared)}; disk at most {size(estimate.disk)}"
        + ("" if free is None else f" of {size(free)} free")
    )


def announce(
    track: Track,
    prepared: Prepared,
    jobs: Sequence[Job],
    directory: Path,
    batch_size: int,
    timeout: float | None = None,
    drawn: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Show the estimated cost of `jobs` in one line, if measuring it takes at most a fiftieth of their time.

    timeout: seconds that the measurement may take. If it fails, it is left out: the images show what is wrong. drawn:
    as for `estimates.measure`.
    """
    from smoothseg.errors import first_line
    from smoothseg.machine import resources as machine
    from smoothseg.report.illustrating import most_bytes
    from smoothseg.runs import estimates
    from smoothseg.runs.interrupting import Expired, limited

    batch = estimates.batch_to_measure(prepared, jobs, batch_size)
    if not batch:
        return
    track.stage("measuring the pace")
    try:
        with limited(timeout):
            estimate = estimates.measure(prepared, jobs, batch_size=batch, pictures=most_bytes, drawn=drawn)
    except (Expired, Exception) as error:
        reason = f"no end after {timeout:g} s" if isinstance(error, Expired) else first_line(error)
        track.note(f"the pace cannot be measured: {reason}")
        return
    track.note(f"about {_range(estimate)}; {_memory(estimate, prepared)}; disk at most {size(estimate.disk)}")
    free = machine.free_disk(directory)
    if free is not None and free < estimate.disk:
        track.note(f"only {size(free)} are free on the disk of {directory}")


def _between(low: int, high: int) -> str:
    return str(high) if low == high else f"{low} to {high}"


def _times(seconds: float, one: Cost) -> str:
    least, most = duration(seconds * one.fewest / max(1, one.samples)), duration(seconds)
    return most if least == most else f"{least} to {most}"


def _range(estimate: Estimate) -> str:
    least, most = duration(estimate.least), duration(estimate.total)
    return most if least == most else f"{least} to {most}"


def size(count: int) -> str:
    """Return a number of bytes in MB or GB, as text."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def _memory(estimate: Estimate, prepared: Prepared) -> str:
    where = "GPU memory" if prepared.device.type == "cuda" else "memory"
    return f"{where} about {'?' if estimate.memory is None else size(estimate.memory)}"
