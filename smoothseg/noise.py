"""Gaussian noise in which every sample is a pure function of (seed, image key, index).

Each sample has a Philox stream of its own (Salmon et al., SC 2011), keyed by 128 bits of a hash of
(seed, key, index, purpose). No stream is ever continued from another, so neither batch size, order, device,
number of workers nor a restart can change a sample, and no two samples share a draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["KIND", "batch", "seeds", "standard_normal"]

KIND = "philox-numpy-float32"
"""Names the algorithm in a certificate; it changes whenever the numbers would."""


def seeds(seed: int, key: str, indices: Iterable[int], *, purpose: str) -> list[int]:
    """Return one 128-bit integer an index, a pure function of its arguments.

    seed: the run's seed, any non-negative integer. key: the image's key. indices: sample numbers.
    purpose: keeps streams apart that belong to the same sample, such as "noise" and "denoiser".
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

    The numbers are made on the CPU, so they are the same for every device.
    """
    rows = np.empty((len(seeds), *shape), dtype=np.float32)
    for row, seed in zip(rows, seeds, strict=True):
        np.random.Generator(np.random.Philox(key=seed)).standard_normal(out=row, dtype=np.float32)
    return torch.from_numpy(rows).to(device)


def batch(
    image: npt.NDArray[np.uint8],
    key: str,
    indices: Sequence[int],
    *,
    sigma: float,
    seed: int,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return noisy copies of an image: float32 (B, 3, H, W), image in [0, 1] plus N(0, sigma^2), unclipped.

    image: uint8 (H, W, 3). key: the image's key. indices: B sample numbers. sigma: in [0, 1] pixel units.
    """
    height, width, channels = image.shape
    noisy = standard_normal(
        seeds(seed, key, indices, purpose="noise"), (channels, height, width), device=device
    )
    clean = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device)
    return noisy.mul_(sigma).add_(clean.to(torch.float32).div_(255.0))
