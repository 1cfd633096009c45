"""What the commands look like in a terminal of 80 columns: really run, and pasted.

Help and lists are rendered by click and rich, whose layout differs between versions: the page names those it was made
with. The errors are those of commands that fail, in a folder made for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from smoothseg import errors
from smoothseg.runs.locking import locked

COLUMNS = 80

SHOWN = ("--help", "certify --help", "components")
"""Commands whose whole output is shown. What depends on the machine cannot be one of them."""

OF_THE_MACHINE = "doctor"
"""The command whose output is that of the machine that wrote the page; nobody compares it."""

SMALL = "dataset: streets:count=1,height=32,width=32\ndenoiser: identity\ncertifier: holm:n=60\n"
"""The configuration of a run that takes a moment."""

COMPLETE = "certify --config small.yaml --sigma 0.25 --output runs/small"

FAILING = {
    "UnknownNameError": "certify --denoiser amd",
    "ConfigError": "certify --scale 0",
    "NothingCertifiableError": "certify --denoiser identity --certifier holm:n=50",
    "DataError": "certify --dataset folder:root=photos --denoiser identity",
    "IncompleteError": "certify --dataset camvid:root=CamVid --denoiser identity",
    "WeightsError": "certify --segmenter hrnet:weights=models/mine.safetensors",
    "RunMismatchError": "certify --config small.yaml --sigma 0.5 --output runs/small",
    "VerificationError": "verify edited.npz",
    "PluginError": "certify --images 1 --denoiser shrinking --dry-run",
    "FailedImagesError": "certify --config small.yaml --denoiser shrinking --output runs/failed",
    "RunBusyError": "certify --config small.yaml --sigma 0.25 --output runs/small",
}
"""Classes of errors, and a command that ends with each."""

OTHER = {"pid": 4711, "host": "workstation", "since": "2026-01-01T09:00:00+00:00"}
"""The process that the page shows at work in a run directory."""

_PROGRESS = re.compile(r"checking |certifying |\d+/\d+ ")

_MANY = """
import contextlib, io, json, sys
from smoothseg.cli import main

done = []
for words in json.load(sys.stdin):
    output, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
    done.append([code or 0, output.getvalue(), error.getvalue()])
json.dump(done, sys.stdout)
"""
"""A program that runs commands one after another: torch is imported once."""

PLUGIN = '''
import dataclasses
import smoothseg

class Shrinking:
    digests = {}

    def denoise(self, noisy, sigma, *, seeds):
        return noisy[..., 1:]

@dataclasses.dataclass(frozen=True)
class Recipe:
    """A denoiser that breaks the contract."""

    def load(self, device):
        return Shrinking()

@smoothseg.hookimpl
def register_denoisers(register):
    register("shrinking", Recipe)
'''


def page() -> Iterator[str]:
    """Give the paragraphs of the page, without its first line."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("click", "rich"))
    yield f"<!-- Rendered by {versions}. -->"
    yield "# In the terminal"
    yield (
        "What smoothseg prints, in a terminal of 80 columns. Everything here is the output of real commands; what\n"
        "each option means in full is in the [command line reference](cli.md)."
    )
    with workplace() as folder:
        done = run([*SHOWN, OF_THE_MACHINE], folder, {"SMOOTHSEG_CACHE": "cache"})
        for words, (code, output, error) in zip([*SHOWN, OF_THE_MACHINE], done, strict=True):
            yield f"## smoothseg {words}"
            if words == OF_THE_MACHINE:
                yield "On the machine that wrote this page; yours will say something else."
            assert code == 0, error
            yield _block(words, output)
        yield "## Errors"
        yield (
            "A command that fails says why in one line, and ends with exit code 2 for what the caller can mend and 1\n"
            "for the rest. Nearly all of it is found before a network runs. The classes are explained in\n"
            "[errors](errors.md). Long lines are broken between words here."
        )
        for name, (words, output) in failures(folder).items():
            yield f"### {name}"
            yield _sentence(name)
            yield _block(words, output)


def failures(folder: Path) -> dict[str, tuple[str, str]]:
    """Run every failing command; return command and output by the name of the error, whose exit code it must have."""
    last = {
        name: FAILING[name]
        for name in ("VerificationError", "PluginError", "FailedImagesError", "RunBusyError")
    }
    early = {name: words for name, words in FAILING.items() if name not in last}
    (code, _, error), *done = run([COMPLETE, *early.values()], folder)
    assert code == 0, error
    (made,) = (folder / "runs" / "small" / "certificates").rglob("*.npz")
    with np.load(made) as file:
        np.savez(folder / "edited.npz", **{**file, "certified": ~file["certified"]})
    with locked(folder / "runs" / "small"):
        (folder / "runs" / "small" / ".owner.json").write_text(json.dumps(OTHER), encoding="utf-8")
        done += run(list(last.values()), folder, {"PYTHONPATH": _joined(folder / "plugin")})
    found = {}
    for (name, words), (code, output, error) in zip({**early, **last}.items(), done, strict=True):
        said = [line for line in error.splitlines() if not _PROGRESS.match(line)]
        assert code == getattr(errors, name).exit_code, f"smoothseg {words}: {code}: {error}"
        assert [line.startswith("Error: ") for line in said].count(True) == 1, f"smoothseg {words}: {error}"
        found[name] = (words, output + "\n".join(said))
    return found


def run(
    commands: Sequence[str], folder: Path, more: Mapping[str, str] | None = None
) -> list[tuple[int, str, str]]:
    """Run commands in `folder`, as a terminal of 80 columns without colours would show them.

    Returns exit code, output and what went to stderr, of each.
    """
    others = sorted(
        {
            point.name
            for point in metadata.entry_points(group="smoothseg")
            if point.dist is None or point.dist.name != "smoothseg"
        }
    )
    environment = {
        **os.environ,
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": _joined(),
        "SMOOTHSEG_CACHE": str(folder / "cache"),
        "SMOOTHSEG_DISABLE": ",".join(others),
        "SMOOTHSEG_OFFLINE": "1",
        **(more or {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", _MANY],
        input=json.dumps([words.split() for words in commands]),
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout)]


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Give a folder with what the failing commands need: a photograph, a dataset, a run, a plugin."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        Image.fromarray(np.full((24, 32), 40_000, dtype=np.uint16)).save(folder / "photos" / "scan.png")
        for part in ("val", "valannot"):
            (folder / "CamVid" / part).mkdir(parents=True)
        Image.new("RGB", (480, 360)).save(folder / "CamVid" / "val" / "0016E5_07959.png")
        (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
        plugin = folder / "plugin"
        (plugin / "shrinking-1.0.dist-info").mkdir(parents=True)
        (plugin / "shrinking.py").write_text(PLUGIN, encoding="utf-8")
        for file_name, text in (
            ("METADATA", "Metadata-Version: 2.1\nName: shrinking\nVersion: 1.0\n"),
            ("entry_points.txt", "[smoothseg]\nshrinking = shrinking\n"),
        ):
            (plugin / "shrinking-1.0.dist-info" / file_name).write_text(text, encoding="utf-8")
        yield folder


def _joined(*first: Path) -> str:
    """Return where Python looks for modules, with `first` before the rest."""
    return os.pathsep.join([*map(str, first), *(path for path in sys.path if path)])


def _block(words: str, output: str) -> str:
    lines = [f"$ smoothseg {words}", *(line.rstrip() for line in output.rstrip().splitlines())]
    return "\n".join(["```text", *_wrapped(lines), "```"])


def _wrapped(lines: Sequence[str]) -> Iterator[str]:
    """Give lines of at most 80 letters; what is longer is broken between words, to be read more easily."""
    for line in lines:
        yield from [line] if len(line) <= COLUMNS else textwrap.wrap(line, COLUMNS, break_on_hyphens=False)


def _sentence(name: str) -> str:
    first = (getattr(errors, name).__doc__ or "").strip().splitlines()[0]
    return first.partition(";")[0].rstrip(".") + "."
