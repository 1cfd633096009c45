"""Which sizes of HRNetV2 there are, and what a configuration must hold.

A configuration is a mapping of JSON values in the names of the authors' code: `num_classes` and `STAGE1` to
`STAGE4`, each with `NUM_MODULES`, `NUM_BRANCHES`, `BLOCK`, `NUM_BLOCKS`, `NUM_CHANNELS` and `FUSE_METHOD`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smoothseg import ConfigError, UnknownNameError
from smoothseg.weights import path_of, read_json

__all__ = ["WIDTHS", "channels", "checked", "named"]

_FIXED = {"stem_channels": 64, "FINAL_CONV_KERNEL": 1}
_STAGES = ("STAGE1", "STAGE2", "STAGE3", "STAGE4")
_STAGE_KEYS = {"NUM_MODULES", "NUM_BRANCHES", "BLOCK", "NUM_BLOCKS", "NUM_CHANNELS", "FUSE_METHOD"}


def _size(width: int, *, first: tuple[int, int], modules: tuple[int, int], blocks: int) -> dict[str, Any]:
    """Return the four stages of a published size: branch i is `width` times 2^i channels wide.

    first: blocks and channels of stage 1. modules: those of stages 3 and 4 (stage 2 has one). blocks: per branch.
    """

    def stage(branches: int, modules: int) -> dict[str, Any]:
        return {
            "NUM_MODULES": modules,
            "NUM_BRANCHES": branches,
            "BLOCK": "BASIC",
            "NUM_BLOCKS": [blocks] * branches,
            "NUM_CHANNELS": [width << i for i in range(branches)],
            "FUSE_METHOD": "SUM",
        }

    return {
        "STAGE1": {
            "NUM_MODULES": 1,
            "NUM_BRANCHES": 1,
            "BLOCK": "BOTTLENECK",
            "NUM_BLOCKS": [first[0]],
            "NUM_CHANNELS": [first[1]],
            "FUSE_METHOD": "SUM",
        },
        "STAGE2": stage(2, 1),
        "STAGE3": stage(3, modules[0]),
        "STAGE4": stage(4, modules[1]),
    }


WIDTHS: Mapping[str, Mapping[str, Any]] = {
    "w18-small": _size(16, first=(1, 32), modules=(1, 1), blocks=2),
    "w18-small-v2": _size(18, first=(2, 64), modules=(3, 2), blocks=2),
    "w18": _size(18, first=(4, 64), modules=(4, 3), blocks=4),
    "w32": _size(32, first=(4, 64), modules=(4, 3), blocks=4),
    "w48": _size(48, first=(4, 64), modules=(4, 3), blocks=4),
}
"""The stages of the published sizes, smallest first; `w18-small` is their "W18-Small-v1", in fact 16 channels wide."""


def named(width: str, classes: int) -> dict[str, Any]:
    """Return the configuration of a published size, or of a JSON file, for that many classes.

    width: a key of `WIDTHS`, or the path of a file ending in `.json`; `num_classes` in it is replaced.
    """
    if width in WIDTHS:
        return checked({**WIDTHS[width], "num_classes": classes})
    if not width.endswith(".json"):
        raise UnknownNameError.of(
            "HRNet width", width, WIDTHS, listed="it is the path of a .json file or one of"
        )
    try:
        content = read_json(path_of(width))
    except (OSError, ValueError) as error:
        raise ConfigError(f"HRNet configuration {width} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"HRNet configuration {width} must be a mapping, got {type(content).__name__}")
    return checked({**content, "num_classes": classes})


def channels(config: Mapping[str, Any]) -> int:
    """Return the number of channels of all branches after stage 4, side by side: what the head takes."""
    stage = config["STAGE4"]
    return int(sum(stage["NUM_CHANNELS"]) * (4 if stage["BLOCK"] == "BOTTLENECK" else 1))


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` in its full form, or raise `ConfigError` naming what this network cannot be.

    `stem_channels` (64) and `FINAL_CONV_KERNEL` (1) may be left out; no other value of them is possible.
    """
    unknown = set(config) - {"num_classes", *_FIXED, *_STAGES}
    if unknown:
        raise ConfigError(f"HRNet configuration has unknown keys: {', '.join(sorted(unknown))}")
    _positive(config.get("num_classes"), "num_classes")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ConfigError(f"HRNet configuration: expected {key} {value}, got {config[key]!r}")
    for branches, name in enumerate(_STAGES, start=1):
        stage = config.get(name)
        if not isinstance(stage, Mapping) or set(stage) != _STAGE_KEYS:
            raise ConfigError(
                f"HRNet configuration: {name} must have exactly {', '.join(sorted(_STAGE_KEYS))}"
            )
        if stage["NUM_BRANCHES"] != branches:
            raise ConfigError(
                f"HRNet configuration: expected {name} NUM_BRANCHES {branches}, got {stage['NUM_BRANCHES']!r}"
            )
        if stage["BLOCK"] not in ("BASIC", "BOTTLENECK"):
            raise ConfigError(
                f"HRNet configuration: {name} BLOCK must be BASIC or BOTTLENECK, got {stage['BLOCK']!r}"
            )
        if stage["FUSE_METHOD"] != "SUM":
            raise ConfigError(
                f"HRNet configuration: {name} FUSE_METHOD must be SUM, got {stage['FUSE_METHOD']!r}"
            )
        _positive(stage["NUM_MODULES"], f"{name} NUM_MODULES")
        for key in ("NUM_BLOCKS", "NUM_CHANNELS"):
            if not isinstance(stage[key], list | tuple) or len(stage[key]) != branches:
                raise ConfigError(
                    f"HRNet configuration: {name} {key} must list {branches} numbers, got {stage[key]!r}"
                )
            for number in stage[key]:
                _positive(number, f"{name} {key}")
    full: dict[str, Any] = json.loads(json.dumps({**_FIXED, **config}))
    return full


def _positive(value: Any, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"HRNet configuration: {what} must be a positive integer, got {value!r}")
