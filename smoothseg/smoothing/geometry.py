"""At which size the networks see an image, which sigma the denoiser receives, and how scores become labels.

`networks/resizing.py` computes the noise left after resizing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
import torch.nn.functional as F

from smoothseg.errors import ConfigError
from smoothseg.networks.resizing import sigma_left

__all__ = ["Geometry", "enlarged", "labels"]

_BAND_BYTES = 2 * 2**20
"""Upper bound on the score values of one class and one band of rows in `labels`: few enough to stay in a cache."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the noisy image reaches the networks.

    scale: the segmenter's input size over the image's, as in the papers (0.25, 0.5, 1.0). Certification is
        always at the image's size.
    convention: `noise-aware` resizes with antialiasing and tells the denoiser the sigma that is left; `paper`
        resizes without antialiasing and tells it the sigma before resizing, as the published code does.
    denoise_at: `scale` denoises the resized image, `full` denoises at the image's size and then resizes.
    """

    scale: float = 0.5
    convention: Literal["noise-aware", "paper"] = "noise-aware"
    denoise_at: Literal["scale", "full"] = "scale"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 0 < self.scale <= 4):
            raise ConfigError(f"scale must be in (0, 4], got {self.scale}")

    @property
    def antialias(self) -> bool:
        """Whether resizing averages over all pixels when it shrinks."""
        return self.convention == "noise-aware"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the segmenter's input size for an image of `height` x `width`."""
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    def sigma_told(self, sigma: float, height: int, width: int) -> float:
        """Return the standard deviation the denoiser is told for noise `sigma` on a `height` x `width` image."""
        if self.denoise_at == "full" or self.convention == "paper":
            return sigma
        return sigma_left(sigma, (height, width), self.size(height, width), antialias=self.antialias)


def labels(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the class of largest score per pixel at `size`: (B, H, W), uint8 (int16 above 256 classes).

    scores: (B, C, h, w), upsampled bilinearly (`align_corners=False`). A tie goes to the lowest class.

    Images, bands of rows and classes are processed one after another. Besides `scores` and the result, only a few bands
    of one class are held, for any B, C, H and W, and no image's labels depend on the batch.
    """
    dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int16
    result = torch.empty((len(scores), *size), dtype=dtype, device=scores.device)
    for image, target in zip(scores, result, strict=True):
        _label(image, target)
    return result


def enlarged(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return scores (B, C, h, w) at `size`, (B, C, H, W) float32, upsampled as `labels` does but for rounding."""
    if scores.shape[2:] == size:
        return scores.float()
    return F.interpolate(scores.float(), size=size, mode="bilinear", align_corners=False)


def _label(scores: torch.Tensor, target: torch.Tensor) -> None:
    """Write the class of largest score (C, h, w) per pixel to `target` (H, W)."""
    (height, width), (rows, columns) = scores.shape[1:], target.shape
    # If every operation launches a kernel, fewer and larger operations are faster.
    limit = _BAND_BYTES if scores.device.type == "cpu" else 8 * _BAND_BYTES
    count = max(1, limit // (4 * columns))
    first, second, share = _rows(height, rows, scores.device)
    for start in range(0, rows, count):
        band = slice(start, min(rows, start + count))
        top = int(first[band][0])
        source = scores[:, top : int(second[band][-1]) + 1].float().contiguous()
        upper, lower = first[band] - top, second[band] - top
        best = index = better = torch.empty(0)
        for c, score in enumerate(source):
            plane = score.index_select(0, upper)
            if height != rows:
                plane = torch.lerp(plane, score.index_select(0, lower), share[band, None])
            if width != columns:
                plane = F.interpolate(plane[None], size=columns, mode="linear", align_corners=False)[0]
            if c == 0:
                best, index, better = plane, torch.zeros_like(plane), torch.empty_like(plane)
                continue
            # Class indices are kept as floats: operations between tensors of one type are the vectorised ones.
            torch.gt(plane, best, out=better)
            torch.maximum(index, better.mul_(c), out=index)
            torch.maximum(best, plane, out=best)
        target[band] = index


def _rows(length: int, resized: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return for each row after resizing the two source rows it lies between and the share of the second."""
    centre = (torch.arange(resized, dtype=torch.float64) + 0.5) * (length / resized) - 0.5
    centre = centre.clamp(0, length - 1)
    first = centre.floor().long()
    second = (first + 1).clamp(max=length - 1)
    return first.to(device), second.to(device), (centre - first).float().to(device)
