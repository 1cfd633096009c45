"""How a network for sides that are multiples of something, or for small images, sees an image of any size."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["pad", "padded", "tiles"]

Network = Callable[[torch.Tensor], torch.Tensor]
"""(B, C, H, W), sides that fit -> (B, D, H, W)."""


def pad(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return (B, C, H, W) images reflected at the bottom and the right until both sides are multiples of `multiple`.

    An image that is smaller than what it lacks is reflected again and again.
    """
    for axis in (-2, -1):
        length = images.shape[axis]
        if missing := -length % multiple:
            period = max(1, 2 * (length - 1))
            position = torch.arange(length + missing, device=images.device) % period
            images = images.index_select(
                axis, torch.minimum(position, period - position).clamp_(max=length - 1)
            )
    return images


def padded(network: Network, images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return `network` of the padded images, cropped to their size."""
    return network(pad(images, multiple))[..., : images.shape[-2], : images.shape[-1]]


def tiles(network: Network, images: torch.Tensor, *, tile: int, overlap: int, multiple: int) -> torch.Tensor:
    """Return `network` of overlapping tiles, blended.

    A tile has side `tile` (less where the image is smaller) and shares at least `overlap` pixels with the next.
    There the weights rise and fall linearly and add up to 1, so where tiles agree the blend is what they agree
    on. One tile is in the network at a time: besides the image and the result, memory does not grow with the size.
    """
    rows, columns = _windows(images.shape[-2], tile, overlap), _windows(images.shape[-1], tile, overlap)
    result: torch.Tensor | None = None
    for top, row_weights in rows:
        for left, column_weights in columns:
            window = slice(top, top + len(row_weights)), slice(left, left + len(column_weights))
            part = padded(network, images[..., window[0], window[1]], multiple).float()
            weights = (row_weights[:, None] * column_weights).to(part)
            if result is None:
                result = part.new_zeros(*part.shape[:2], *images.shape[-2:])
            result[..., window[0], window[1]] += part * weights
    assert result is not None
    return result


def _windows(length: int, tile: int, overlap: int) -> list[tuple[int, torch.Tensor]]:
    """Return the first pixel of each tile along a side and its weights, which add up to 1 at every pixel."""
    if length <= tile:
        return [(0, torch.ones(length))]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]
    position = torch.arange(length, dtype=torch.float64) + 0.5
    ramps = []
    for i, start in enumerate(starts):
        ramp = torch.zeros(length, dtype=torch.float64)
        rise = (position - start) / (starts[i - 1] + tile - start) if i else torch.ones_like(position)
        fall = (
            (start + tile - position) / (start + tile - starts[i + 1])
            if i + 1 < count
            else torch.ones_like(position)
        )
        inside = slice(start, start + tile)
        ramp[inside] = torch.minimum(rise, fall).clamp(0, 1)[inside]
        ramps.append(ramp)
    total = torch.stack(ramps).sum(0)
    return [
        (start, (ramp / total)[start : start + tile].float())
        for start, ramp in zip(starts, ramps, strict=True)
    ]
