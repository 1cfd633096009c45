"""Who may import whom, what importing costs, and that the public names are there."""

import ast
import graphlib
import importlib
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import smoothseg

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


def test_every_plugin_has_its_entry_point():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for plugin in PLUGINS:
        assert f'{plugin.name} = "{plugin.name}"' in declared


@pytest.mark.parametrize(
    "statement",
    [
        "import smoothseg",
        "import smoothseg.cli",
        "from smoothseg.components.plugins import plugins; assert len(plugins().plugins) > 5",
        "from smoothseg.runs.plan import Plan; Plan.of({})",
    ],
)
def test_no_torch_before_a_component_is_loaded(statement):
    code = (
        f"import sys; {statement}; heavy = {{'torch', 'scipy.stats', 'diffusers', 'timm'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", f"{code}; assert not heavy, heavy"], check=True)


def test_public_names_exist_and_are_named_once():
    assert len(set(smoothseg.__all__)) == len(smoothseg.__all__)
    for name in smoothseg.__all__:
        assert hasattr(smoothseg, name)


def test_every_error_is_drawn_in_the_tree():
    from smoothseg import errors

    for name in errors.__all__:
        assert name in (errors.__doc__ or "")
        assert issubclass(getattr(errors, name), errors.SmoothsegError)


PUBLIC = ("smoothseg", "smoothseg.data", "smoothseg.networks", "smoothseg.testing", "smoothseg.weights")
"""What plugin authors may import."""


@pytest.fixture(scope="module")
def graph():
    """The imports of the core, those for type checkers included."""
    grimp = pytest.importorskip("grimp")
    return grimp.build_graph("smoothseg", cache_dir=None)


@pytest.fixture(scope="module")
def drawn():
    """What `docs/architecture.py` defines."""
    return runpy.run_path(str(ROOT / "docs" / "architecture.py"))


def test_the_walls_stand():
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contracts_name_every_plugin_and_every_private_module():
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    plugins = {path.name for path in PLUGINS}
    assert set(linter["root_packages"]) == {"smoothseg"} | plugins
    assert set(contracts["core"]["forbidden_modules"]) == plugins
    assert set(contracts["siblings"]["modules"]) == plugins
    strict, free = (set(contracts[name]["source_modules"]) for name in ("public", "commands"))
    assert strict | free == plugins
    assert not strict & free
    modules = [*(ROOT / "smoothseg").glob("[a-z]*.py"), *(ROOT / "smoothseg").glob("*/__init__.py")]
    names = {f"smoothseg.{(path.parent if path.stem == '__init__' else path).stem}" for path in modules}
    private = names - set(PUBLIC)
    data = {f"smoothseg.data.{path.stem}" for path in (ROOT / "smoothseg" / "data").glob("[a-z]*.py")}
    data -= {"smoothseg.data.class_names", "smoothseg.data.palettes"}
    others = {f"{room}.*" for room in PUBLIC if room not in ("smoothseg", "smoothseg.data")}
    assert set(contracts["public"]["forbidden_modules"]) == private | data | others


def test_no_circle_of_imports_is_left(graph):
    imports = {module: graph.find_modules_directly_imported_by(module) - {module} for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError


def test_no_module_of_the_core_imports_the_shop_window(graph):
    assert graph.find_modules_that_directly_import("smoothseg") == set()


def test_the_vocabulary_is_all_that_lies_outside_the_rooms():
    outside = {path.stem for path in (ROOT / "smoothseg").glob("*.py")}
    assert outside == {"__init__", "errors", "files", "hookspecs", "protocols"}


def test_every_room_says_what_belongs_there_and_what_does_not():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in sorted((ROOT / "smoothseg").iterdir()):
        if (folder / "__init__.py").exists():
            said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
            assert len(said.split("\n\n")) >= 2, folder.name
            assert ("Private: " in said) == (f"smoothseg.{folder.name}" not in PUBLIC), folder.name
            assert f"`smoothseg/{folder.name}`" in page, folder.name


def test_the_page_says_how_many_lines_the_core_has():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    stated = int(re.search(r"The core has ([\d,]+) lines", page)[1].replace(",", ""))
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "smoothseg").rglob("*.py")
    )
    assert abs(stated - lines) <= 100, lines


@pytest.mark.parametrize("name", ["way-of-an-image", "way-of-a-command"])
def test_a_picture_of_the_architecture_is_current(name, graph, drawn):
    steps, stored = drawn["WAYS"][name], ROOT / "docs" / "images" / f"{name}.svg"
    assert stored.read_text(encoding="utf-8") == drawn["draw"](steps, name.replace("-", " "))
    callers = []
    for step in steps:
        callers = [*callers[: step.depth], step]
        if step.module is None:
            continue
        assert step.module in graph.modules
        above = [caller.module for caller in callers[:-1] if caller.module]
        if above:
            assert graph.direct_import_exists(importer=above[-1], imported=step.module), step.name


@pytest.mark.parametrize("room", PUBLIC)
def test_a_public_room_names_what_it_offers(room):
    module = importlib.import_module(room)
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_guide_lists_what_plugin_authors_may_import():
    guide = (ROOT / "docs" / "guides" / "plugin.md").read_text(encoding="utf-8")
    for room in PUBLIC:
        assert f"`{room}`" in guide


def test_a_run_certifies_without_the_plugins_of_commands(tmp_path):
    off = "smoothseg_training,smoothseg_paper,smoothseg_scaffold,smoothseg_trackers"
    words = (
        *("certify", "--dataset", "streets:count=1,height=32,width=48", "--denoiser", "identity"),
        *(
            "--certifier",
            "holm:n0=4,n=60",
            "--sigma",
            "0.1",
            "--threads",
            "1",
            "--output",
            str(tmp_path / "run"),
        ),
    )
    code = f"import sys; from smoothseg.cli import main; main({list(words)!r})"
    environment = {**os.environ, "SMOOTHSEG_DISABLE": off}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    for command in ("train", "reproduce", "new"):
        code = f"from smoothseg.cli import main; main(['{command}', '--help'])"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        assert f"No such command '{command}'" in done.stderr
