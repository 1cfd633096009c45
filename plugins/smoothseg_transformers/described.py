"""What a model's own files say of it, and what of that is refused."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smoothseg import ConfigError
from smoothseg_transformers.files import mapping_in

__all__ = [
    "BACKBONES",
    "NETWORKS",
    "class_names",
    "model_type",
    "multiple_of",
    "normalisation",
    "refuse_code",
    "refuse_sizes",
]

NETWORKS: Mapping[str, str] = {
    "segformer": "SegformerForSemanticSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "upernet": "UperNetForSemanticSegmentation",
}
"""The classes of transformers that segment, by the `model_type` in a model's `config.json`."""

BACKBONES = ("convnext", "convnextv2", "resnet", "swin", "swinv2")
"""The `model_type` of the backbones for UPerNet and Mask2Former that take images of any size."""

_IMPLEMENTATIONS = frozenset(
    template.format(part)
    for part in ("attn", "experts")
    for template in ("{}_implementation", "_{}_implementation", "_{}_implementation_internal")
)
"""Keys of `config.json` by which a model chooses the code that computes a part of it, possibly code from the hub."""

_OWN_IMPLEMENTATIONS = (None, "eager", "sdpa")
"""The values that mean transformers' own code, and torch's."""

_REFUSED = frozenset({"quantization_config", "attribute_map"})
"""Keys that may have no value: what would fetch and run a quantiser, and what gives keys other names."""


_LARGEST = 2**17


def model_type(described: Mapping[str, Any], folder: Path) -> str:
    """Return the model type in the content of `config.json`, or refuse it by name."""
    kind = described.get("model_type")
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise ConfigError(f"{folder}: model type {kind} is not one of {', '.join(NETWORKS)}")
    if kind != "segformer":
        # A backbone that is only named would have to be fetched, and could be any.
        backbone = described.get("backbone_config")
        name = backbone.get("model_type") if isinstance(backbone, dict) else described.get("backbone")
        if not isinstance(backbone, dict) or name not in BACKBONES:
            raise ConfigError(
                f"{folder}: expected a {kind} whose backbone_config is of one of {', '.join(BACKBONES)}, got {name}"
            )
    return kind


def refuse_sizes(value: Any, path: Path) -> None:
    """Raise `ConfigError` for a number of a configuration, at any depth, that is larger than any size of a network."""
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        refuse_sizes(entry, path)
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ConfigError(f"{path}: expected sizes of at most {_LARGEST}, got {value}")


def refuse_code(value: Any, path: Path) -> None:
    """Raise `ConfigError` for a key of a configuration, at any depth, that chooses code which is not transformers'."""
    if isinstance(value, list):
        for entry in value:
            refuse_code(entry, path)
    if not isinstance(value, dict):
        return
    for key, entry in value.items():
        if key in _IMPLEMENTATIONS and entry not in _OWN_IMPLEMENTATIONS:
            raise ConfigError(
                f"{path}: {key} must be eager or sdpa, got {entry!r}: a model chooses no other code"
            )
        if key in _REFUSED and entry is not None:
            raise ConfigError(f"{path}: {key} must not be set, got {entry!r}")
        refuse_code(entry, path)


def normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of `preprocessor_config.json`, for images in [0, 1].

    The file is read as it is: what it says of resizing, cropping and padding is not applied.
    """
    content = mapping_in(path)
    factor = content.get("rescale_factor", 1 / 255)
    if not content.get("do_rescale", True) or not math.isclose(_number(factor), 1 / 255, rel_tol=1e-6):
        raise ConfigError(
            f"{path}: expected images rescaled to [0, 1] by 1/255, got do_rescale "
            f"{content.get('do_rescale', True)!r} and rescale_factor {factor!r}"
        )
    if not content.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _channels(content, "image_mean", path), _channels(content, "image_std", path)


def _channels(content: Mapping[str, Any], key: str, path: Path) -> tuple[float, ...]:
    """Return the three numbers under `key`."""
    given = content.get(key)
    numbers = tuple(map(_number, given)) if isinstance(given, list) else ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{path}: expected three numbers as {key}, got {given!r}")
    return numbers


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def class_names(names: Mapping[int, str], folder: Path) -> tuple[str, ...]:
    """Return the names of `id2label` in the order of their ids."""
    if sorted(names) != list(range(len(names))):
        raise ConfigError(
            f"{folder}: expected the ids 0 to {len(names) - 1} in id2label, got {sorted(names)}"
        )
    classes = tuple(str(names[i]).strip() for i in range(len(names)))
    if len(set(classes)) != len(classes):
        repeated = next(name for name in classes if classes.count(name) > 1)
        raise ConfigError(f"{folder}: id2label names class '{repeated}' more than once")
    return classes


def multiple_of(kind: str, config: Any) -> int:
    """Return a number that sides must be multiples of to be divided evenly at every stage: 32 for published models."""
    if kind == "segformer":
        # Every stage reduces its keys and values by a further factor.
        strides = itertools.accumulate(config.strides, operator.mul)
        return math.lcm(*(stride * ratio for stride, ratio in zip(strides, config.sr_ratios, strict=True)))
    backbone = config.backbone_config
    return int(getattr(backbone, "patch_size", 4)) << (len(backbone.depths) - 1)
