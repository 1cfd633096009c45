"""From entry points to working plugins: load each separately, and leave out plugins with conflicting names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pluggy

from smoothseg import hookspecs
from smoothseg.components.functions import Functions
from smoothseg.components.plugin import PROTOCOL, Plugin, blame
from smoothseg.components.registry import Registry
from smoothseg.errors import PluginError
from smoothseg.protocols import PROTOCOL_VERSION

if TYPE_CHECKING:
    import click

__all__ = ["DISABLE", "FUNCTIONS", "GROUP", "KINDS", "Plugins", "load"]

GROUP = "smoothseg"

KINDS = ("denoiser", "segmenter", "certifier", "dataset")
"""The kinds of components."""

FUNCTIONS = ("tracker", "schema")
"""The kinds of functions that a plugin may offer by name, besides components and commands."""

DISABLE = "SMOOTHSEG_DISABLE"
"""The environment variable that names plugins to switch off."""


@dataclasses.dataclass(frozen=True)
class Plugins:
    """Every plugin found, with what they offer: one registry for each kind of component, and the functions by kind.

    conflicts: one sentence with the remedy for each name that several plugins offer. These plugins are not in use, and
    each has the sentence as its `error`.
    """

    plugins: tuple[Plugin, ...]
    registries: Mapping[str, Registry]
    functions: Mapping[str, Functions]
    manager: pluggy.PluginManager
    conflicts: tuple[str, ...] = ()

    def __getitem__(self, kind: str) -> Registry:
        """Return the registry of one of `KINDS`."""
        return self.registries[kind]

    def offers(self, plugin: Plugin) -> dict[str, tuple[str, ...]]:
        """Return the names that `plugin` offers, by kind, without empty kinds."""
        kinds: _Kinds = {**self.registries, **self.functions}
        found = {
            kind: tuple(entry.name for entry in entries if entry.owner == plugin.owner)
            for kind, entries in kinds.items()
        }
        return {kind: names for kind, names in found.items() if names}

    def register_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands to `cli`; skip with a warning any that fails or reuses a name."""
        for plugin in self.plugins:
            hook = getattr(plugin.module, "register_commands", None)
            if hook is None:
                continue
            before = dict(cli.commands)
            try:
                hook(cli=cli)
                replaced = [
                    name for name, command in cli.commands.items() if before.get(name, command) is not command
                ]
                if replaced:
                    raise PluginError(f"command '{replaced[0]}' is taken")
            except (
                Exception
            ) as error:  # a third-party plugin may raise anything; none of it may stop the others
                cli.commands = before
                blame(plugin, error)


def load(entry_points: Iterable[metadata.EntryPoint], *, disabled: Iterable[str] = ()) -> Plugins:
    """Load `entry_points` one by one and collect what they offer.

    A plugin is skipped if it cannot be imported, if its hooks fail, or if it states another protocol version. A warning
    names its distribution, and the others still work. Plugins that offer the same name, and entry points of the same
    name, are all left out. The `conflicts` of the result name their owners.

    disabled: plugins to leave unimported, by the name of the entry point, or as `name@distribution` if several
        distributions use that name.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registries = {kind: Registry(kind) for kind in KINDS}
    functions = {kind: Functions(kind) for kind in FUNCTIONS}
    kinds: _Kinds = {**registries, **functions}
    off = tuple(disabled)
    found, points = _found(entry_points, off)
    conflicts = _of_one_name(found, off)
    offered: _Offered = {}
    for i, plugin in enumerate(found):
        if not plugin.disabled and plugin.error is None:
            found[i], offers = _import(manager, kinds, plugin, points[i].load)
            for kind, name, thing in offers:
                offered.setdefault((kind, name), {})[i] = thing
    conflicts += _of_one_offer(found, offered, off, manager)
    for (kind, name), things in offered.items():
        for i, thing in things.items():
            if found[i].error is None:
                kinds[kind].register(name, thing, found[i].owner)
    return Plugins(tuple(found), registries, functions, manager, tuple(conflicts))


_Kinds = Mapping[str, Registry | Functions]
_Offered = dict[tuple[str, str], dict[int, Any]]
"""What is offered under a kind and a name, by the index of the plugin."""


def _found(
    entry_points: Iterable[metadata.EntryPoint], off: Iterable[str]
) -> tuple[list[Plugin], list[metadata.EntryPoint]]:
    """Return a plugin for each of `entry_points`, not imported yet, and the entry points in the same order."""
    points = sorted(entry_points, key=lambda p: (p.name, p.value, p.dist.name if p.dist else ""))
    found = []
    for point in points:
        distribution = point.dist.name if point.dist is not None else "unknown distribution"
        version = point.dist.version if point.dist is not None else "?"
        plugin = Plugin(point.name, distribution, version)
        found.append(dataclasses.replace(plugin, disabled=any(plugin.is_called(name) for name in off)))
    return found, points


def _of_one_name(found: list[Plugin], off: Iterable[str]) -> list[str]:
    """Leave out the plugins of `found` whose entry points have the same name; return a sentence for each name."""
    conflicts: list[str] = []
    called: dict[str, list[int]] = {}
    for i, plugin in enumerate(found):
        if not plugin.disabled:
            called.setdefault(plugin.name, []).append(i)
    for name, same in called.items():
        if len(same) > 1:
            alike = [found[i] for i in same]
            choices = [f"{plugin.name}@{plugin.distribution}" for plugin in alike]
            number = "two" if len(same) == 2 else len(same)
            conflicts.append(f"{number} plugins are called '{name}': {_owners(alike)}; {_hint(off, choices)}")
            _leave_out(found, same, conflicts[-1])
    return conflicts


def _of_one_offer(
    found: list[Plugin], offered: _Offered, off: Iterable[str], manager: pluggy.PluginManager
) -> list[str]:
    """Leave out the plugins of `found` that offer the same; return a sentence for each kind and name."""
    conflicts: list[str] = []
    for (kind, name), things in offered.items():
        if len(things) > 1:
            alike = [found[i] for i in things]
            choices = [plugin.name for plugin in alike]
            both = "both " if len(alike) == 2 else ""
            conflicts.append(f"{kind} '{name}' is offered by {both}{_owners(alike)}; {_hint(off, choices)}")
            for i in things:
                if found[i].module is not None:
                    manager.unregister(name=found[i].name)
            _leave_out(found, things, conflicts[-1])
    return conflicts


def _owners(alike: Iterable[Plugin]) -> str:
    return " and ".join(plugin.owner for plugin in alike)


def _hint(off: Iterable[str], names: Iterable[str]) -> str:
    """Say how to keep one of the plugins `names`, given that those in `off` are already switched off."""
    listed = list(names)
    choices = [",".join([*off, *(name for name in listed if name != kept)]) for kept in reversed(listed)]
    return f"keep one of them with {' or '.join(f'{DISABLE}={names}' for names in choices)}"


def _leave_out(found: list[Plugin], indices: Iterable[int], reason: str) -> None:
    """Mark the plugins at `indices` of `found` as unusable, with `reason`."""
    for i in indices:
        found[i] = dataclasses.replace(found[i], module=None, error=found[i].error or reason)


def _import(
    manager: pluggy.PluginManager,
    kinds: _Kinds,
    plugin: Plugin,
    load_module: Callable[[], Any],
) -> tuple[Plugin, list[tuple[str, str, Any]]]:
    """Import one plugin and run its hooks; return it with kind, name and recipe or function of everything it offers.

    On failure, warn and return the plugin with nothing.
    """
    offered: list[tuple[str, str, Any]] = []
    try:
        module = load_module()
        _check_protocol(plugin, module)
        plugin = dataclasses.replace(plugin, module=module)
        manager.register(module, name=plugin.name)
        manager.check_pending()
        for kind in kinds:
            hook = manager.subset_hook_caller(f"register_{kind}s", _others(manager, module))
            hook(register=lambda name, thing, kind=kind: offered.append((kind, name, thing)))
        for kind, name, thing in offered:
            kinds[kind].validate(name, thing)
            if sum((kind, name) == other[:2] for other in offered) > 1:
                raise PluginError(f"it offers {kind} '{name}' twice")
    except Exception as error:  # a third-party plugin may raise anything; none of it may stop the others
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        return dataclasses.replace(plugin, module=None, error=blame(plugin, error)), []
    return plugin, offered


def _check_protocol(plugin: Plugin, module: Any) -> None:
    """Raise `PluginError` if `module` states another protocol version than this smoothseg has."""
    stated = getattr(module, PROTOCOL, PROTOCOL_VERSION)
    if type(stated) is not int:
        raise PluginError(f"{PROTOCOL} must be a whole number such as {PROTOCOL_VERSION}, got {stated!r}")
    if stated != PROTOCOL_VERSION:
        newer = plugin.distribution if stated < PROTOCOL_VERSION else "smoothseg"
        raise PluginError(
            f"it is written for protocol {stated} of smoothseg, and this smoothseg has protocol {PROTOCOL_VERSION}: "
            f"a newer {newer} is needed (pip install --upgrade {newer})"
        )


def _others(manager: pluggy.PluginManager, module: Any) -> list[Any]:
    return [other for other in manager.get_plugins() if other is not module]
