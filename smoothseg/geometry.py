"""What resizing does to a noisy image and to its noise, and how scores become labels at the image's size.

Resizing is linear and separable, so white noise of standard deviation sigma leaves pixel (i, j) with
sigma * |row i| * |column j|, the l2 norms of the rows of the two resampling matrices. An antialiased 2x2 mean
halves it; bilinear resampling to the same size leaves it as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal

import torch
import torch.nn.functional as F

from smoothseg.errors import ConfigError

__all__ = ["Geometry", "labels", "resize", "sigma_left"]

_BAND_BYTES = 16 * 2**20
"""Upper bound on the score values of one class and one band of rows held by `labels`."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the noisy image reaches the networks.

    scale: the segmenter's input size over the image's, as in the papers (0.25, 0.5, 1.0). Certification is
        always at the image's size.
    convention: `noise-aware` resizes with antialiasing and tells the denoiser the sigma that is left; `paper`
        resizes without antialiasing and tells it the sigma before resizing, as the published code does.
    denoise_at: `scale` denoises the resized image, `full` denoises at the image's size and resizes then.
    """

    scale: float = 0.5
    convention: Literal["noise-aware", "paper"] = "noise-aware"
    denoise_at: Literal["scale", "full"] = "scale"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 0 < self.scale <= 4):
            raise ConfigError(f"scale must be in (0, 4], got {self.scale}")

    @property
    def antialias(self) -> bool:
        """Whether resizing averages over all pixels it leaves out."""
        return self.convention == "noise-aware"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the segmenter's input size for an image of `height` x `width`."""
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    def sigma_told(self, sigma: float, height: int, width: int) -> float:
        """Return the standard deviation the denoiser is told for noise `sigma` on a `height` x `width` image."""
        if self.denoise_at == "full" or self.convention == "paper":
            return sigma
        return sigma_left(sigma, (height, width), self.size(height, width), antialias=self.antialias)


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

    Exact: the root mean square over all pixels, from the resampling matrices. (At a ratio that is no integer,
    single pixels lie a little above or below.)
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


def labels(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the class of largest score per pixel at `size`: (B, H, W), uint8 (int16 above 256 classes).

    scores: (B, C, h, w), upsampled bilinearly (`align_corners=False`). A tie goes to the lowest class.

    Rows are done in bands and classes one after another, so that beyond `scores` and the result no more than
    a few bands of one class are held, whatever C, H and W are.
    """
    batch, classes, height, width = scores.shape
    scores = scores.float()
    dtype = torch.uint8 if classes <= 256 else torch.int16
    result = torch.empty((batch, *size), dtype=dtype, device=scores.device)
    band = max(1, min(size[0], _BAND_BYTES // (4 * batch * size[1])))
    first, second, weight = _rows(height, size[0], scores.device)
    for start in range(0, size[0], band):
        rows = slice(start, min(size[0], start + band))
        top = int(first[rows][0])
        source = scores[:, :, top : int(second[rows][-1]) + 1]
        upper, lower, share = first[rows] - top, second[rows] - top, weight[rows, None]
        best = index = None
        for c in range(classes):
            plane = source[:, c].index_select(1, upper)
            if height != size[0]:
                plane = torch.lerp(plane, source[:, c].index_select(1, lower), share)
            if width != size[1]:
                plane = F.interpolate(plane, size=size[1], mode="linear", align_corners=False)
            if best is None or index is None:
                best, index = plane.clone(), torch.zeros_like(result[:, rows])
                continue
            index.masked_fill_(plane > best, c)
            best = torch.maximum(best, plane)
        assert index is not None
        result[:, rows] = index
    return result


def _rows(length: int, resized: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return for each row after resizing the two source rows it lies between and the share of the second."""
    centre = (torch.arange(resized, dtype=torch.float64) + 0.5) * (length / resized) - 0.5
    centre = centre.clamp(0, length - 1)
    first = centre.floor().long()
    second = (first + 1).clamp(max=length - 1)
    return first.to(device), second.to(device), (centre - first).float().to(device)
