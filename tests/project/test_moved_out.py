"""A bundled plugin becomes a package of its own by moving its folder and its entry point."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import click
import pytest

from smoothseg import cli as command_line
from smoothseg.components import plugins as found
from smoothseg.components.plugins import plugins

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))


@pytest.fixture
def move(install, tmp_path, monkeypatch):
    """Return a function that moves a bundled plugin out, installs it and switches the bundled one off."""
    spec = importlib.util.spec_from_file_location("wheel", ROOT / "tests" / "wheel.py")
    wheel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wheel)

    def out(plugin):
        for module in [name for name in sys.modules if name.split(".")[0] == plugin]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setenv("SMOOTHSEG_DISABLE", f"{plugin}@smoothseg")
        return install(wheel.move_out(plugin, tmp_path / "project"))

    return out


def offers(plugin):
    """Return the names of what a plugin offers, by kind, its commands among them."""
    added = click.Group()
    getattr(plugin.module, "register_commands", lambda cli: None)(cli=added)
    return plugins().offers(plugin) | ({"command": tuple(added.commands)} if added.commands else {})


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_moved_out_offers_what_it_did(plugin, move):
    before = {each.name: offers(each) for each in plugins().plugins}
    site = move(plugin)
    bundled, moved = sorted(
        (each for each in plugins().plugins if each.name == plugin), key=lambda each: each.distribution
    )
    assert (bundled.distribution, bundled.disabled) == ("smoothseg", True)
    assert (moved.distribution, moved.version) == (plugin.replace("_", "-"), "7.0")
    assert Path(moved.module.__file__).is_relative_to(site)
    assert offers(moved) == before[plugin] != {}
    assert offers(bundled) == {}
    for each in plugins().plugins:
        assert each.name == plugin or offers(each) == before[each.name]


def test_a_run_certifies_with_the_certifier_moved_out(invoke, move, tmp_path):
    site = move("smoothseg_segcertify")
    arguments = (
        *("certify", "--denoiser", "identity", "--segmenter", "hrnet", "--certifier", "holm:n0=4,n=60"),
        *("--dataset", "streets:count=1,height=32,width=48", "--sigma", 0.1, "--output", tmp_path / "run"),
    )
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert "1 certificate verified" in invoke("verify", tmp_path / "run").output
    assert Path(sys.modules["smoothseg_segcertify.certifiers"].__file__).is_relative_to(site)


def test_both_at_once_are_an_error_that_says_what_to_switch_off(invoke, move, monkeypatch, capsys):
    move("smoothseg_camvid")
    monkeypatch.delenv("SMOOTHSEG_DISABLE")
    found.plugins.cache_clear()
    with pytest.raises(SystemExit):
        command_line.main(["components"])
    error = capsys.readouterr().err
    assert "two plugins are called 'smoothseg_camvid'" in error
    assert "SMOOTHSEG_DISABLE=smoothseg_camvid@smoothseg" in error
    shown = json.loads(invoke("plugins", "--format", "json").stdout)
    broken = [each for each in shown if each["error"]]
    assert [each["distribution"] for each in broken] == ["smoothseg", "smoothseg-camvid"]
    assert all("two plugins are called 'smoothseg_camvid'" in each["error"] for each in broken)
