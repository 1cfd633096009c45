"""The content of a weight file: verified tensors, and the metadata stored with them.

Only tensors are ever read: safetensors, or torch files with `weights_only=True`.

A file written by `save` is a safetensors file whose metadata holds, as JSON under the key `smoothseg`, the
network's name and config (from which its plugin rebuilds it), the classes, and the card of its training.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

from smoothseg.errors import WeightsError, first_line
from smoothseg.files import opened, parse_json, replacing, sha256_of
from smoothseg.weights.catalogue import catalogue
from smoothseg.weights.downloads import Fetched, fetch
from smoothseg.weights.references import locate
from smoothseg.weights.sources import Source

if TYPE_CHECKING:
    import torch

__all__ = ["Convertible", "Weights", "load", "save", "unpickled"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of one weight file.

    state: tensors by key. network, config, classes, card: what `save` stored with them, or None and {} for a
    file of another origin. path: the file. digest: its sha256. options: for a file that the catalogue knows, by its
    name or its hash, the options of its component that the file does not contain, such as the network's size; they go
    before the recipe's.
    """

    state: Mapping[str, torch.Tensor]
    path: Path
    digest: str
    network: str | None = None
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Convertible(Protocol):
    """A segmenter's or denoiser's recipe whose weight file `smoothseg weights convert` can rewrite."""

    def converted(self) -> Weights:
        """Return the content of the weight file in the network's own keys, with its name, config and classes.

        The file was loaded strictly. `smoothseg.weights.save` writes it, and the recipe's `load` reads the result.
        """


def load(reference: str, *, package: str, component: str | None = None) -> Weights:
    """Return the tensors of `reference` and the metadata stored with them; `locate` finds the file.

    Half-precision tensors of a file written by `save` are returned as float32. Raises `WeightsError` for a file
    that is missing, damaged, or needs more than tensors to be read.
    """
    place, entry = locate(reference, package=package, component=component)
    found = fetch(place) if isinstance(place, Source) else Fetched(place, sha256_of(place))
    if entry is None:
        entry = next((known for known in catalogue(package).values() if known.holds(found.sha256)), None)
    path, options = found.path, {} if entry is None else entry.options
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
        if "smoothseg" not in metadata:
            return Weights(state, path, found.sha256, options=options)
        stored = _described(metadata["smoothseg"], path)
        state = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
        classes = stored["classes"]
        return Weights(
            state,
            path,
            found.sha256,
            stored["network"],
            stored["config"],
            None if classes is None else tuple(classes),
            stored["card"],
            options,
        )
    return Weights(_read_torch(path), path, found.sha256, options=options)


def save(
    path: Path,
    state: Mapping[str, torch.Tensor],
    *,
    network: str,
    config: Mapping[str, Any],
    classes: tuple[str, ...] | None = None,
    card: Mapping[str, Any] | None = None,
    half: bool = True,
) -> None:
    """Write a safetensors file that `load` and the plugin of `network` can read; atomic.

    half: store floating-point tensors as float16 (running variances that would overflow stay unchanged).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def stored(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().cpu().contiguous()
        if half and tensor.is_floating_point():
            shrunk = tensor.to(torch.float16)
            return shrunk if bool(torch.isfinite(shrunk).all()) else tensor
        return tensor

    described = {
        "format": _FORMAT,
        "network": network,
        "config": dict(config),
        "classes": None if classes is None else list(classes),
        "card": dict(card or {}),
    }
    with replacing(path) as temporary:
        try:
            save_file(
                {key: stored(tensor) for key, tensor in state.items()},
                temporary,
                metadata={"smoothseg": json.dumps(described, sort_keys=True)},
            )
        except SafetensorError as error:  # its name for whatever the system refuses
            raise OSError(f"{path} cannot be written: {error}") from None


def _described(text: str, path: Path) -> dict[str, Any]:
    """Return what `save` stored with the tensors of `path`; raise `WeightsError` if it is invalid."""
    try:
        stored = parse_json(text)
        version = stored.get("format")
        if version != _FORMAT:
            raise WeightsError(f"{path} has weight format {version}; this version reads {_FORMAT}")
        classes = stored["classes"]
        if not (
            isinstance(stored["network"], str)
            and isinstance(stored["config"], dict)
            and isinstance(stored["card"], dict)
            and (
                classes is None
                or (isinstance(classes, list) and all(isinstance(name, str) for name in classes))
            )
        ):
            raise TypeError("a value of another kind")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: what is stored beside its tensors is damaged: {error}") from None
    return dict(stored)


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except MemoryError:
        raise
    except Exception as error:  # its own, the system's, and torch's for a type or size that it does not have
        raise WeightsError(f"{path} cannot be read as safetensors: {first_line(error)}") from None


def unpickled(path: Path) -> Any:
    """Return what a torch file holds, read with `weights_only=True`; `WeightsError` if it asks for more than tensors.

    An archive whose entries claim more bytes than the file has is refused before anything is unpacked: torch writes
    them uncompressed.
    """
    import numpy as np
    import torch

    # Training checkpoints hold scores as numpy numbers beside the tensors: plain values, no code.
    # numpy 1 and 2 call the function that makes one by different names.
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    numbers: list[Any] = [*((scalar, name) for name in names), np.dtype, *kinds]
    try:
        with opened(path) as file, warnings.catch_warnings(), torch.serialization.safe_globals(numbers):
            warnings.simplefilter("ignore")  # of a pickle protocol that torch does not write itself
            _check_claims(file)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} needs more than tensors to be read{_wanted(str(error))}: arbitrary code could run, and it was "
            "refused; have its author save the state dict alone, as safetensors"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file makes its reader do is not for torch to foresee
        reason = next(iter(str(error).splitlines()), "the file ends too early")
        raise WeightsError(f"{path} cannot be read as a torch file: {reason}") from None


def _check_claims(file: IO[bytes]) -> None:
    """Raise `ValueError` for a zip archive whose entries claim to be larger than the file."""
    start, size = file.read(4), file.seek(0, os.SEEK_END)
    if start == b"PK\x03\x04":
        with zipfile.ZipFile(file) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:
            raise ValueError(f"its entries claim {claimed} bytes, the file has {size}")
    file.seek(0)


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import torch

    content = unpickled(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise WeightsError(f"{path} holds no state dict: expected a mapping of names to tensors")
    size = path.stat().st_size
    for key, tensor in content.items():
        # a short storage can be stretched to any shape, and others than plain tensors have none of their own
        stretched = tensor.numel() * tensor.element_size() > size
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or stretched:
            raise WeightsError(
                f"{path}: '{key}' is no plain tensor of the file: {tuple(tensor.shape)}, {tensor.layout}, "
                f"{tensor.device}, in {size} bytes"
            )
    return content


def _wanted(message: str) -> str:
    """Return what a refused pickle asks for, from torch's message, for use in a sentence."""
    found = re.search(r"GLOBAL ([\w.]+)", message)
    return f" ({found[1]})" if found else ""
