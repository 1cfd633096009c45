"""SECURITY.md says what is so: its limits are those of the code, and its tests are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_its_limits_are_those_of_the_code():
    rows = re.findall(r"^\| [^|]+ \| `([\w.]+)` \| ([0-9]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 9
    for name, value in rows:
        module, _, constant = name.rpartition(".")
        assert getattr(importlib.import_module(module), constant) == int(value), name


def test_every_module_of_hostile_tests_is_named_and_every_named_one_is_there():
    named = set(re.findall(r"`(test_\w+\.py)`", TEXT))
    assert named == {path.name for path in Path(__file__).parent.glob("test_*.py")} - {Path(__file__).name}
    for path in re.findall(r"`(tests/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).is_file(), path


def test_its_links_lead_somewhere_and_its_commands_exist():
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / target).exists(), target
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(r"`make ([\w-]+)`", TEXT):
        assert target in targets
