"""Fuzz the parsers written in Python with inputs that seek new branches: `python tests/hostile/guided.py [SECONDS]`.

Needs atheris, which has wheels for some systems only, so that `make fuzz` runs this where it is installed. Each target
gets SECONDS, 60 by default, in a process of its own. What reads images, arrays and tensors is native code, which
atheris does not see into; hypothesis tries it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = ("spec", "yaml", "json", "line", "names")


def main() -> int:
    """Run every target; return how many failed."""
    if len(sys.argv) > 1 and sys.argv[1] in TARGETS:
        _fuzz(sys.argv[1], sys.argv[2])
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    failed = 0
    for target in TARGETS:
        words = [sys.executable, str(Path(__file__).resolve()), target, seconds]
        with tempfile.TemporaryDirectory() as place:  # an input that fails is put there, and shown
            done = subprocess.run(words, capture_output=True, text=True, cwd=place)
        last = [line for line in done.stderr.splitlines() if line.strip()]
        print(f"{target}: {last[-1] if last else 'nothing'}", flush=True)
        if done.returncode:
            failed += 1
            print("\n".join(last[-40:]), flush=True)
    return failed


def _fuzz(target: str, seconds: str) -> None:
    import atheris
    import yaml

    with atheris.instrument_imports(include=["smoothseg"]):
        from smoothseg import files
        from smoothseg.components import registry
        from smoothseg.errors import SmoothsegError, one_line
        from smoothseg.runs import ledger, seals

    def text(content: bytes) -> str:
        return content.decode("utf-8", "surrogateescape")

    def line(content: bytes) -> object:
        return seals.unsealed(content, before=ledger._BEFORE)

    run = {
        "spec": lambda content: registry.parse(text(content), "certifier"),
        "yaml": files.parse_yaml,
        "json": files.parse_json,
        "line": line,
        "names": lambda content: one_line(text(content)).encode(),
    }[target]

    def one(content: bytes) -> None:
        with contextlib.suppress(
            SmoothsegError, ValueError, OSError, yaml.YAMLError
        ):  # what their callers expect
            run(content)

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=20"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
