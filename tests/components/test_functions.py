"""Functions that plugins offer by name: trackers and schemas."""

from __future__ import annotations

import types

import pytest

from smoothseg import PluginError, hookimpl
from smoothseg.components.discovery import load
from smoothseg.components.functions import Functions
from smoothseg.components.plugin import PluginWarning


class Point:
    """An entry point that gives a module without importing anything."""

    dist = None

    def __init__(self, name, module):
        self.name = self.value = name
        self._module = module

    def load(self):
        return self._module


def offering(name, make):
    module = types.ModuleType("offering")

    @hookimpl
    def register_trackers(register):
        register(name, make)

    module.register_trackers = register_trackers
    return module


def test_a_tracker_of_a_plugin_is_found_by_its_name():
    found = load([Point("one", offering("csv", print)), Point("two", offering("sql", repr))])
    assert found.functions["tracker"].names == ("csv", "sql")
    assert found.functions["tracker"]["sql"] is repr
    assert "csv" in found.functions["tracker"]
    assert "csv" not in found.functions["schema"]
    assert [found.offers(plugin) for plugin in found.plugins] == [
        {"tracker": ("csv",)},
        {"tracker": ("sql",)},
    ]


def test_two_plugins_with_one_tracker_are_both_left_out():
    found = load([Point(name, offering("csv", print)) for name in ("one", "two")])
    (conflict,) = found.conflicts
    assert conflict.startswith("tracker 'csv' is offered by both one")
    assert found.functions["tracker"].names == ()


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [("csv", 3, "tracker 'csv' must be a function, got 3"), ("Not Fit", print, "lower-case letters")],
)
def test_what_is_no_function_or_has_no_fit_name_is_refused(name, make, reason):
    with pytest.raises(PluginError, match=reason):
        Functions("tracker").register(name, make, "owner")
    with pytest.warns(PluginWarning, match=reason):
        found = load([Point("one", offering(name, make))])
    assert found.plugins[0].error is not None
