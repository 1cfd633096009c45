"""Which networks, in which files, transformers may load for segmentation, and what else must be known of them.

A model is a folder with `config.json`, `preprocessor_config.json` and its weights: `model.safetensors`, or else
`pytorch_model.bin`, either in several parts with an index. None of its code is ever run: `smoothseg.weights` reads
the tensors, those of `.bin` files with torch's `weights_only=True`, and code that comes with a model is ignored, as
the classes are named here and not by the model. A configuration that asks for code from elsewhere (a kernel for its
attention or its experts, a quantiser) is refused. transformers builds the network and renames the keys of older files.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import itertools
import json
import math
import operator
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smoothseg import ConfigError, WeightsError
from smoothseg.weights import cache, digest, offline
from smoothseg.weights import load as load_weights

__all__ = ["BACKBONES", "NETWORKS", "Checkpoint", "load"]

NETWORKS: Mapping[str, str] = {
    "segformer": "SegformerForSemanticSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "upernet": "UperNetForSemanticSegmentation",
}
"""The classes of transformers that segment, by the `model_type` in a model's `config.json`."""

BACKBONES = ("convnext", "convnextv2", "resnet", "swin", "swinv2")
"""The `model_type` of the backbones for UPerNet and Mask2Former that take images of any size."""

_PACKAGE = "smoothseg_transformers"
_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_SAFETENSORS = "model.safetensors"
_TORCH = "pytorch_model.bin"
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

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network of transformers with its weights, and what its files say of it.

    network: in eval mode, float32, on the CPU. kind: a key of `NETWORKS`. classes: names in the order of the label
    indices. mean, std: one number per channel, in [0, 1] units. multiple: the sides of an image are to be multiples of
    it. digests: sha256 of every file that was read, by name.
    """

    network: nn.Module
    kind: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple: int
    digests: Mapping[str, str]


def load(model: str, *, revision: str | None) -> Checkpoint:
    """Return the checkpoint of `model`, a folder or an id on the Hugging Face hub; it is loaded strictly.

    revision: of a model on the hub. What comes from there is kept in smoothseg's cache.

    Raises `ConfigError` if transformers is not installed or the model is of a kind that is not in `NETWORKS`, and
    `WeightsError` if a file is absent, damaged or does not fit the network.
    """
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            "segmenter 'transformers' needs transformers: pip install 'smoothseg[transformers]'"
        ) from None
    folder = _folder(model, revision)
    described = _json(folder / _CONFIG)
    kind = _kind(described, folder)
    _refuse_code(described, folder / _CONFIG)
    mean, std = _normalisation(folder / _PREPROCESSOR)
    parts = [load_weights(str(path), package=_PACKAGE) for path in _weight_files(folder)]
    state = {key: tensor for part in parts for key, tensor in part.state.items()}
    network = _network(getattr(transformers, NETWORKS[kind]), described, folder, state)
    config: Any = network.config
    return Checkpoint(
        network,
        kind,
        _classes(config.id2label, folder),
        mean,
        std,
        _multiple(kind, config),
        {
            **{part.path.name: part.digest for part in parts},
            **{name: digest(folder / name) for name in (_CONFIG, _PREPROCESSOR)},
        },
    )


def _folder(model: str, revision: str | None) -> Path:
    """Return the folder of `model`: a local one, or else the copy in the cache of one on the hub."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(f"model {model} is a folder: it has no revision {revision}")
        return folder
    if not _HUB_ID.fullmatch(model):
        raise WeightsError(
            f"model {model} is neither a folder nor an id on the Hugging Face hub (owner/name)"
        )
    found = _snapshot(model, revision, _SAFETENSORS)
    if not _has(found, _SAFETENSORS):
        # A snapshot's folder is named after its commit: the weights belong to the files that came before.
        found = _snapshot(model, found.name, _TORCH)
    return found


def _has(folder: Path, weights: str) -> bool:
    return any((folder / name).is_file() for name in (weights, f"{weights}.index.json"))


def _snapshot(model: str, revision: str | None, weights: str) -> Path:
    """Return the folder in the cache with the files of the hub's `model`; `weights` names those of its weights."""
    import huggingface_hub

    place = cache() / "huggingface"
    stem, _, suffix = weights.partition(".")
    patterns = [_CONFIG, _PREPROCESSOR, weights, f"{weights}.index.json", f"{stem}-*-of-*.{suffix}"]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                model,
                revision=revision,
                allow_patterns=patterns,
                cache_dir=place,
                local_files_only=offline(),
            )
        )
    except Exception as error:  # the hub's own, and those of its HTTP library, which is not always the same
        if offline():
            reason = "fetching is switched off"
        else:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        at = f" at revision {revision}" if revision else ""
        raise WeightsError(
            f"model {model}{at} is not in {place} and cannot be fetched ({reason}): get {_CONFIG}, {_PREPROCESSOR} "
            f"and {_SAFETENSORS} (or {_TORCH}) of https://huggingface.co/{model} into a folder and give model=FOLDER"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"model folder {path.parent} has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} must be a mapping, got {type(content).__name__}")
    return content


def _kind(described: Mapping[str, Any], folder: Path) -> str:
    """Return the model type in the content of `config.json`, or refuse it by name."""
    kind = described.get("model_type")
    if kind not in NETWORKS:
        raise ConfigError(f"{folder}: model type {kind} is not one of {', '.join(NETWORKS)}")
    if kind != "segformer":
        # A backbone that is only named would have to be fetched, and could be any.
        backbone = described.get("backbone_config")
        name = backbone.get("model_type") if isinstance(backbone, dict) else described.get("backbone")
        if not isinstance(backbone, dict) or name not in BACKBONES:
            raise ConfigError(
                f"{folder}: expected a {kind} whose backbone_config is of one of {', '.join(BACKBONES)}, got {name}"
            )
    return str(kind)


def _refuse_code(value: Any, path: Path) -> None:
    """Raise `ConfigError` for a key of a configuration, at any depth, that chooses code which is not transformers'."""
    if isinstance(value, list):
        for entry in value:
            _refuse_code(entry, path)
    if not isinstance(value, dict):
        return
    for key, entry in value.items():
        if key in _IMPLEMENTATIONS and entry not in _OWN_IMPLEMENTATIONS:
            raise ConfigError(
                f"{path}: {key} must be eager or sdpa, got {entry!r}: a model chooses no other code"
            )
        if key in _REFUSED and entry is not None:
            raise ConfigError(f"{path}: {key} must not be set, got {entry!r}")
        _refuse_code(entry, path)


def _normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of `preprocessor_config.json`, for images in [0, 1].

    The file is read as it is: what it says of resizing, cropping and padding is not applied.
    """
    content = _json(path)
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


def _weight_files(folder: Path) -> list[Path]:
    """Return the weight files of `folder`: one, or the parts that an index names."""
    for name in (_SAFETENSORS, _TORCH):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = _json(index).get("weight_map")
            if not isinstance(parts, dict):
                raise WeightsError(f"{index} has no weight_map")
            files = [folder / Path(str(part)).name for part in sorted({str(part) for part in parts.values()})]
            absent = next((file.name for file in files if not file.is_file()), None)
            if absent is not None:
                raise WeightsError(f"model folder {folder} has no {absent}, which {index.name} names")
            return files
    raise WeightsError(f"model folder {folder} has no weights: neither {_SAFETENSORS} nor {_TORCH}")


def _network(kind: Any, described: Mapping[str, Any], folder: Path, state: Mapping[str, torch.Tensor]) -> Any:
    """Return the network of transformers' class `kind` with the tensors of `state`, all of them and no others.

    described: the content of `config.json`, taken as it was checked: what the library reads could be another file,
    which that one points to. Older names of keys, and buffers that the library computes instead of reading, are as in
    its own tables.
    """
    try:
        with _quiet():
            network, report = kind.from_pretrained(
                None,
                config=kind.config_class.from_dict(copy.deepcopy(dict(described))),
                state_dict=dict(state),
                # float16 in the file must not make a float16 network
                dtype=torch.float32,
                # mismatches are refused below, by name
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # of many kinds: the library's, torch's, and those of checking a configuration
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WeightsError(f"{folder} cannot be loaded as {kind.__name__}: {reason}") from None
    named = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(report["unexpected_keys"]),
        "of another shape": [
            f"{key} {tuple(got)} instead of {tuple(expected)}"
            for key, got, expected in sorted(report["mismatched_keys"])
        ],
    }
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in named.items()
        if keys
    ]
    if problems:
        raise WeightsError(f"{folder} does not fit {kind.__name__}: {'; '.join(problems)}")
    return network.eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and printing a report of its own; its settings are restored."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars, hub_bars = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
    )
    with warnings.catch_warnings():
        # The hub's bars are switched with transformers'; it warns where the environment has set them for good.
        warnings.simplefilter("ignore")
        logging.set_verbosity(logging.ERROR)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
            if not hub_bars:
                disable_progress_bars()


def _classes(names: Mapping[int, str], folder: Path) -> tuple[str, ...]:
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


def _multiple(kind: str, config: Any) -> int:
    """Return a number that sides must be multiples of to be divided evenly at every stage: 32 for published models."""
    if kind == "segformer":
        # Every stage reduces its keys and values by a further factor.
        strides = itertools.accumulate(config.strides, operator.mul)
        return math.lcm(*(stride * ratio for stride, ratio in zip(strides, config.sr_ratios, strict=True)))
    backbone = config.backbone_config
    return int(getattr(backbone, "patch_size", 4)) << (len(backbone.depths) - 1)
