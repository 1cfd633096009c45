"""What a benchmark says of the machine: when, which, with which versions and command, and how much memory it took."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shlex
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["cores", "header", "high_water", "processor"]


def processor() -> str:
    """Return the processor's model name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def header(module: str, *, packages: tuple[str, ...] = ("torch", "numpy")) -> str:
    """Return the lines that go before the numbers of `module`, run with this process's arguments."""
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"{datetime.date.today()}, {processor()}, {cores()} of {os.cpu_count()} cores{load}\n"
        f"Python {platform.python_version()}, {versions}\n"
        f"python -m {module} {shlex.join(sys.argv[1:])}".rstrip()
    )


def high_water() -> int:
    """Return the most memory this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # a new program inherits its parent's `ru_maxrss` there, but not this
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
