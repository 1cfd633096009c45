"""What `smoothseg new plugin` writes is a plugin that works, and what it cannot write it says."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest

import smoothseg
from smoothseg import cli as command_line
from smoothseg.cli import cli
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg_scaffold import writing as scaffold

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("x", "of-two-dozen-letters-abc")


@pytest.fixture
def new(invoke):
    """Return a function (name, kind, words) that runs `smoothseg new plugin`."""

    def run(name, kind, *words):
        return invoke("new", "plugin", name, "--kind", kind, *words)

    return run


def own_tests(folder):
    """Return the tests in a package's test file, by name."""
    (path,) = (folder / "tests").glob("test_*.py")
    spec = importlib.util.spec_from_file_location(f"scaffolded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in inspect.getmembers(module) if name.startswith("test_")}


@pytest.fixture
def made(new, tmp_path, install):
    """Return a function that makes and installs a plugin of a kind and returns its folder."""

    def make(kind, name="my-own"):
        folder = tmp_path / "made"
        result = new(name, kind, "--output", folder)
        assert result.exit_code == 0, result.output
        install(folder)
        return folder

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_found_and_passes_its_tests(kind, made):
    folder = made(kind)
    (plugin,) = (plugin for plugin in plugins().plugins if plugin.distribution == "smoothseg-my-own")
    assert plugin.error is None
    assert plugin.protocol == smoothseg.PROTOCOL_VERSION
    assert plugins().offers(plugin) == {kind: ("my-own",)}
    tests = own_tests(folder)
    assert len(tests) >= 3
    for test in tests.values():
        test()


@pytest.mark.parametrize(
    ("kind", "method", "broken"),
    [
        ("denoiser", "denoise", lambda self, noisy, sigma, *, seeds: noisy - noisy.mean()),
        ("segmenter", "segment", lambda self, images: images - images.mean()),
        ("certifier", "counted", "votes"),
        ("dataset", "ignore", 3),
    ],
)
def test_the_tests_of_a_new_plugin_fail_when_it_breaks_its_promises(kind, method, broken, made, monkeypatch):
    folder = made(kind)
    tests = own_tests(folder)
    component = getattr(sys.modules["smoothseg_my_own"], f"MyOwn{kind.capitalize()}")
    monkeypatch.setattr(component, method, broken)
    with pytest.raises(AssertionError):
        tests[f"test_it_keeps_the_promises_of_a_{kind}"]()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_formatted_and_linted(name, kind, tmp_path):
    pytest.importorskip("ruff")
    folder = scaffold.write(name, kind, tmp_path / "new")[1]
    for command in (
        ("format", "--check"),
        ("check", "--extend-select", "I,UP,B,SIM,C4,D1", "--ignore", "D103,D105,D107"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", str(folder)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_imports_no_torch(kind, made):
    made(kind)
    code = "import sys, smoothseg_my_own; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_of_its_readme_are_commands(kind, tmp_path):
    folder = scaffold.write("my-own", kind, tmp_path / "new")[1]
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    shown = [line.split()[2:] for line in lines if line.startswith("$ smoothseg ")]
    assert len(shown) == 4
    for name, *rest in shown:
        command = cli.get_command(click.Context(cli), name)
        command.make_context(name, list(rest))
    for word in (line.split("`")[1] for line in lines if line.startswith("| `")):
        assert (folder / word).exists(), word


def test_a_new_plugin_certifies(invoke, made, tmp_path):
    made("denoiser")
    arguments = (
        *("certify", "--denoiser", "my-own", "--segmenter", "hrnet", "--certifier", "holm:n0=2,n=50"),
        *("--dataset", "streets:count=1,height=32,width=48", "--output", tmp_path / "run"),
    )
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert "1 certificate verified" in invoke("verify", tmp_path / "run").output


def test_the_prefix_of_the_distribution_is_not_repeated(new, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = new("smoothseg-soft", "denoiser")
    assert result.exit_code == 0
    assert "wrote smoothseg-soft, with the denoiser 'soft', to smoothseg-soft" in result.output
    assert "cd smoothseg-soft" in result.output
    assert sorted(path.name for path in (tmp_path / "smoothseg-soft").iterdir()) == [
        *("README.md", "pyproject.toml", "smoothseg_soft.py", "tests"),
    ]


@pytest.mark.parametrize("name", ["none", "class", "any"])
def test_words_of_python_are_names_too(name, made):
    for test in own_tests(made("segmenter", name)).values():
        test()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Blur", "denoiser", "'Blur' cannot be the name of a plugin: expected at most 24 lower-case letters"),
        ("my_blur", "denoiser", "cannot be the name"),
        ("3d", "dataset", "a letter first"),
        ("smoothseg-", "dataset", "cannot be the name"),
        ("a" * 25, "dataset", "at most 24"),
        ("../up", "dataset", "cannot be the name"),
        ("adm", "denoiser", "there is a denoiser 'adm' already, of smoothseg_adm (smoothseg "),
        ("adm", "dataset", "there is a module smoothseg_adm already"),
        ("soft", "denoizer", "'denoizer' is not one of"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line(name, kind, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["new", "plugin", name, "--kind", kind])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(new, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "is not empty" in str(new("soft", "denoiser", "--output", tmp_path / "full").exception)
    assert "is a file" in str(new("soft", "denoiser", "--output", tmp_path / "full/mine.txt").exception)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert new("soft", "denoiser", "--output", tmp_path / "empty").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_installs_with_pip_and_passes_pytest(kind, tmp_path):
    """In an environment of its own, with the packages of this one behind it: `pip install -e .`, `pytest`."""
    folder = scaffold.write("my-own", kind, tmp_path / "new")[1]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    behind = [str(ROOT), str(ROOT / "plugins"), *(path for path in sys.path if "site-packages" in path)]
    (Path(site) / "behind.pth").write_text("\n".join(behind))
    for arguments in (("pip", "install", "--quiet", "-e", "."), ("pytest", "-q", "-p", "no:cacheprovider")):
        done = subprocess.run(
            [python, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    command = f"from smoothseg.cli import main; main(['check', '{kind}', 'my-own'])"
    checked = subprocess.run([python, "-c", command], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "no broken promise found in" in checked.stdout
