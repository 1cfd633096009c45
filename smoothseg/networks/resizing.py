"""What resizing does to a noisy image and to its noise.

Resizing is linear and separable, so white noise of standard deviation sigma leaves pixel (i, j) with
sigma * |row i| * |column j|, the l2 norms of the rows of the two resampling matrices. An antialiased 2x2 mean
halves it; bilinear resampling to the same size does not change it.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F

__all__ = ["resize", "sigma_left"]


def resize(images: torch.Tensor, size: tuple[int, int], *, antialias: bool = True) -> torch.Tensor:
    """Return (B, C, H, W) images resized bilinearly to `size` (h, w); the same object if the size is right.

    antialias: widen the kernel when shrinking, so that no pixel is left out.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=antialias, align_corners=False)


def sigma_left(
    sigma: float, size: tuple[int, int], resized: tuple[int, int], *, antialias: bool = True
) -> float:
    """Return the standard deviation that white noise `sigma` has after `resize` from `size` to `resized`.

    Exact: the root mean square over all pixels, from the resampling matrices. (If the ratio is not an
    integer, single pixels lie slightly above or below.)
    """
    rows = _mean_square(size[0], resized[0], antialias)
    columns = _mean_square(size[1], resized[1], antialias)
    return sigma * math.sqrt(rows * columns)


@functools.lru_cache(maxsize=256)
def _mean_square(length: int, resized: int, antialias: bool) -> float:
    """Return the mean squared l2 norm of the rows of the resampling matrix from `length` to `resized`."""
    if length == resized:
        return 1.0
    total = 0.0
    for start in range(0, length, 256):  # unit vectors in blocks, so that the matrix is never held whole
        count = min(256, length - start)
        units = torch.zeros(count, 1, 1, length, dtype=torch.float64)
        units[torch.arange(count), 0, 0, start + torch.arange(count)] = 1.0
        total += float(resize(units, (1, resized), antialias=antialias).square().sum())
    return total / resized
