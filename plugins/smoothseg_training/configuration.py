"""How do plain values become the configuration of a training, and back? This module imports no torch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.files import path_of, underscored
from smoothseg.runs.tracking import check_names
from smoothseg_training.options import COMPONENTS, DenoiserTraining, Running, SegmenterTraining, Training

__all__ = [
    "DenoiserTraining",
    "Running",
    "SegmenterTraining",
    "Training",
    "configure",
    "describe",
    "recipe",
]

Config = TypeVar("Config", Training, SegmenterTraining, DenoiserTraining, Running)


def configure(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Return the validated configuration of `values`, whose keys may have hyphens for underscores.

    Raises `UnknownNameError` for a key that does not exist and `ConfigError` for a value that does not fit.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    given = underscored(values)
    for key in given:
        if key not in known:
            raise UnknownNameError.of("training option", key, known, listed="it takes")
    for name, field in known.items():
        if name not in given and field.default is dataclasses.MISSING:
            raise ConfigError(f"training needs --{name.replace('_', '-')}: {field.metadata['help']}")
    try:
        made = pydantic.TypeAdapter(kind).validate_python(given)
    except pydantic.ValidationError as error:
        item = error.errors()[0]
        where = "-".join(str(piece) for piece in item["loc"][:1]).replace("_", "-")
        message = item["msg"].removeprefix("Value error, ")
        shown = f"--{where} {item['input']!r}: " if where else ""
        raise ConfigError(f"{shown}{message[0].lower()}{message[1:]}") from None
    if isinstance(made, Running):
        check_names(made.track)
    return made


def recipe(training: Training, running: Running) -> dict[str, Any]:
    """Return both as plain values, from which `configure` makes equal configurations again, except for `fresh`.

    Components have all their options, as in `smoothseg certify --print-config`. `fresh` is left out: nobody wants to
    keep a file that deletes its own earlier training.
    """
    plain = _plain(training)
    for field in COMPONENTS:
        if plain.get(field) is not None:
            plain[field] = _described(training, field)
    how = _plain(running)
    del how["fresh"]
    return {**plain, **how, "output": running.output.as_posix()}


def describe(training: Training) -> dict[str, Any]:
    """Return the configuration as plain values, components with all their options, file paths as `PATH`."""
    plain = _plain(training)
    if training.initial is not None:
        is_file = os.path.isfile(path_of(training.initial))
        plain["initial"] = "PATH" if is_file else _without_path("initial", training.initial)
    for field in COMPONENTS:
        if plain.get(field) is not None:
            plain[field] = {
                key: _without_path(key, value) for key, value in _described(training, field).items()
            }
    return {"task": training.kind, **plain}


def _plain(value: Any) -> dict[str, Any]:
    made: dict[str, Any] = pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")
    return made


def _described(training: Training, field: str) -> dict[str, Any]:
    """Return a component of `training` with all its options."""
    registry = plugins()["dataset" if field == "validation" else field]
    return registry.describe(registry.recipe(getattr(training, field)))


def _without_path(key: str, value: Any) -> Any:
    """Return `PATH` for text that names a file or folder: where it lies does not change what is computed."""
    if isinstance(value, str) and (key == "root" or "/" in value or os.sep in value):
        return "PATH"
    return value
