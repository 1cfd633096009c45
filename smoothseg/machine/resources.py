"""What this machine has: processor cores, memory and disk, as the operating system reports them; imports no torch."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from pathlib import Path

__all__ = ["available_memory", "cores", "free_disk", "load", "peak_memory", "total_memory"]

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux exposes the limits of a container."""


def cores() -> int:
    """Return the number of processor cores that this process may use; at least 1."""
    # Not every system can restrict a process to certain cores.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def load() -> float | None:
    """Return the average number of cores in use during the last minute; None if unknown."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


def total_memory() -> int | None:
    """Return the bytes of main memory, or the container's limit if that is lower; None if unknown."""
    found: int | None = None
    if sys.platform == "win32":
        found = _windows_memory()[0]
    else:
        with contextlib.suppress(OSError, ValueError):
            found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _container("memory.max")
    return limit if found is None or (limit is not None and limit < found) else found


def available_memory() -> int | None:
    """Return the bytes of available main memory; None if unknown."""
    if sys.platform == "win32":
        return _windows_memory()[1]
    found: int | None = None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    limit, used = _container("memory.max"), _container("memory.current")
    if limit is not None and used is not None:
        left = max(0, limit - used)
        found = left if found is None else min(found, left)
    return found


def peak_memory() -> int | None:
    """Return this process's peak main memory in bytes; None if unknown."""
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def free_disk(path: Path) -> int | None:
    """Return the free bytes on the disk of `path`, which need not exist; None if unknown."""
    there = next((each for each in (path, *path.absolute().parents) if each.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _container(name: str) -> int | None:
    try:
        return int((_CGROUP / name).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit
        return None


def _windows_memory() -> tuple[int | None, int | None]:
    """Return the total and the available bytes of memory (GlobalMemoryStatusEx)."""
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64),
            *((f"more{i}", ctypes.c_uint64) for i in range(5)),
        ]

    status = Status()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return int(status.total), int(status.available)


def _windows_peak() -> int | None:
    """Return the process's largest working set (GetProcessMemoryInfo)."""
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("size", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            ("peak", ctypes.c_size_t),
            *((f"more{i}", ctypes.c_size_t) for i in range(7)),
        ]

    counters = Counters()
    counters.size = ctypes.sizeof(counters)
    windows = getattr(ctypes, "windll")  # noqa: B009
    windows.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(windows.kernel32.GetCurrentProcess())
    if not windows.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size):
        return None
    return int(counters.peak)
