"""What an installation consists of, what is broken, and what would be slow and why."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from smoothseg.components.discovery import DISABLE
from smoothseg.components.plugins import plugins, switched_off
from smoothseg.machine import resources as machine
from smoothseg.machine import versions
from smoothseg.weights import sources

__all__ = ["Device", "Examination", "examine"]

_GB = 1e9
_LITTLE_MEMORY, _LITTLE_DISK = 2 * _GB, 2 * _GB
_OPTIONAL = ("transformers", "mmsegmentation", "tensorboard", "wandb", "mlflow")
"""Distributions that only some components or options need."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that can compute. name: as for --device. memory: bytes; None if it uses main memory."""

    name: str
    kind: str
    about: str
    memory: int | None = None
    used: bool = True


@dataclasses.dataclass(frozen=True)
class Examination:
    """The findings about the installation and the machine.

    versions: by distribution. optional: the same for distributions that only some components need; None if absent.
    system: operating system, cores, threads. memory, cache: bytes and paths. plugins: one mapping per entry point.
    slow: what would be slow or is switched off, and why. broken: what does not work.
    """

    versions: Mapping[str, str]
    optional: Mapping[str, str | None]
    system: Mapping[str, Any]
    devices: tuple[Device, ...]
    memory: Mapping[str, int | None]
    cache: Mapping[str, Any]
    plugins: tuple[Mapping[str, Any], ...]
    slow: tuple[str, ...]
    broken: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken


def examine() -> Examination:
    """Inspect the installation and the machine; change and fetch nothing, and report faults without raising."""
    slow: list[str] = []
    broken: list[str] = [f"{name} is not installed" for name in _missing()]
    system: dict[str, Any] = {
        "platform": f"{platform.system()} {platform.release().partition('-')[0]}",
        "processor": platform.machine(),
        "executable": sys.executable,
        "cores": machine.cores(),
    }
    devices = _devices(system, slow, broken)
    memory = {
        "total": machine.total_memory(),
        "available": machine.available_memory(),
        "disk": machine.free_disk(Path.cwd()),
    }
    if memory["available"] is not None and memory["available"] < _LITTLE_MEMORY:
        slow.append(
            f"{memory['available'] / _GB:.1f} GB of memory are free: large images may not fit, or swap"
        )
    if memory["disk"] is not None and memory["disk"] < _LITTLE_DISK:
        slow.append(f"{memory['disk'] / _GB:.1f} GB are free on the disk of the current folder")
    return Examination(
        versions=versions.numerical(),
        optional={name: _version(name) for name in _OPTIONAL},
        system=system,
        devices=devices,
        memory=memory,
        cache=_cache(broken),
        plugins=_plugins(slow, broken),
        slow=tuple(slow),
        broken=tuple(broken),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _missing() -> list[str]:
    """Return the distributions that smoothseg requires but that are absent."""
    try:
        required = metadata.requires("smoothseg") or []
    except metadata.PackageNotFoundError:  # run from source without installation
        return []
    names = [match[0] for text in required if "extra" not in text and (match := re.match(r"[\w.-]+", text))]
    return [name for name in names if _version(name) is None]


def _devices(system: dict[str, Any], slow: list[str], broken: list[str]) -> tuple[Device, ...]:
    """Return the devices that torch can use, and add torch's threads to `system`."""
    try:
        import torch
    except Exception as error:  # a broken library may raise anything
        broken.append(f"torch cannot be imported: {type(error).__name__}: {str(error).splitlines()[0]}")
        return ()
    threads, cores = torch.get_num_threads(), system["cores"]
    system["threads"] = threads
    capability = torch.backends.cpu.get_cpu_capability()
    bfloat16 = _cpu_bfloat16()
    arithmetic = {True: "bfloat16 in hardware", False: "bfloat16 emulated", None: "bfloat16 unknown"}[
        bfloat16
    ]
    found = [Device("cpu", "cpu", f"{cores} cores, torch threads: {threads}, {capability}, {arithmetic}")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            about = f"{card.name}, compute capability {card.major}.{card.minor}"
            found.append(Device(f"cuda:{index}", "cuda", about, memory=card.total_memory))
    else:
        why = "no CUDA device"
        if shutil.which("nvidia-smi"):
            why = (
                f"there is an NVIDIA driver, but torch {torch.__version__} was built without CUDA"
                if torch.version.cuda is None
                else f"there is an NVIDIA driver, but torch {torch.__version__} finds no device"
            )
        slow.append(
            f"{why}: networks run on the processor, far slower; `smoothseg certify --dry-run` tells how long"
        )
        if bfloat16 is False:
            slow.append(
                "the processor has no bfloat16: precision=bfloat16 will be slower than float32, not faster"
            )
    if torch.backends.mps.is_available():
        found.append(Device("mps", "mps", "Apple GPU", used=False))
        slow.append(
            "there is an Apple GPU, which smoothseg does not use: its results are tested on CPU and CUDA alone"
        )
    load = machine.load()
    if load is not None and threads > 1 and load > cores / 2:
        slow.append(
            f"the cores are busy (load {load:.1f} on {cores}); if other programs use them, threads wait for each "
            "other: --threads 1 is faster"
        )
    if threads > cores:
        slow.append(
            f"torch uses {threads} threads on {cores} cores, which wait for each other: --threads {cores}"
        )
    elif threads == 1 and cores > 1:
        said = (
            f" (OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']})" if "OMP_NUM_THREADS" in os.environ else ""
        )
        slow.append(
            f"torch uses one thread{said} of {cores} cores: --threads {cores} where nothing else computes"
        )
    return tuple(found)


def _cpu_bfloat16() -> bool | None:
    """Return whether the processor multiplies bfloat16 in hardware; None if this torch cannot tell."""
    import torch

    asked = [
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    ]
    answers = [bool(ask()) for ask in asked if callable(ask)]
    return any(answers) if answers and platform.machine().lower() in ("x86_64", "amd64") else None


def _cache(broken: list[str]) -> dict[str, Any]:
    folder = sources.cache()
    files = (
        [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        if folder.is_dir()
        else []
    )
    weights = sorted(
        path.name
        for path in folder.glob("weights/*/*")
        if path.is_file() and path.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
    )
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), None)
    if there is None or not there.is_dir():
        broken.append(f"the cache folder {folder} cannot be made: {there} is no folder")
    else:
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            broken.append(f"the cache folder {folder} cannot be written: {error.strerror}")
    return {
        "folder": str(folder),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "weights": weights,
        "offline": os.environ.get("SMOOTHSEG_OFFLINE", "") not in ("", "0"),
    }


def _plugins(slow: list[str], broken: list[str]) -> tuple[Mapping[str, Any], ...]:
    installed = plugins(conflicting=True)
    found = []
    for plugin in installed.plugins:
        offers = [f"{kind} {name}" for kind, names in installed.offers(plugin).items() for name in names]
        state = "off" if plugin.disabled else "broken" if plugin.error is not None else "ok"
        if plugin.error is not None and plugin.error not in installed.conflicts:
            broken.append(f"plugin {plugin.owner}: {plugin.error}")
        found.append(
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "state": state,
                "offers": offers,
                "error": plugin.error,
            }
        )
    broken += installed.conflicts  # each conflict names its plugins
    slow += [
        f"{DISABLE} switches the plugin {name} off"
        if any(plugin.disabled and plugin.is_called(name) for plugin in installed.plugins)
        else f"{DISABLE} names {name}, and no plugin is called so"
        for name in switched_off()
    ]
    return tuple(found)
