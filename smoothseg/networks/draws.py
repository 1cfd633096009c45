"""Gaussian draws in which every row is a pure function of its own seed, for noise and for denoisers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch

__all__ = ["seeds", "standard_normal"]


def seeds(seed: int, key: str, indices: Iterable[int], *, purpose: str) -> list[int]:
    """Return one 128-bit integer for each index, a pure function of the arguments.

    seed: the run's seed, any non-negative integer. key: the image's key. indices: sample numbers.
    purpose: separates the streams of one sample, such as "noise" and "denoiser".
    """
    return [
        int.from_bytes(
            hashlib.blake2b(repr((seed, key, index, purpose)).encode(), digest_size=16).digest(), "little"
        )
        for index in indices
    ]


def standard_normal(
    seeds: Sequence[int], shape: tuple[int, ...], *, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return float32 N(0, 1) draws of shape (len(seeds), *shape); row i is a function of `seeds[i]` and `shape` alone.

    The numbers are drawn on the CPU, so they are the same for every device.
    """
    rows = np.empty((len(seeds), *shape), dtype=np.float32)
    for row, seed in zip(rows, seeds, strict=True):
        np.random.Generator(np.random.Philox(key=seed)).standard_normal(out=row, dtype=np.float32)
    return torch.from_numpy(rows).to(device)
