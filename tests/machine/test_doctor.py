"""`smoothseg doctor`: what it finds, what it calls slow or broken, and how it looks."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smoothseg.components.plugin import Plugin
from smoothseg.components.plugins import plugins
from smoothseg.machine import doctor, versions
from smoothseg.machine import resources as machine


@pytest.fixture
def examine(invoke):
    """Return a function that runs `smoothseg doctor WORDS`."""
    return functools.partial(invoke, "doctor")


def test_it_fits_80_columns_and_names_everything(examine, monkeypatch, cache):
    monkeypatch.setenv("COLUMNS", "80")
    result = examine()
    assert result.exit_code == 0, result.output
    for part in (
        "python",
        "torch",
        versions.numerical()["torch"],
        "cpu",
        "cores",
        "GB",
        "smoothseg_adm",
        "nothing is broken",
    ):
        assert part in result.stdout
    assert cache.name in "".join(line.strip() for line in result.stdout.splitlines())
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_as_json_it_holds_the_same(examine):
    result = examine("--format", "json")
    found = json.loads(result.stdout)
    assert found["healthy"] is True
    assert found["versions"] == versions.numerical()
    assert {plugin["name"] for plugin in found["plugins"]} == {plugin.name for plugin in plugins().plugins}
    assert found["system"]["cores"] >= 1
    assert found["devices"][0]["name"] == "cpu"


def test_a_broken_plugin_is_told_with_the_reason_and_the_exit_code(examine, monkeypatch):
    bad = Plugin("bad", "bad-distribution", "1.0", error="ImportError: no module named nothing")
    broken = dataclasses.replace(plugins(), plugins=(*plugins().plugins, bad))
    monkeypatch.setattr(doctor, "plugins", lambda **_: broken)
    result = examine()
    assert result.exit_code == 1
    assert "BROKEN" in result.stdout
    assert "plugin bad (bad-distribution 1.0): ImportError: no module named nothing" in " ".join(
        result.stdout.split()
    )
    assert "nothing is broken" not in result.stdout
    assert json.loads(examine("--format", "json").stdout)["healthy"] is False


def test_a_required_package_that_is_absent_is_broken(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["nowhere-to-be-found>=2", "mlflow; extra == 'mlflow'"]
    )
    assert doctor.examine().broken == ("nowhere-to-be-found is not installed",)


def test_torch_that_cannot_be_imported_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = doctor.examine()
    assert found.devices == ()
    assert any(text.startswith("torch cannot be imported: ModuleNotFoundError") for text in found.broken)


@pytest.mark.parametrize(
    ("threads", "cores", "expected"),
    [(1, 8, "one thread"), (8, 2, "8 threads on 2 cores"), (2, 2, None), (1, 1, None)],
)
def test_a_number_of_threads_that_does_not_fit_the_cores_is_told(monkeypatch, threads, cores, expected):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "load", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    notes = [text for text in doctor.examine().slow if "thread" in text]
    assert (notes == []) if expected is None else (len(notes) == 1 and expected in notes[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("driver", "built", "expected"),
    [
        (None, None, "no CUDA device: "),
        ("/usr/bin/nvidia-smi", None, "was built without CUDA: "),
        ("/usr/bin/nvidia-smi", "12.4", "finds no device: "),
    ],
)
def test_it_says_why_there_is_no_gpu(monkeypatch, driver, built, expected):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    monkeypatch.setattr(torch.version, "cuda", built)
    assert sum(expected in text for text in doctor.examine().slow) == 1


def test_little_memory_and_disk_and_plugins_switched_off_are_told(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 10**9)
    monkeypatch.setattr(machine, "free_disk", lambda path: 5 * 10**8)
    monkeypatch.setenv("SMOOTHSEG_DISABLE", "smoothseg_adm, smoothseg_amd")
    plugins.cache_clear()
    try:
        told = " ".join(doctor.examine().slow)
    finally:
        monkeypatch.delenv("SMOOTHSEG_DISABLE")
        plugins.cache_clear()
    assert "1.0 GB of memory are free" in told
    assert "0.5 GB are free on the disk" in told
    assert "switches the plugin smoothseg_adm off" in told
    assert "names smoothseg_amd, and no plugin is called so" in told


@pytest.mark.parametrize("name", ["smoothseg_camvid@smoothseg", "smoothseg_camvid@Smoothseg"])
def test_a_plugin_switched_off_by_its_distribution_is_known(monkeypatch, name):
    monkeypatch.setenv("SMOOTHSEG_DISABLE", f"{name},smoothseg_adm@elsewhere")
    plugins.cache_clear()
    try:
        found = doctor.examine()
    finally:
        monkeypatch.undo()
        plugins.cache_clear()
    assert [each["name"] for each in found.plugins if each["state"] == "off"] == ["smoothseg_camvid"]
    told = [text for text in found.slow if "SMOOTHSEG_DISABLE" in text]
    assert told == [
        f"SMOOTHSEG_DISABLE switches the plugin {name} off",
        "SMOOTHSEG_DISABLE names smoothseg_adm@elsewhere, and no plugin is called so",
    ]


def test_a_cache_that_cannot_be_is_broken_and_a_full_one_is_counted(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(tmp_path / "file" / "cache"))
    assert any("is no folder" in text for text in doctor.examine().broken)
    cache = tmp_path / "cache"
    (cache / "weights" / "a").mkdir(parents=True)
    (cache / "weights" / "a" / "net.safetensors").write_bytes(b"12345")
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(cache))
    found = doctor.examine()
    assert (found.cache["files"], found.cache["bytes"], found.cache["weights"]) == (1, 5, ["net.safetensors"])
    assert found.healthy


def test_help_imports_no_torch():
    code = (
        "import sys; from smoothseg.cli import main\n"
        "try: main(['doctor', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# The machine


def test_memory_and_cores_are_what_the_system_says(tmp_path):
    total, available, peak = machine.total_memory(), machine.available_memory(), machine.peak_memory()
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert total is not None
    assert peak is not None
    assert 50e6 < peak < total
    assert available is None or 0 < available <= total
    assert machine.free_disk(tmp_path / "not" / "yet" / "there") is not None


def test_peak_memory_grows_with_what_is_held():
    before = machine.peak_memory()
    held = torch.ones(machine.peak_memory() // 4 + 50_000_000)  # four bytes each: more than the peak so far
    assert machine.peak_memory() > before
    assert held.sum() > 0


def test_the_limits_of_a_container_count(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    whole = machine.total_memory()
    for name, content in (
        ("cpu.max", "150000 100000"),
        ("memory.max", "1000000"),
        ("memory.current", "400000"),
    ):
        (tmp_path / name).write_text(content + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert machine.cores() == 2
    assert (machine.total_memory(), machine.available_memory()) == (1000000, 600000)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.total_memory() == whole


def test_without_affinity_the_cores_are_counted(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "_CGROUP", Path("nowhere"))
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores() == 6


def test_busy_cores_are_told(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    for load, told in ((1.9, True), (0.3, False), (None, False)):
        monkeypatch.setattr(machine, "load", lambda load=load: load)
        assert any("the cores are busy" in note for note in doctor.examine().slow) is told
