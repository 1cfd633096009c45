import dataclasses
import json
import types
from importlib import metadata
from typing import Literal

import click
import pytest

import smoothseg
from smoothseg import cli as command_line
from smoothseg.components import plugins
from smoothseg.components.plugin import PluginWarning
from smoothseg.components.registry import Registry, parse, settings
from smoothseg.errors import ConfigError, PluginError, UnknownNameError


@dataclasses.dataclass(frozen=True)
class ToyRecipe:
    """A toy.

    More about it.
    """

    steps: Literal["single", "multi"] = smoothseg.option("single", "how many steps")
    share: float = 0.5
    limit: int | None = None
    taus: str = ""
    on: bool = False

    def load(self, device):
        return self


@pytest.fixture
def registry():
    registry = Registry("denoiser")
    registry.register("toy", ToyRecipe, "owner 1")
    return registry


def test_text_and_mapping_give_the_same_recipe(registry):
    expected = ToyRecipe(steps="multi", share=0.25, limit=3, on=True)
    assert registry.recipe("toy:steps=multi,share=0.25,limit=3,on=true") == expected
    assert (
        registry.recipe({"name": "toy", "steps": "multi", "share": 0.25, "limit": 3, "on": True}) == expected
    )
    assert registry.recipe(registry.describe(expected)) == expected
    assert registry.recipe("toy") == ToyRecipe()
    assert registry.recipe("toy:limit=none") == ToyRecipe()


def test_a_comma_without_a_key_belongs_to_the_value_before():
    assert parse("toy:taus=0.6,0.75,share=1", "denoiser") == ("toy", {"taus": "0.6,0.75", "share": "1"})


def test_settings_is_the_inverse_of_parse():
    name, options = parse(settings("toy", {"name": "toy", "a": 1, "b": 2}, {"a": 1, "b": 0}), "denoiser")
    assert (name, options) == ("toy", {"b": "2"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tay", r"unknown denoiser 'tay'; installed: toy\. Did you mean 'toy'\?"),
        ("toy:step=multi", r"unknown option of denoiser 'toy' 'step'.*Did you mean 'steps'\?"),
        ("toy:steps=some", r"denoiser 'toy': steps=some: input should be 'single' or 'multi'"),
        ("toy:share=much", r"denoiser 'toy': share=much: .*number"),
        ("toy:share", r"expected key=value after ':', got 'share'"),
        ("toy:share=1,share=2", r"'share' is given twice"),
        ({"steps": "multi"}, r"needs a 'name'"),
        (7, r"must be 'name:key=value,...' or a mapping, got 7"),
    ],
)
def test_wrong_specs_are_explained_in_one_line(registry, spec, message):
    with pytest.raises(ConfigError, match=message) as error:
        registry.recipe(spec)
    assert "\n" not in str(error.value)


def test_duplicate_names_name_both_owners(registry):
    with pytest.raises(PluginError, match=r"denoiser 'toy' is offered by both owner 1 and owner 2"):
        registry.register("toy", ToyRecipe, "owner 2")


def test_an_entry_knows_summary_and_help(registry):
    entry = registry.entry("toy")
    assert entry.summary == "A toy."
    assert (entry.fields[0].name, entry.fields[0].default, entry.fields[0].help) == (
        "steps",
        "single",
        "how many steps",
    )


@pytest.mark.parametrize(
    ("name", "recipe"), [("Toy", ToyRecipe), ("to y", ToyRecipe), ("toy", object), ("toy", 3)]
)
def test_what_is_no_recipe_is_refused(name, recipe):
    with pytest.raises(PluginError):
        Registry("denoiser").register(name, recipe, "owner")


class Point:
    """An entry point of a distribution that does not exist."""

    def __init__(self, name, module, distribution="third-party"):
        self.name, self.value, self._module = name, name, module
        self.dist = types.SimpleNamespace(name=distribution, version="9.1")

    def load(self):
        if isinstance(self._module, Exception):
            raise self._module
        return self._module


def module_with(**hooks):
    module = types.ModuleType("toy_plugin")
    for name, function in hooks.items():
        setattr(module, name, smoothseg.hookimpl(function))
    return module


def offering(name, recipe=ToyRecipe):
    def register_denoisers(register):
        register(name, recipe)

    return module_with(register_denoisers=register_denoisers)


def test_plugins_are_loaded_and_know_their_owner():
    found = plugins.load([Point("one", offering("toy"))])
    assert found["denoiser"].entry("toy").owner == "one (third-party 9.1)"


def test_each_recipe_is_registered_once_with_several_plugins():
    found = plugins.load([Point("one", offering("toy")), Point("two", offering("other"))])
    assert [entry.name for entry in found["denoiser"]] == ["other", "toy"]
    assert found["denoiser"].entry("other").owner.startswith("two ")


def hook_that_fails():
    def register_denoisers(register):
        raise RuntimeError("no licence\nmore text")

    return module_with(register_denoisers=register_denoisers)


def hook_that_does_not_exist():
    def register_denoizers(register):
        pass

    return module_with(register_denoizers=register_denoizers)


def hook_that_registers_nonsense():
    def register_denoisers(register):
        register("good", ToyRecipe)
        register("bad", object)

    return module_with(register_denoisers=register_denoisers)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (ImportError("No module named 'torchy'"), "ImportError: No module named 'torchy'"),
        (hook_that_fails(), "RuntimeError: no licence"),
        (hook_that_does_not_exist(), "unknown hook 'register_denoizers'"),
        (hook_that_registers_nonsense(), "must be a frozen dataclass"),
    ],
)
def test_a_broken_plugin_is_blamed_by_distribution_and_skipped(module, reason):
    points = [Point("a-broken", module), Point("whole", offering("toy"))]
    with pytest.warns(UserWarning, match=r"plugin a-broken \(third-party 9\.1\) is broken and was skipped"):
        found = plugins.load(points)
    assert [entry.name for entry in found["denoiser"]] == ["toy"]
    broken = next(plugin for plugin in found.plugins if plugin.name == "a-broken")
    assert broken.error is not None
    assert reason in broken.error


def test_two_plugins_offering_one_name_are_both_left_out_and_named():
    points = [
        Point("one", offering("toy")),
        Point("two", offering("toy"), "another"),
        Point("z", offering("z")),
    ]
    found = plugins.load(points, disabled=["absent"])
    (conflict,) = found.conflicts
    assert conflict == (
        "denoiser 'toy' is offered by both one (third-party 9.1) and two (another 9.1); keep one of them with "
        "SMOOTHSEG_DISABLE=absent,one or SMOOTHSEG_DISABLE=absent,two"
    )
    assert [plugin.error for plugin in found.plugins] == [conflict, conflict, None]
    assert [found.offers(plugin) for plugin in found.plugins] == [{}, {}, {"denoiser": ("z",)}]
    assert plugins.load(points, disabled=["absent", "one"]).conflicts == ()


def test_two_entry_points_of_one_name_are_both_left_out_and_not_imported():
    points = [Point("one", ImportError("boom")), Point("one", ImportError("boom"), "another")]
    found = plugins.load(points)
    (conflict,) = found.conflicts
    assert conflict == (
        "two plugins are called 'one': one (another 9.1) and one (third-party 9.1); keep one of them with "
        "SMOOTHSEG_DISABLE=one@another or SMOOTHSEG_DISABLE=one@third-party"
    )
    assert [plugin.error for plugin in found.plugins] == [conflict, conflict]


def test_of_three_plugins_all_but_one_are_to_be_switched_off():
    (conflict,) = plugins.load([Point(name, offering("toy")) for name in "abc"]).conflicts
    for names in ("a,b", "a,c", "b,c"):
        assert f"SMOOTHSEG_DISABLE={names}" in conflict
        assert (
            plugins.load([Point(n, offering("toy")) for n in "abc"], disabled=names.split(",")).conflicts
            == ()
        )


def test_a_plugin_that_offers_a_name_twice_is_broken():
    def register_denoisers(register):
        register("toy", ToyRecipe)
        register("toy", ToyRecipe)

    module = module_with(register_denoisers=register_denoisers)
    with pytest.warns(PluginWarning, match="it offers denoiser 'toy' twice"):
        found = plugins.load([Point("one", module)])
    assert (found.conflicts, list(found["denoiser"])) == ((), [])


@pytest.fixture
def conflict(monkeypatch):
    """Install two plugins that offer one name, and one that offers another, instead of those that are installed."""
    points = [
        Point("one", offering("toy")),
        Point("two", offering("toy"), "another"),
        Point("z", offering("z")),
    ]
    original = plugins.load
    monkeypatch.setattr(plugins, "load", lambda _, disabled: original(points, disabled=disabled))
    plugins.plugins.cache_clear()
    yield
    plugins.plugins.cache_clear()


@pytest.mark.usefixtures("conflict")
def test_doctor_and_plugins_show_plugins_that_exclude_each_other(invoke):
    hint = "keep one of them with SMOOTHSEG_DISABLE=one or SMOOTHSEG_DISABLE=two"
    shown = invoke("plugins", "--format", "json")
    assert [(each["name"], hint in (each["error"] or "")) for each in json.loads(shown.stdout)] == [
        ("one", True),
        ("two", True),
        ("z", False),
    ]
    examined = invoke("doctor", "--format", "json")
    assert examined.exit_code == 1
    found = json.loads(examined.stdout)
    assert [plugin["state"] for plugin in found["plugins"]] == ["broken", "broken", "ok"]
    assert len([text for text in found["broken"] if hint in text]) == 1


@pytest.mark.usefixtures("conflict")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["plugins"], 0), (["components"], 1), (["certify"], 1), (["command-of-one"], 1)],
)
def test_other_commands_refuse_plugins_that_exclude_each_other(arguments, code, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert (stopped.value.code or 0) == code
    told = capsys.readouterr()
    assert ("Error: denoiser 'toy' is offered by both one" in told.err) == (code == 1)


@pytest.mark.usefixtures("conflict")
def test_a_plugin_switched_off_settles_it(monkeypatch):
    monkeypatch.setenv("SMOOTHSEG_DISABLE", "one@third-party")
    assert plugins.plugins()["denoiser"].entry("toy").owner == "two (another 9.1)"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_entry_points_of_one_name_one_can_be_switched_off_by_its_distribution(order):
    points = [Point("one", offering("toy")), Point("one", offering("other"), "An_other")][::order]
    found = plugins.load(points, disabled=["one@an-other"])
    assert [entry.name for entry in found["denoiser"]] == ["toy"]
    assert {(plugin.distribution, plugin.disabled) for plugin in found.plugins} == {
        ("third-party", False),
        ("An_other", True),
    }
    for plugin in found.plugins:
        assert found.offers(plugin) == ({} if plugin.disabled else {"denoiser": ("toy",)})


def stating(protocol):
    module = offering("toy")
    module.SMOOTHSEG_PROTOCOL = protocol
    return module


def test_a_plugin_of_this_protocol_works_and_is_known_to_state_it():
    found = plugins.load([Point("one", stating(smoothseg.PROTOCOL_VERSION)), Point("two", offering("other"))])
    assert [plugin.protocol for plugin in found.plugins] == [smoothseg.PROTOCOL_VERSION, None]


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (1, r"written for protocol 1 .* has protocol 2: .*pip install --upgrade third-party\)"),
        (3, r"written for protocol 3 .* has protocol 2: .*pip install --upgrade smoothseg\)"),
        ("2", r"must be a whole number such as 2, got '2'"),
        (True, r"must be a whole number such as 2, got True"),
    ],
)
def test_a_plugin_of_another_protocol_is_skipped_and_told_what_to_do(stated, reason):
    with pytest.warns(PluginWarning, match=reason):
        found = plugins.load([Point("old", stating(stated)), Point("whole", offering("other"))])
    assert [entry.name for entry in found["denoiser"]] == ["other"]
    assert found.plugins[0].error is not None


def test_a_disabled_plugin_is_not_even_imported():
    found = plugins.load([Point("one", ImportError("boom"))], disabled=["one"])
    assert found.plugins[0].disabled
    assert found.plugins[0].error is None


def group():
    commands = click.Group("smoothseg")
    commands.add_command(click.Command("certify"))
    return commands


def failing(cli):
    cli.add_command(click.Command("half"))
    raise RuntimeError("boom")


def replacing(cli):
    cli.add_command(click.Command("certify"))


@pytest.mark.parametrize(("hook", "reason"), [(failing, "boom"), (replacing, "command 'certify' is taken")])
def test_a_plugin_whose_commands_fail_or_replace_others_is_skipped(hook, reason):
    def good(cli):
        cli.add_command(click.Command("mine"))

    points = [
        Point("a", module_with(register_commands=hook)),
        Point("b", module_with(register_commands=good)),
    ]
    commands = group()
    certify = commands.commands["certify"]
    with pytest.warns(UserWarning, match=reason):
        plugins.load(points).register_commands(commands)
    assert sorted(commands.commands) == ["certify", "mine"]
    assert commands.commands["certify"] is certify


def test_bundled_plugins_enter_through_their_entry_points():
    found = plugins.plugins()
    declared = {point.name for point in metadata.entry_points(group="smoothseg")}
    assert {plugin.name for plugin in found.plugins} == declared
    assert not [plugin for plugin in found.plugins if plugin.error]
    for kind, name in (
        ("denoiser", "adm"),
        ("denoiser", "identity"),
        ("segmenter", "hrnet"),
        ("certifier", "holm"),
    ):
        assert name in found[kind]
    for name in ("camvid", "folder", "streets"):
        assert name in found["dataset"]


def test_unknown_names_are_user_errors():
    assert UnknownNameError("x").exit_code == 2
