"""Which plugins are there, and what each of them offers or why it is broken."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pluggy

from smoothseg import hookspecs
from smoothseg.errors import PluginError, SmoothsegError
from smoothseg.protocols import PROTOCOL_VERSION
from smoothseg.registry import Registry

if TYPE_CHECKING:
    import click

__all__ = ["GROUP", "KINDS", "PROTOCOL", "Plugin", "PluginWarning", "Plugins", "load", "plugins"]

GROUP = "smoothseg"
KINDS = ("denoiser", "segmenter", "certifier", "dataset")

PROTOCOL = "SMOOTHSEG_PROTOCOL"
"""The name by which a plugin's module states the protocol version it was written for."""


class PluginWarning(UserWarning):
    """A plugin is broken and was skipped."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """One entry point: its name, the distribution that brings it, and `error` where it could not be used."""

    name: str
    distribution: str
    version: str
    module: Any = None
    error: str | None = None
    disabled: bool = False

    @property
    def owner(self) -> str:
        """The plugin named with its distribution, for messages."""
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def protocol(self) -> int | None:
        """The protocol version that the plugin states; None where it states none or could not be used."""
        return getattr(self.module, PROTOCOL, None)


@dataclasses.dataclass(frozen=True)
class Plugins:
    """Every plugin found, and one registry a kind of component."""

    plugins: tuple[Plugin, ...]
    registries: Mapping[str, Registry]
    manager: pluggy.PluginManager

    def __getitem__(self, kind: str) -> Registry:
        """Return the registry of 'denoiser', 'segmenter', 'certifier' or 'dataset'."""
        return self.registries[kind]

    def offers(self, plugin: Plugin) -> dict[str, tuple[str, ...]]:
        """Return the names of what `plugin` offers, by kind; kinds of which it offers nothing are left out."""
        found = {
            kind: tuple(entry.name for entry in registry if entry.owner == plugin.owner)
            for kind, registry in self.registries.items()
        }
        return {kind: names for kind, names in found.items() if names}

    def register_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands to `cli`; blame and skip one that fails or takes a name that is taken."""
        for plugin in self.plugins:
            hook = getattr(plugin.module, "register_commands", None)
            if hook is None:
                continue
            before = dict(cli.commands)
            taken = set(cli.list_commands(None))  # type: ignore[arg-type]
            try:
                hook(cli=cli)
                replaced = [
                    name for name, command in cli.commands.items() if before.get(name, command) is not command
                ]
                hidden = [name for name in cli.commands if name in taken and name not in before]
                if replaced or hidden:
                    raise PluginError(f"command '{(replaced + hidden)[0]}' is taken")
            except (
                Exception
            ) as error:  # a third-party plugin may raise anything; none of it may stop the others
                cli.commands = before
                _blame(plugin, error)


def load(entry_points: Iterable[metadata.EntryPoint], *, disabled: Iterable[str] = ()) -> Plugins:
    """Load `entry_points` one by one and collect what they offer.

    A plugin that cannot be imported, whose hooks fail, or that states another protocol version than ours, is
    skipped with a warning that names its distribution; the others work on. Two plugins that offer the same name
    raise `PluginError` with both owners, as do two entry points of the same name.

    disabled: plugins that are not even imported, each by the name of its entry point, or as `name@distribution`
        where two distributions have one of that name.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registries = {kind: Registry(kind) for kind in KINDS}
    off = {_canonical(name) for name in disabled}
    found: list[Plugin] = []
    on: dict[str, Plugin] = {}
    for point in sorted(entry_points, key=lambda p: (p.name, p.value)):
        distribution = point.dist.name if point.dist is not None else "unknown distribution"
        version = point.dist.version if point.dist is not None else "?"
        plugin = Plugin(point.name, distribution, version)
        if off & {_canonical(plugin.name), _canonical(f"{plugin.name}@{plugin.distribution}")}:
            found.append(dataclasses.replace(plugin, disabled=True))
            continue
        if plugin.name in on:
            raise PluginError(
                f"two plugins are called '{plugin.name}': {on[plugin.name].owner} and {plugin.owner}; "
                f"switch one off with SMOOTHSEG_DISABLE={plugin.name}@{plugin.distribution}"
            )
        on[plugin.name] = _register(manager, registries, plugin, point.load)
        found.append(on[plugin.name])
    return Plugins(tuple(found), registries, manager)


@functools.cache
def plugins() -> Plugins:
    """Return the installed plugins, without those named in `SMOOTHSEG_DISABLE` (comma-separated; see `load`)."""
    names = os.environ.get("SMOOTHSEG_DISABLE", "")
    return load(
        metadata.entry_points(group=GROUP), disabled=[name for name in re.split(r"[,\s]+", names) if name]
    )


def _register(
    manager: pluggy.PluginManager,
    registries: Mapping[str, Registry],
    plugin: Plugin,
    load_module: Callable[[], Any],
) -> Plugin:
    """Import one plugin and run its hooks; on failure blame it and leave the registries as they were."""
    offered: list[tuple[Registry, str, type[Any]]] = []
    try:
        module = load_module()
        _check_protocol(plugin, module)
        plugin = dataclasses.replace(plugin, module=module)
        manager.register(module, name=plugin.name)
        manager.check_pending()
        for kind, registry in registries.items():
            hook = manager.subset_hook_caller(f"register_{kind}s", _others(manager, module))
            hook(register=lambda name, recipe, registry=registry: offered.append((registry, name, recipe)))
        for registry, name, recipe in offered:
            registry.validate(name, recipe)
    except Exception as error:  # a third-party plugin may raise anything; none of it may stop the others
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        return dataclasses.replace(plugin, module=None, error=_blame(plugin, error))
    for registry, name, recipe in offered:
        registry.register(name, recipe, plugin.owner)
    return plugin


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


def _canonical(name: str) -> str:
    """Return a plugin's name, or `name@distribution`, with the distribution as package indexes compare it."""
    plugin, at, distribution = name.partition("@")
    return plugin + at + re.sub(r"[-_.]+", "-", distribution).lower()


def _blame(plugin: Plugin, error: Exception) -> str:
    """Warn that `plugin` is broken, and return why."""
    first = (str(error).strip() or "no message").splitlines()[0]
    reason = first if isinstance(error, SmoothsegError) else f"{type(error).__name__}: {first}"
    warnings.warn(f"plugin {plugin.owner} is broken and was skipped: {reason}", PluginWarning, stacklevel=3)
    return reason


def _others(manager: pluggy.PluginManager, module: Any) -> list[Any]:
    return [other for other in manager.get_plugins() if other is not module]
