"""From a name to a recipe: `"adm:steps=multi,weights=a.pt"` to `AdmRecipe(steps="multi", weights="a.pt")`."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smoothseg.errors import ConfigError, PluginError, UnknownNameError

if TYPE_CHECKING:
    import pydantic

__all__ = ["Entry", "Field", "Registry", "check_name", "parse", "settings"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_name(kind: str, name: Any) -> None:
    """Raise `PluginError` unless something of `kind` can be registered under `name`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"{kind} name {name!r} must be lower-case letters, digits and single hyphens")


@dataclasses.dataclass(frozen=True)
class Field:
    """One option of a component."""

    name: str
    type: str
    default: Any
    help: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered recipe, and the plugin that owns it."""

    name: str
    recipe: type[Any]
    owner: str

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        return (self.recipe.__doc__ or "").strip().partition("\n")[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The component's options, in the order of the recipe's fields."""
        return tuple(
            Field(
                field.name,
                field.type
                if isinstance(field.type, str)
                else getattr(field.type, "__name__", str(field.type)),
                None if field.default is dataclasses.MISSING else field.default,
                str(field.metadata.get("help", "")),
            )
            for field in dataclasses.fields(self.recipe)
        )

    @functools.cached_property
    def adapter(self) -> pydantic.TypeAdapter[Any]:
        """What validates and dumps recipes; made once, because every certificate states its recipes."""
        import pydantic  # here, because it is slow to import and `--help` needs no recipe

        return pydantic.TypeAdapter(self.recipe)


class Registry:
    """The recipes of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def validate(self, name: str, recipe: type[Any]) -> None:
        """Raise `PluginError` unless `name` and `recipe` can be registered."""
        check_name(self.kind, name)
        if not (isinstance(recipe, type) and dataclasses.is_dataclass(recipe)):
            raise PluginError(
                f"the recipe of {self.kind} '{name}' must be a frozen dataclass, got {recipe!r}"
            )
        if not recipe.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise PluginError(f"the recipe of {self.kind} '{name}', {recipe.__name__}, must be frozen")
        if not callable(getattr(recipe, "load", None)):
            raise PluginError(f"the recipe of {self.kind} '{name}', {recipe.__name__}, has no method load")

    def register(self, name: str, recipe: type[Any], owner: str) -> None:
        """Add `recipe` under `name`; raise `PluginError` with both owners if the name is taken."""
        self.validate(name, recipe)
        if name in self._entries:
            raise PluginError(
                f"{self.kind} '{name}' is offered by both {self._entries[name].owner} and {owner}"
            )
        self._entries[name] = Entry(name, recipe, owner)

    def entry(self, name: str) -> Entry:
        """Return the entry called `name`; raise `UnknownNameError` with the closest name if there is none."""
        if name not in self._entries:
            if self.kind == "dataset" and os.path.isdir(name):
                raise ConfigError(
                    f"there is no dataset '{name}', but a folder of that name: folder:root={name}"
                )
            raise UnknownNameError.of(self.kind, name, self._entries, listed="installed")
        return self._entries[name]

    def recipe(self, spec: str | Mapping[str, Any]) -> Any:
        """Return the validated recipe of `spec`.

        spec: `"name"`, `"name:key=value,..."`, or a mapping with `name` and the options.

        Raises `UnknownNameError` for a name or key that does not exist, and `ConfigError` for a value that does not fit
        its field.
        """
        name, options = parse(spec, self.kind)
        entry = self.entry(name)
        known = {field.name for field in dataclasses.fields(entry.recipe)}
        for key in options:
            if key not in known:
                raise UnknownNameError.of(f"option of {self.kind} '{name}'", key, known, listed="it takes")
        for field in entry.fields:
            # Text is one value unless the field holds several: then "0.6,0.75" is two.
            if field.type.startswith("tuple[") and isinstance(options.get(field.name), str):
                options[field.name] = options[field.name].split(",")
        import pydantic

        try:
            return entry.adapter.validate_python(options)
        except pydantic.ValidationError as error:
            raise ConfigError(f"{self.kind} '{name}': {_explain(error)}") from None

    def name_of(self, recipe: Any) -> str:
        """Return the name under which the recipe's class is registered."""
        for entry in self._entries.values():
            if type(recipe) is entry.recipe:
                return entry.name
        raise PluginError(f"{type(recipe).__name__} is not a registered {self.kind} recipe")

    def describe(self, recipe: Any) -> dict[str, Any]:
        """Return the recipe as a mapping of its `name` and plain values, as in YAML and provenance."""
        name = self.name_of(recipe)
        return {"name": name, **self._entries[name].adapter.dump_python(recipe, mode="json")}


def parse(spec: str | Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """Split a component spec into its name and its options.

    In the text form, a comma that is not followed by `key=` belongs to the value before it. So
    `name:taus=0.6,0.75,n=10` has the two options `taus` and `n`.
    """
    if isinstance(spec, Mapping):
        options = dict(spec)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{kind} given as a mapping needs a 'name', got {dict(spec)!r}")
        return name, options
    if not isinstance(spec, str):
        raise ConfigError(f"{kind} must be 'name:key=value,...' or a mapping, got {spec!r}")
    name, _, rest = spec.partition(":")
    parsed: dict[str, Any] = {}
    for part in re.split(r",(?=\s*\w+\s*=)", rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"{kind} '{spec}': expected key=value after ':', got '{part}'")
        if key.strip() in parsed:
            raise ConfigError(f"{kind} '{spec}': '{key.strip()}' is given twice")
        parsed[key.strip()] = None if value.strip().lower() in {"none", "null"} else value.strip()
    return name.strip(), parsed


def settings(name: str, plain: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """Return the text form `name:key=value,...` of the options in `plain` that differ from `defaults`.

    Without `defaults`, return all options that are not None.
    """
    shown = {
        key: value
        for key, value in plain.items()
        if key != "name" and (value is not None if defaults is None else defaults.get(key) != value)
    }
    texts = {k: ",".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in shown.items()}
    return name + (":" + ",".join(f"{k}={v}" for k, v in texts.items()) if texts else "")


def _explain(error: pydantic.ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(piece) for piece in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        parts.append(f"{where}={item['input']}: {message}" if where else message)
    return "; ".join(parts)
