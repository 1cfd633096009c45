"""Which options does `smoothseg train` offer on the command line? One for every field of a configuration."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from smoothseg.cli.completion import component
from smoothseg.components.plugins import plugins
from smoothseg_training.options import COMPONENTS

__all__ = ["options"]


def options(*kinds: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds an option for each field of `kinds`, without defaults so that YAML can set it."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for field, hint in reversed([pair for kind in kinds for pair in _fields(kind)]):
            command = click.option(*_names(field, hint), **_parameter(field, hint))(command)
        command = click.option(
            "--print-config",
            is_flag=True,
            help="Print all of these options but --fresh as YAML for --config, and train nothing.",
        )(command)
        return click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="YAML file of these options; the command line wins.",
        )(command)

    return decorate


def _fields(kind: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    fields = [(field, _plain(hints[field.name])) for field in dataclasses.fields(kind)]
    first = (*COMPONENTS, "output")
    return sorted(fields, key=lambda pair: first.index(pair[0].name) if pair[0].name in first else len(first))


def _plain(hint: Any) -> Any:
    """Return `X` of `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kept = [part for part in typing.get_args(hint) if part is not type(None)]
        return kept[0]
    return hint


def _names(field: dataclasses.Field[Any], hint: Any) -> list[str]:
    flag = f"--{field.name.replace('_', '-')}"
    short = [f"-{field.name[0]}"] if field.name in ("verbose", "quiet") else []
    return [f"{flag}/--no-{field.name.replace('_', '-')}" if hint is bool else flag, *short, field.name]


def _parameter(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Return the arguments of `click.option` for a field; the configuration checks its bounds."""
    default, text = field.default, str(field.metadata["help"])
    if default is not dataclasses.MISSING and default is not None and not isinstance(default, bool):
        size = field.name == "crop"
        shown = ("x" if size else " ").join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{text}  [default: {shown}]"
    known: dict[str, Any] = {"default": None, "help": text[0].upper() + text[1:]}
    if field.name in COMPONENTS:
        kind = "dataset" if field.name == "validation" else field.name
        return known | {"metavar": "SPEC", "shell_complete": component(kind)}
    if typing.get_origin(hint) is typing.Literal:
        return known | {"type": click.Choice(typing.get_args(hint))}
    if field.name == "crop":
        return known | {"metavar": "HxW"}
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[-1] is Ellipsis:
        inner = typing.get_args(hint)[0]
        literal = typing.get_origin(inner) is typing.Literal
        if field.name == "track":
            known["help"] += ". none: to none of the file's"
            return known | {
                "type": click.Choice([*plugins().functions["tracker"].names, "none"]),
                "multiple": True,
            }
        return known | {"type": click.Choice(typing.get_args(inner)) if literal else float, "multiple": True}
    if typing.get_origin(hint) is tuple:
        return known | {"type": float, "nargs": 2, "metavar": "LO HI"}
    if hint in {int, float}:
        return known | {"type": hint}
    if hint is Path:
        return known | {"type": click.Path(path_type=Path)}
    return known
