"""What attention gathers when it looks at a few points of a few feature maps, at places it chooses itself.

Multi-scale deformable attention of Zhu et al., "Deformable DETR" (ICLR 2021), in plain PyTorch: it needs no compiled
operation on any device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DeformableAttention", "Shapes", "reference_points", "sample"]

Shapes = Sequence[tuple[int, int]]
"""(height, width) of each level; S below is the sum of height x width."""


def sample(
    values: torch.Tensor, shapes: Shapes, locations: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of what lies at `locations`, (B, Q, heads x D).

    values: (B, S, heads, D), the pixels of each level row by row, one level after the other.
    locations: (B, Q, heads, levels, points, 2), (x, y), where [0, 1] spans the level from edge to edge. Values are
        interpolated bilinearly between the centres of the pixels; outside there are zeros.
    weights: (B, Q, heads, levels, points).
    """
    # Bilinear interpolation is a weighted sum of four pixels, so all of it is one weighted sum of rows of a table:
    # what `embedding_bag` computes without keeping what it gathers.
    batch, pixels, heads, depth = values.shape
    queries, points = locations.shape[1], locations.shape[4]
    sizes = torch.tensor(shapes, device=values.device)
    area = sizes.prod(dim=1)
    first = (area.cumsum(0) - area).repeat_interleave(points)
    height, width = sizes.repeat_interleave(points, dim=0).unbind(-1)
    x, y = locations.flatten(3, 4).unbind(-1)  # (B, Q, heads, levels x points)
    columns, rows = _neighbours(x, width), _neighbours(y, height)
    own = torch.arange(batch, device=values.device)[:, None, None, None] * pixels + first
    head = torch.arange(heads, device=values.device)[:, None]
    chosen = weights.flatten(3)
    begins = [(((row * width) + own) * heads + head, share * chosen) for row, share in rows]
    steps = [(column * heads, share) for column, share in columns]
    index = torch.cat([begin + step for begin, _ in begins for step, _ in steps], dim=-1)
    factor = torch.cat([one * other for _, one in begins for _, other in steps], dim=-1)
    total = functional.embedding_bag(
        index.flatten(0, 2), values.reshape(-1, depth), per_sample_weights=factor.flatten(0, 2), mode="sum"
    )
    return total.view(batch, queries, heads * depth)


def _neighbours(place: torch.Tensor, length: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the two pixels of an axis that `place` in [0, 1] lies between, and the share of each.

    A pixel outside has share 0, and its index is given as 0.
    """
    position = place * length - 0.5
    low = position.floor()
    share = position - low
    pixel = low.long()
    pairs = []
    for index, part in ((pixel, 1 - share), (pixel + 1, share)):
        inside = (index >= 0) & (index < length)
        pairs.append((index * inside, part * inside))
    return pairs


def reference_points(
    shapes: Shapes, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return the centres (Q, 2) of the pixels of each level, (x, y) in [0, 1], in the order of `sample`'s values."""
    levels = []
    for height, width in shapes:
        y = (torch.arange(height, dtype=dtype or torch.float32, device=device) + 0.5) / height
        x = (torch.arange(width, dtype=dtype or torch.float32, device=device) + 0.5) / width
        levels.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1))
    return torch.cat(levels)


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention; state-dict keys are those of the published implementations.

    width: channels C of queries, values and result. ratio: the values are projected to `ratio` x `width` channels.
    levels, points: how many maps each head looks at, and at how many places of each.
    """

    def __init__(self, *, width: int, heads: int, levels: int, points: int, ratio: float = 1.0) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        inner = int(width * ratio)
        if inner % heads:
            raise ValueError(f"{inner} value channels cannot be shared by {heads} heads")
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, inner)
        self.output_proj = nn.Linear(inner, width)
        self._start()

    def _start(self) -> None:
        # Each head starts by looking in its own direction, further with every point, and at all points alike.
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None, :] * steps[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: torch.Tensor, reference: torch.Tensor, values: torch.Tensor, shapes: Shapes
    ) -> torch.Tensor:
        """Return what each query gathers, (B, Q, C).

        queries: (B, Q, C). reference: (Q, 2), (x, y) in [0, 1], the same for every level, or (B, Q, levels, 2).
        values: (B, S, C). shapes: (height, width) of each level.
        """
        batch, count, _ = queries.shape
        dims = (batch, count, self.heads, self.levels, self.points)
        # Places are computed in float32 at least: rounded to bfloat16 they would be off by pixels.
        exact = torch.promote_types(queries.dtype, torch.float32)
        sizes = torch.tensor(
            [(width, height) for height, width in shapes], dtype=exact, device=queries.device
        )
        offsets = self.sampling_offsets(queries).to(exact).view(*dims, 2)
        reference = reference.to(exact)
        origin = (
            reference[None, :, None, None, None] if reference.ndim == 2 else reference[:, :, None, :, None]
        )
        locations = origin + offsets / sizes[:, None]
        weights = self.attention_weights(queries).view(*dims[:3], -1).softmax(dim=-1).view(dims)
        projected = self.value_proj(values)
        gathered = sample(
            projected.to(exact).unflatten(-1, (self.heads, -1)), shapes, locations, weights.to(exact)
        )
        result: torch.Tensor = self.output_proj(gathered.to(projected.dtype))
        return result
