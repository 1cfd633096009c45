"""Functions that plugins offer by name, besides components and commands: trackers and schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from smoothseg.components.registry import check_name
from smoothseg.errors import PluginError

__all__ = ["Function", "Functions"]


@dataclasses.dataclass(frozen=True)
class Function:
    """A registered function, and the plugin that owns it."""

    name: str
    make: Callable[..., Any]
    owner: str


class Functions:
    """The functions of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Function] = {}

    def __iter__(self) -> Iterator[Function]:
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._entries[name].make

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order of registration."""
        return tuple(self._entries)

    def validate(self, name: str, make: Callable[..., Any]) -> None:
        """Raise `PluginError` unless `name` and `make` can be registered."""
        check_name(self.kind, name)
        if not callable(make):
            raise PluginError(f"{self.kind} '{name}' must be a function, got {make!r}")

    def register(self, name: str, make: Callable[..., Any], owner: str) -> None:
        """Add `make` under `name`, which is not taken."""
        self.validate(name, make)
        self._entries[name] = Function(name, make, owner)
