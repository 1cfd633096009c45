"""What every hostile test has: a limit of time and memory, and the readers of files under one name each."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from smoothseg import SmoothsegError, weights
from smoothseg.certificates import file as certificates
from smoothseg.data import class_names, folders, images
from smoothseg.files import read_yaml
from smoothseg.report import previews
from smoothseg.weights.catalogue import read_catalogue
from smoothseg_adm import architecture as adm
from smoothseg_folder import legend
from smoothseg_hrnet import config as hrnet
from smoothseg_pascal_context import detail
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_transformers.files import mapping_in
from smoothseg_vit_adapter import architecture as vit_adapter

EXAMPLES = int(os.environ.get("SMOOTHSEG_FUZZ_EXAMPLES", "0"))
"""Inputs tried by each fuzz test under `make fuzz`; 0 in the default tests, which try few, and always the same."""

_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
settings.register_profile("short", max_examples=10, derandomize=True, **_COMMON)
settings.register_profile("fuzz", max_examples=max(EXAMPLES, 1), print_blob=True, **_COMMON)
settings.load_profile("fuzz" if EXAMPLES else "short")  # before the tests are imported, which take it then

_TRIED: dict[str, int] = {}


@pytest.fixture
def tried(request):
    """Return a function that counts an input; `make fuzz` shows the sums."""
    number = 0

    def count() -> None:
        nonlocal number
        number += 1

    yield count
    request.node.user_properties.append(("tried", number))


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        for name, number in report.user_properties:
            if name == "tried":
                _TRIED[report.nodeid.rpartition("::")[2]] = number


def pytest_terminal_summary(terminalreporter):
    if EXAMPLES:
        for name, number in sorted(_TRIED.items()):
            terminalreporter.write_line(f"{number:8}  {name}")
        terminalreporter.write_line(f"{sum(_TRIED.values()):8}  in all")


def _peak() -> int:
    """Return the most memory that this process has had since the last reset, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _limits(seconds: float, mebibytes: float):
    def late(*_: Any) -> None:
        raise AssertionError(f"it takes longer than {seconds} s")

    measured = sys.platform == "linux"
    if measured:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _peak()
    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    if measured:
        taken = (_peak() - before) / 2**20
        assert taken < mebibytes, f"it takes {taken:.0f} MiB"


@pytest.fixture
def limits():
    """Return a context in which the block must end within so many seconds and further MiB of memory."""
    return _limits


@pytest.fixture
def refused(limits):
    """Return a function that calls another, which may return or raise a `SmoothsegError` of one line, and no more.

    It returns the message, or None.
    """

    def call(function: Callable[[], Any], *, seconds: float = 20, mebibytes: float = 300) -> str | None:
        with limits(seconds, mebibytes):
            try:
                function()
            except SmoothsegError as error:
                message = str(error)
                assert message
                assert message.isprintable(), repr(message)
                assert len(message) < 5000
                return message
        return None

    return call


@dataclasses.dataclass(frozen=True)
class Reader:
    """Something that parses a file: its name, how the name of its files ends, and what reads a path."""

    name: str
    suffix: str
    read: Callable[[Path], Any]


def _labels(path: Path) -> Any:
    return images.read_labels(path, classes=3, ignore=255, size=(3, 4))


def _beside(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return what reads `name` in a folder, as a reader of the path that `name` links to."""

    def of(path: Path) -> Any:
        place = path.parent / f"beside-{path.name}" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(path)
        return read(place)

    return of


READERS = (
    Reader("configuration", ".yaml", read_yaml),
    Reader("catalogue", ".yaml", lambda path: read_catalogue(path, "package")),
    Reader("class-list-text", ".txt", legend.read),
    Reader("class-list-yaml", ".yaml", legend.read),
    Reader("class-list-json", ".json", legend.read),
    Reader("class-names", ".txt", lambda path: class_names.from_file(str(path), 2)),
    Reader("list-of-images", ".txt", folders.read_lines),
    Reader("transformers-config", ".json", mapping_in),
    Reader("adm-config", ".json", lambda path: adm.named(str(path))),
    Reader("hrnet-config", ".json", lambda path: hrnet.named(str(path), 3)),
    Reader("vit-adapter-config", ".json", lambda path: vit_adapter.named(str(path), 3)),
    Reader("pascal-annotation", ".json", lambda path: detail.load(path, "val")),
    Reader("certificate", ".npz", certificates.load),
    Reader("image", ".png", images.read_image),
    Reader("label-map", ".png", _labels),
    Reader("torch-weights", ".pth", lambda path: weights.load(str(path), package="smoothseg_adm")),
    Reader("safetensors", ".safetensors", lambda path: weights.load(str(path), package="smoothseg_adm")),
    Reader("checkpoint-of-training", ".checkpoint", Checkpoint.load),
    Reader(
        "legend-of-a-run", ".json", _beside("legend.json", lambda path: previews.read_legend(path.parent))
    ),
)


@pytest.fixture(params=[reader.name for reader in READERS])
def reader(request):
    """Every reader of files in turn, or those whose names a test is parametrised by."""
    return {reader.name: reader for reader in READERS}[request.param]


@pytest.fixture
def npz():
    """Return a function that gives the bytes of an archive of arrays, whatever they are."""

    def packed(**arrays: Any) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    return packed
