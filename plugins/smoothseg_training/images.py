"""Which pixels does a network see of a dataset's images and of the noise on them?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from smoothseg import networks
from smoothseg.protocols import Sample
from smoothseg_training.data import resized

__all__ = ["central", "evenly", "noise_left", "resized_noise", "scaled", "to_float"]

Pixels = npt.NDArray[np.uint8]


def evenly(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` different indices below `count`, evenly spaced."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(count, wanted))})


def to_float(images: Pixels, device: torch.device) -> torch.Tensor:
    """Return uint8 (B, H, W, 3) as float32 (B, 3, H, W) in [0, 1], channels last in memory."""
    tensor = torch.tensor(images, device=device)  # a copy: a dataset's arrays may be read-only
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def scaled(sample: Sample, scale: float) -> Pixels:
    """Return the image of `sample`, uint8 (H, W, 3), resized by `scale`."""
    height, width = sample.image.shape[:2]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return sample.image if size == (height, width) else resized(sample.image, size)


def central(image: Pixels, crop: tuple[int, int]) -> Pixels:
    """Return the centre of `image` in the size of `crop` (h, w); a smaller image is enlarged first."""
    factor = max(1.0, crop[0] / image.shape[0], crop[1] / image.shape[1])
    if factor > 1.0:
        image = resized(image, (math.ceil(image.shape[0] * factor), math.ceil(image.shape[1] * factor)))
    top, left = (image.shape[0] - crop[0]) // 2, (image.shape[1] - crop[1]) // 2
    return image[top : top + crop[0], left : left + crop[1]]


def resized_noise(shape: torch.Size, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return N(0, 1) noise after resizing by `scale` to `shape` (B, C, H, W).

    Resizing is linear and nothing is clipped, so adding this noise to a resized clean image equals resizing a noisy
    one.
    """
    if scale == 1.0:
        return torch.randn(shape, generator=generator, device=generator.device)
    size = shape[-2], shape[-1]
    noise = torch.randn(*shape[:2], *_source(size, scale), generator=generator, device=generator.device)
    return networks.resize(noise, size)


def noise_left(shape: torch.Size, scale: float) -> float:
    """Return the share of the noise's standard deviation that resizing by `scale` to `shape` (B, C, H, W) leaves."""
    size = shape[-2], shape[-1]
    return networks.sigma_left(1.0, _source(size, scale), size)


def _source(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the size (h, w) that resizing by `scale` takes to `size`."""
    return max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
