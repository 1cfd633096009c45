"""How an image larger than the network was made for goes through it: published sizes and sliding windows.

The published results were made with images scaled by OpenCV, bilinearly and in whole grey levels. Here images are noisy
floats outside [0, 1], so the same interpolation is done without rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from smoothseg_vit_adapter.adapter import resized
from smoothseg_vit_adapter.architecture import Pipeline

__all__ = ["fitted", "sizes", "slide", "windows"]

Size = tuple[int, int]
Window = tuple[int, int, int, int]
"""top, left, bottom, right; the last two are outside."""


def sizes(size: Size, rule: Pipeline) -> list[Size]:
    """Return the sizes an image of `size` (height, width) is scaled to, one after the other, by the published rule."""
    if rule.short is None or rule.long is None:
        return []
    factor = min(rule.long / max(size), rule.short / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    steps = [(height, width)]
    if rule.multiple > 1:
        steps.append(
            (-(-height // rule.multiple) * rule.multiple, -(-width // rule.multiple) * rule.multiple)
        )
    return steps


def fitted(images: torch.Tensor, rule: Pipeline) -> torch.Tensor:
    """Return images (B, 3, H, W) at the size the published rule gives them, interpolated without antialiasing."""
    height, width = images.shape[-2:]
    for size in sizes((height, width), rule):
        images = resized(images, size)
    return images


def windows(size: Size, *, crop: int, stride: int) -> list[Window]:
    """Return the windows that cover an image of `size`, row by row.

    They are `crop` high and wide, or as high and wide as the image where it is smaller, and `stride` apart. A window
    that would pass the border ends there.
    """

    def spans(length: int) -> list[tuple[int, int]]:
        count = max(length - crop + stride - 1, 0) // stride + 1
        ends = [min(i * stride + crop, length) for i in range(count)]
        return [(max(end - crop, 0), end) for end in ends]

    return [(top, left, bottom, right) for top, bottom in spans(size[0]) for left, right in spans(size[1])]


def slide(
    network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, *, crop: int, stride: int
) -> torch.Tensor:
    """Return the mean float32 scores (B, C, H, W) over all windows that see a pixel, one window after the other.

    network: images (B, 3, h, w) to scores (B, C, h', w') at any stride, which are interpolated to the window.
    images: (B, 3, H, W).
    """
    height, width = images.shape[-2:]
    total = None
    counts = images.new_zeros((height, width), dtype=torch.float32)
    for top, left, bottom, right in windows((height, width), crop=crop, stride=stride):
        part = network(images[..., top:bottom, left:right]).float()
        part = resized(part, (bottom - top, right - left))
        if total is None:
            total = part.new_zeros((*part.shape[:2], height, width))
        total[..., top:bottom, left:right] += part
        counts[top:bottom, left:right] += 1
    if total is None:
        raise ValueError(f"an image of {height}x{width} has no window")
    return total.div_(counts)
