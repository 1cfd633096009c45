"""What does an interrupted run leave on disk, and where, so that the same command can resume it?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smoothseg.errors import SmoothsegError, WeightsError
from smoothseg.files import parse_json, replacing
from smoothseg.weights.stored import unpickled

__all__ = ["Checkpoint", "Outputs"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Where a run writes: a folder gets `model.safetensors` and `MODEL.md`, a file `X.safetensors` gets `X.card.md`.

    The log is `log.txt`, or `X.log.txt`.
    """

    weights: Path
    card: Path
    checkpoint: Path
    log: Path

    @classmethod
    def of(cls, output: Path) -> Outputs:
        """Return the files of `--output`."""
        if output.suffix == ".safetensors":
            return cls(
                output, *(output.with_suffix(f".{end}") for end in ("card.md", "checkpoint", "log.txt"))
            )
        return cls(*(output / name for name in ("model.safetensors", "MODEL.md", "checkpoint", "log.txt")))


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run after `step` steps.

    configuration: the identity of the training, as plain values. elapsed: training time so far, in seconds. loss: its
    running mean, None before the first step. history: the validation results so far. The rest are state dicts.
    """

    configuration: Mapping[str, Any]
    step: int
    elapsed: float
    loss: float | None
    history: list[dict[str, float]]
    network: Mapping[str, torch.Tensor]
    average: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write to `path` atomically: a reader sees the old file or the new one, never a part of it."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content |= {"configuration": json.dumps(self.configuration), "history": json.dumps(self.history)}
        with replacing(path) as temporary:
            torch.save({"format": _FORMAT, **content}, temporary)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Return the checkpoint in `path`; raise `WeightsError` if it cannot be read."""
        try:
            content = unpickled(path)
            if content.pop("format") != _FORMAT:
                raise KeyError("format")
            content |= {key: parse_json(content[key]) for key in ("configuration", "history")}
            return cls(**content)
        except (SmoothsegError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{path} is no training checkpoint of this version ({type(error).__name__}); start over with --fresh"
            ) from None
