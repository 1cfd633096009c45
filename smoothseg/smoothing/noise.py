"""Gaussian noise in which every sample is a pure function of (seed, image key, index).

Each sample has its own Philox stream (Salmon et al., SC 2011), keyed by 128 bits of a hash of
(seed, key, index, purpose). No stream continues another. Batch size, order, device, number of
workers and restarts therefore cannot change a sample, and no two samples share a draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from smoothseg.networks.draws import seeds, standard_normal

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["KIND", "batch"]

KIND = "philox-numpy-float32"
"""Names the algorithm in a certificate; it changes whenever the numbers change."""


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
