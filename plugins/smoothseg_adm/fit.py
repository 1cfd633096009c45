"""How a network for small images sees an image of any size: in overlapping tiles."""

from __future__ import annotations

import torch

from smoothseg.networks import Network, padded

__all__ = ["tiles"]


def tiles(network: Network, images: torch.Tensor, *, tile: int, overlap: int, multiple: int) -> torch.Tensor:
    """Return `network` of overlapping tiles, blended.

    A tile has side `tile` (less where the image is smaller) and shares at least `overlap` pixels with the next.
    There the weights rise and fall linearly and add up to 1, so where tiles agree the blend is what they agree
    on. The network sees one tile at a time: apart from the image and the result, memory does not grow with size.
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
