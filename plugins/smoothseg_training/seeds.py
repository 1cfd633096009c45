"""Which random numbers does a step draw? Those of a seed made from the training's seed, the purpose and the step."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

__all__ = ["Seeded", "seed_of"]


def seed_of(seed: int, purpose: str, step: int) -> int:
    """Return a seed below 2^56 for what `purpose` draws at `step` of a training with `seed`."""
    digest = hashlib.blake2b(repr((seed, purpose, step)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")


class Seeded:
    """Context that seeds torch's global generators, the only ones modules draw from, and restores them at its end."""

    def __init__(self, device: torch.device, seed: int) -> None:
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)
