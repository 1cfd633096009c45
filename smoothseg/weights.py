"""From a weight reference to tensors that are known to be the right ones.

A reference is the name of a file that a plugin package brings along (`streets`), or a path. Only tensors are
ever read: safetensors, or torch files with `weights_only=True`.

A file written by `save` is a safetensors file whose metadata holds, as JSON under the key `smoothseg`, the
network's name and config (from which its plugin rebuilds it), the classes, and the card of its training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothseg.errors import UnknownNameError, WeightsError
from smoothseg.files import replacing

if TYPE_CHECKING:
    import torch

__all__ = ["Weights", "digest", "load", "load_state", "packaged", "resolve", "save"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of one weight file.

    state: tensors by key. network, config, classes, card: what `save` stored beside them, or None and {} for a
    file of another origin. path: the file. digest: its sha256.
    """

    state: Mapping[str, torch.Tensor]
    path: Path
    digest: str
    network: str | None = None
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def packaged(package: str) -> dict[str, Path]:
    """Return the weight files in the folder `weights` of an importable `package`, by name without suffix."""
    folder = resources.files(package) / "weights"
    if not folder.is_dir():
        return {}
    return {
        Path(item.name).stem: Path(str(item))
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.name.endswith(".safetensors")
    }


def resolve(reference: str, *, package: str) -> Path:
    """Return the local file of `reference`: a name packaged with `package`, or a path.

    Raises `WeightsError` if a path does not exist and `UnknownNameError` if a name is not packaged.
    """
    known = packaged(package)
    if reference in known:
        return known[reference]
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"weight file {reference} does not exist")
    raise UnknownNameError.of("weights", reference, known, listed=f"packaged with {package}")


def digest(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(reference: str, *, package: str) -> Weights:
    """Return the tensors of `reference` and what is stored beside them.

    Half-precision tensors of a file written by `save` are returned as float32. Raises `WeightsError` for a file
    that is missing, damaged, or needs more than tensors to be read.
    """
    path = resolve(reference, package=package)
    sha256 = digest(path)
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
        stored = json.loads(metadata["smoothseg"]) if "smoothseg" in metadata else {}
        if stored and stored.get("format") != _FORMAT:
            raise WeightsError(
                f"{path} has weight format {stored.get('format')}; this version reads {_FORMAT}"
            )
        if stored:
            state = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
        classes = stored.get("classes")
        return Weights(
            state,
            path,
            sha256,
            stored.get("network"),
            stored.get("config", {}),
            None if classes is None else tuple(classes),
            stored.get("card", {}),
        )
    return Weights(_read_torch(path), path, sha256)


def load_state(module: torch.nn.Module, weights: Weights) -> None:
    """Put `weights.state` into `module`, strictly; raise `WeightsError` with the first keys or shapes that differ."""
    own = module.state_dict()
    missing = [key for key in own if key not in weights.state]
    unexpected = [key for key in weights.state if key not in own]
    shapes = [
        f"{key} {tuple(weights.state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights.state and weights.state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(f"{weights.path} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(dict(weights.state), strict=True)


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
    """Write a safetensors file that `load` and the plugin of `network` take back; atomic.

    half: store floating-point tensors as float16 (running variances that overflow it stay as they are).
    """
    import torch
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
        save_file(
            {key: stored(tensor) for key, tensor in state.items()},
            temporary,
            metadata={"smoothseg": json.dumps(described, sort_keys=True)},
        )


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import numpy as np
    import torch

    # Training checkpoints hold scores as numpy numbers beside the tensors: plain values, no code.
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    numbers: list[Any] = [np.float64(0).__reduce__()[0], np.dtype, *kinds]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(numbers):
            warnings.simplefilter("ignore")  # of a pickle protocol that torch does not write itself
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} needs more than tensors to be read (arbitrary code could run) and was refused"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "the file ends too early")
        raise WeightsError(f"{path} cannot be read as a torch file: {reason}") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise WeightsError(f"{path} holds no state dict: expected a mapping of names to tensors")
    return content
