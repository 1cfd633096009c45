"""Where the files of a model are: in a folder, or in the cache of those that come from the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from smoothseg import ConfigError, WeightsError
from smoothseg.weights import cache, offline, path_of, read_json

__all__ = ["CONFIG", "PREPROCESSOR", "located", "mapping_in", "weight_files"]

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
_SAFETENSORS = "model.safetensors"
_TORCH = "pytorch_model.bin"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def located(model: str, revision: str | None) -> Path:
    """Return the folder of `model`: a local one, or else the copy in the cache of one on the hub."""
    folder = path_of(model)
    if os.path.isdir(folder):  # also of names that no folder can have
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
    patterns = [CONFIG, PREPROCESSOR, weights, f"{weights}.index.json", f"{stem}-*-of-*.{suffix}"]
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
            f"model {model}{at} is not in {place} and cannot be fetched ({reason}): get {CONFIG}, {PREPROCESSOR} "
            f"and {_SAFETENSORS} (or {_TORCH}) of https://huggingface.co/{model} into a folder and give model=FOLDER"
        ) from None


def mapping_in(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; raise `WeightsError` if there is none."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise WeightsError(f"model folder {path.parent} has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} must be a mapping, got {type(content).__name__}")
    return content


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of `folder`: one, or the parts that an index names."""
    for name in (_SAFETENSORS, _TORCH):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = mapping_in(index).get("weight_map")
            if not isinstance(parts, dict):
                raise WeightsError(f"{index} has no weight_map")
            files = [folder / Path(str(part)).name for part in sorted({str(part) for part in parts.values()})]
            absent = next((file.name for file in files if not file.is_file()), None)
            if absent is not None:
                raise WeightsError(f"model folder {folder} has no {absent}, which {index.name} names")
            return files
    raise WeightsError(f"model folder {folder} has no weights: neither {_SAFETENSORS} nor {_TORCH}")
