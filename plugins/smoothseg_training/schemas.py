"""Which keys and values may a YAML file of `smoothseg train` hold? JSON schemas answer it for editors."""

from __future__ import annotations

from typing import Any

from smoothseg.components.discovery import KINDS
from smoothseg.runs.schema import component, fields, file
from smoothseg_training.options import DenoiserTraining, Running, SegmenterTraining

__all__ = ["denoiser", "segmenter"]

_KINDS_OF_KEYS = {**{kind: kind for kind in KINDS}, "validation": "dataset"}


def segmenter() -> dict[str, Any]:
    """Return the schema of `smoothseg train segmenter --config`."""
    return _training("segmenter", SegmenterTraining)


def denoiser() -> dict[str, Any]:
    """Return the schema of `smoothseg train denoiser --config`."""
    return _training("denoiser", DenoiserTraining)


def _training(kind: str, training: type[Any]) -> dict[str, Any]:
    properties = {**fields(training), **fields(Running)}
    for key, of in _KINDS_OF_KEYS.items():
        if key in properties:
            optional = properties[key].get("default", "") is None
            properties[key] = component(of, properties[key].get("description", ""), optional=optional)
    size = properties["crop"]
    text = {"type": "string", "pattern": r"^\s*\d+\s*[xX]\s*\d+\s*$"}
    properties["crop"] = {
        "description": size.pop("description"),
        "default": size.pop("default"),
        "anyOf": [text, size],
    }
    # Every option can come from the command line, so the file requires none.
    return file(f"smoothseg train {kind} --config", properties, required=())
