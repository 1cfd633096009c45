"""Who may import whom, what importing costs, and that the public names are there."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smoothseg

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_no_sibling(plugin):
    siblings = {path.name for path in PLUGINS} - {plugin.name}
    for module in plugin.rglob("*.py"):
        assert not siblings & set(imported(module)), module


def test_the_core_imports_no_plugin():
    names = {path.name for path in PLUGINS}
    for module in (ROOT / "smoothseg").rglob("*.py"):
        assert not names & set(imported(module)), module


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
