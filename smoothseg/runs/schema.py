"""JSON schemas of the YAML files that smoothseg reads, for editors: keys, and components with their options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pydantic

from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import Entry
from smoothseg.errors import UnknownNameError
from smoothseg.runs import configuration
from smoothseg.runs.options import HELP
from smoothseg.runs.plan import DEFAULTS
from smoothseg.smoothing.kinds import ALGORITHMS

__all__ = ["component", "fields", "file", "names", "schema"]

_DIALECT = "http://json-schema.org/draft-07/schema#"

_POSITIVE = {"type": "number", "exclusiveMinimum": 0}

_PLAN: Mapping[str, Any] = {
    "sigma": {"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1}]},
    "scale": _POSITIVE,
    "convention": {"enum": ["noise-aware", "paper"]},
    "denoise_at": {"enum": ["scale", "full"]},
    "noise": {"enum": list(ALGORITHMS)},
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
            properties[key] = component(key, HELP[key])
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
        "properties": {"name": {"type": "string"}, **{kind: component(kind) for kind in kinds}},
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
    properties["stop"] = {
        "description": HELP["stop"],
        "anyOf": [{"type": "object"}, {"type": "string"}, {"type": "null"}],
    }
    properties |= fields(configuration.Running)
    for name in ("batch_size", "threads"):
        _at_least_one(properties[name])
    return file("smoothseg certify --config", properties, required=())


def schema(name: str) -> dict[str, Any]:
    """Return the JSON schema (draft 7) called `name`: `certify`, or one that a plugin offers.

    Keys have underscores. Components of all installed plugins are accepted, as text or as a mapping with `name`.
    Raises `UnknownNameError`.
    """
    if name not in names():
        raise UnknownNameError.of("file", name, names(), listed="there are")
    return _certify() if name == "certify" else dict(plugins().functions["schema"][name]())


def names() -> tuple[str, ...]:
    """Return the names of the schemas: `certify`, and those of plugins."""
    return ("certify", *plugins().functions["schema"].names)


def file(title: str, properties: Mapping[str, Any], *, required: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a file with these properties, with one definition for each kind of component."""
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


def component(kind: str, text: str = "", *, optional: bool = False) -> dict[str, Any]:
    """Return the property of a component of `kind`, described by `text`; null is allowed if `optional`."""
    reference = {"$ref": f"#/definitions/{kind}"}
    choices = [reference, {"type": "null"}] if optional else [reference]
    return {"description": text or f"a {kind}, NAME:key=value,...", "anyOf": choices}


def _kind(kind: str) -> dict[str, Any]:
    """Return the schema of a component: its text form, or a mapping with its options."""
    entries = list(plugins()[kind])
    names = "|".join(entry.name for entry in entries)
    text = {"type": "string", "pattern": rf"^\s*({names})\s*(:.*)?$"}
    return {"anyOf": [text, *(_options(entry) for entry in entries)]}


def _options(entry: Entry) -> dict[str, Any]:
    properties = fields(entry.recipe)
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


def fields(kind: type[Any]) -> dict[str, Any]:
    """Return the properties of a dataclass, with the help of its fields as descriptions.

    Types that JSON schema cannot express accept any value, so that an editor never rejects a valid plugin option.
    """
    try:
        made = pydantic.TypeAdapter(kind).json_schema()
    except pydantic.PydanticUserError:
        made = {}
    if "$defs" in made:  # references into it would break when the properties are moved
        made = {}
    known = made.get("properties", {})
    properties = {}
    for field in dataclasses.fields(kind):
        content = {key: value for key, value in known.get(field.name, {}).items() if key != "title"}
        if field.name == "track":
            content["items"] = {"enum": list(plugins().functions["tracker"].names), "type": "string"}
        text = str(field.metadata.get("help", ""))
        properties[field.name] = {**({"description": text} if text else {}), **content}
    return properties


def _at_least_one(content: dict[str, Any]) -> None:
    for part in (content, *content.get("anyOf", ())):
        if part.get("type") == "integer":
            part["minimum"] = 1
