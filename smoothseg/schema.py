"""A JSON schema of the YAML files that smoothseg reads, for editors: keys, and components with their options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from smoothseg import configuration
from smoothseg.errors import UnknownNameError
from smoothseg.options import HELP
from smoothseg.plan import DEFAULTS
from smoothseg.plugins import KINDS, plugins
from smoothseg.registry import Entry

__all__ = ["FILES", "schema"]

_DIALECT = "http://json-schema.org/draft-07/schema#"

_KINDS_OF_KEYS = {**{kind: kind for kind in KINDS}, "validation": "dataset"}

_POSITIVE = {"type": "number", "exclusiveMinimum": 0}

_PLAN: Mapping[str, Any] = {
    "sigma": {"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1}]},
    "scale": _POSITIVE,
    "convention": {"enum": ["noise-aware", "paper"]},
    "denoise_at": {"enum": ["scale", "full"]},
    "images": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
    "every": {"type": "integer", "minimum": 1},
    "seed": {"type": "integer", "minimum": 0},
    "device": {"type": "string"},
}


def _certify() -> dict[str, Any]:
    """Return the schema of `smoothseg certify --config`."""
    properties: dict[str, Any] = {}
    for key in DEFAULTS:
        if key in _PLAN:
            properties[key] = {"description": HELP[key], **_PLAN[key]}
        elif key == "dataset":
            properties[key] = _component(key, HELP[key])
        elif key != "methods":
            one = {"$ref": f"#/definitions/{key}"}
            several = {"type": "array", "items": one, "minItems": 1}
            properties[key] = {
                "description": HELP[key],
                "anyOf": [one, several],
            }
    kinds = ("denoiser", "segmenter", "certifier")
    method = {
        "type": "object",
        "properties": {"name": {"type": "string"}, **{kind: _component(kind) for kind in kinds}},
        "required": ["name"],
        "additionalProperties": False,
    }
    properties["methods"] = {
        "description": HELP["methods"],
        "anyOf": [{"type": "array", "items": method, "minItems": 1}, {"type": "null"}],
    }
    share = {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1}
    properties["tau"] = {
        "description": HELP["tau"],
        "anyOf": [
            share,
            {"type": "array", "items": share, "minItems": 1},
            {"type": "string"},
            {"type": "null"},
        ],
    }
    properties |= _fields(configuration.Running)
    for name in ("batch_size", "threads"):
        _at_least_one(properties[name])
    return _file("smoothseg certify --config", properties, required=())


def _training(kind: str) -> dict[str, Any]:
    from smoothseg.training.configuration import DenoiserTraining, Running, SegmenterTraining

    training: type[Any] = SegmenterTraining if kind == "segmenter" else DenoiserTraining
    properties = {**_fields(training), **_fields(Running)}
    for key, of in _KINDS_OF_KEYS.items():
        if key in properties:
            optional = properties[key].get("default", "") is None
            properties[key] = _component(of, properties[key].get("description", ""), optional=optional)
    size = properties["crop"]
    text = {"type": "string", "pattern": r"^\s*\d+\s*[xX]\s*\d+\s*$"}
    properties["crop"] = {
        "description": size.pop("description"),
        "default": size.pop("default"),
        "anyOf": [text, size],
    }
    # The command line may give any of them, so that a file needs none.
    return _file(f"smoothseg train {kind} --config", properties, required=())


FILES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "certify": _certify,
    "train-segmenter": lambda: _training("segmenter"),
    "train-denoiser": lambda: _training("denoiser"),
}
"""What reads a YAML file of options, and how its schema is made."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON schema (draft 7) of the files that the command `name` of `FILES` reads.

    Keys are written with underscores. Components are those of the installed plugins, as text or as a mapping with
    `name`. Raises `UnknownNameError`.
    """
    if name not in FILES:
        raise UnknownNameError.of("file", name, FILES, listed="there are")
    return FILES[name]()


def _file(title: str, properties: Mapping[str, Any], *, required: tuple[str, ...]) -> dict[str, Any]:
    definitions = {kind: _kind(kind) for kind in KINDS}
    return {
        "$schema": _DIALECT,
        "title": title,
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        "definitions": definitions,
    }


def _component(kind: str, text: str = "", *, optional: bool = False) -> dict[str, Any]:
    reference = {"$ref": f"#/definitions/{kind}"}
    choices = [reference, {"type": "null"}] if optional else [reference]
    return {"description": text or f"a {kind}, NAME:key=value,...", "anyOf": choices}


def _kind(kind: str) -> dict[str, Any]:
    """Return the schema of a component: its text form, or a mapping with the options of one."""
    entries = list(plugins()[kind])
    names = "|".join(entry.name for entry in entries)
    text = {"type": "string", "pattern": rf"^\s*({names})\s*(:.*)?$"}
    return {"anyOf": [text, *(_options(entry) for entry in entries)]}


def _options(entry: Entry) -> dict[str, Any]:
    properties = _fields(entry.recipe)
    for field in entry.fields:
        if field.type.startswith("tuple["):  # the text form of several values
            inner = properties[field.name]
            properties[field.name] = {"anyOf": [inner, {"type": "string"}]}
    return {
        "title": f"{entry.name}: {entry.summary}",
        "type": "object",
        "properties": {"name": {"const": entry.name}, **properties},
        "required": ["name"],
        "additionalProperties": False,
    }


def _fields(kind: type[Any]) -> dict[str, Any]:
    """Return the properties of a dataclass, with the help of its fields as descriptions.

    A type that JSON schema cannot express is any value: an editor's hint must not stand in a plugin's way.
    """
    try:
        made = pydantic.TypeAdapter(kind).json_schema()
    except pydantic.PydanticUserError:
        made = {}
    if "$defs" in made:  # references into it would not be found from where the properties go
        made = {}
    known = made.get("properties", {})
    properties = {}
    for field in dataclasses.fields(kind):
        content = {key: value for key, value in known.get(field.name, {}).items() if key != "title"}
        text = str(field.metadata.get("help", ""))
        properties[field.name] = {**({"description": text} if text else {}), **content}
    return properties


def _at_least_one(content: dict[str, Any]) -> None:
    for part in (content, *content.get("anyOf", ())):
        if part.get("type") == "integer":
            part["minimum"] = 1
