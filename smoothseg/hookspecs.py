"""The hooks that a plugin implements: one for each kind of component, and those for commands, trackers and schemas.

A plugin is a module named by an entry point in the group `smoothseg`. It marks functions of these names
with `@smoothseg.hookimpl` and calls the `register` that it receives once for each component:

    @smoothseg.hookimpl
    def register_denoisers(register):
        register("median", MedianRecipe)

Import torch in `load`, not at module level: every command imports every plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

__all__ = ["Register", "RegisterFunction", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("smoothseg")
hookimpl = pluggy.HookimplMarker("smoothseg")

Register = Callable[[str, type[Any]], None]
"""`register(name, recipe)`: offers the frozen dataclass `recipe` under `name` (lower case, digits, hyphens)."""

RegisterFunction = Callable[[str, Callable[..., Any]], None]
"""`register(name, make)`: offers the function `make` under `name` (same rules)."""


@hookspec
def register_denoisers(register: Register) -> None:
    """Offer denoisers; `recipe.load(device)` returns a `smoothseg.Denoiser`."""


@hookspec
def register_segmenters(register: Register) -> None:
    """Offer segmenters; `recipe.load(device)` returns a `smoothseg.Segmenter`."""


@hookspec
def register_certifiers(register: Register) -> None:
    """Offer certifiers; `recipe.load()` returns a `smoothseg.Certifier`."""


@hookspec
def register_datasets(register: Register) -> None:
    """Offer datasets; `recipe.load()` returns a `smoothseg.Dataset`."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add click commands to `cli`, the `smoothseg` group."""


@hookspec
def register_trackers(register: RegisterFunction) -> None:
    """Offer experiment trackers for `--track NAME`.

    `make(directory, name, config)` begins a run with the tracker and returns a `smoothseg.Tracker`. `make` may have an
    attribute `check`, a function without arguments that is called before anything runs. It raises `ConfigError` if
    the tracker cannot work, for example because its package is not installed.
    """


@hookspec
def register_schemas(register: RegisterFunction) -> None:
    """Offer JSON schemas of the YAML files that the plugin's commands read; `make()` returns a schema, a mapping."""
