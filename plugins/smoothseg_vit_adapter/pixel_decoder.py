"""What Mask2Former's pixel decoder makes of a backbone's four maps: three memories and the features of the masks.

Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation" (CVPR 2022), with the encoder of
Zhu et al., "Deformable DETR" (ICLR 2021). The coarsest level comes first everywhere; state-dict keys are those of
mmdetection's `MSDeformAttnPixelDecoder`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from smoothseg_vit_adapter.deformable import DeformableAttention, reference_points

__all__ = ["GROUPS", "LEVELS", "FeedForward", "PixelDecoder", "sine_positions"]

LEVELS = 3
"""Levels with a memory: strides 32, 16 and 8."""

GROUPS = 32
"""Groups of every group normalisation."""

_TEMPERATURE = 10000
_EPSILON = 1e-6


def sine_positions(
    size: tuple[int, int], width: int, *, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Return the encoding (H W, width) of the places of a map of `size` (H, W), row by row.

    The first half of the channels tells the row, the second the column: sine and cosine in turn of 2 pi i / n, i from
    1 to n, at frequencies from 1 down to almost 1 / 10000 (Carion et al., "End-to-End Object Detection with
    Transformers", ECCV 2020).

    width: a multiple of 4.
    """
    height, breadth = size
    rows = _axis(height, width // 2, device, dtype)[:, None].expand(-1, breadth, -1)
    columns = _axis(breadth, width // 2, device, dtype)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


@functools.lru_cache(maxsize=32)
def _axis(length: int, width: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    # Kept per axis, which is small, not per map. A tensor made in inference mode could not be trained with later.
    with torch.inference_mode(False):
        places = torch.arange(1, length + 1, dtype=torch.float64, device="cpu")
        exponents = torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width
        angles = places[:, None] * (2 * math.pi / (length + _EPSILON)) / _TEMPERATURE**exponents
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(device, dtype)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them, on the last axis; the caller adds the input."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(width, inner), nn.ReLU(inplace=True)), nn.Linear(inner, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of `x`, (..., width)."""
        result: torch.Tensor = self.layers(x)
        return result


class _Projection(nn.Module):
    """A convolution of side `kernel` and a group normalisation."""

    def __init__(self, channels: int, width: int, kernel: int = 1, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(GROUPS, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.gn(self.conv(x))
        return result


class _EncoderLayer(nn.Module):
    """Deformable self-attention over the levels and a feed-forward part, each normalised after its sum."""

    def __init__(self, *, width: int, heads: int, points: int, ffn: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            [DeformableAttention(width=width, heads=heads, levels=LEVELS, points=points)]
        )
        self.ffns = nn.ModuleList([FeedForward(width, ffn)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        references: torch.Tensor,
        sizes: Sequence[tuple[int, int]],
    ) -> torch.Tensor:
        # What is gathered are the tokens themselves: where they lie matters to the queries alone.
        tokens = self.norms[0](tokens + self.attentions[0](tokens + positions, references, tokens, sizes))
        result: torch.Tensor = self.norms[1](tokens + self.ffns[0](tokens))
        return result


class _Encoder(nn.Module):
    def __init__(self, layers: Sequence[_EncoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class PixelDecoder(nn.Module):
    """Deformable encoder over strides 32, 16 and 8, and one step of a feature pyramid to stride 4.

    in_channels: of the maps at strides 4, 8, 16 and 32. width: channels inside and of the memories. out_width:
    channels of the mask features. layers, heads, points, ffn: encoder layers, their attention heads, the places a head
    looks at in a level, and the inner width of their feed-forward part.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        width: int,
        out_width: int,
        layers: int,
        heads: int,
        points: int,
        ffn: int,
    ) -> None:
        super().__init__()
        self.input_convs = nn.ModuleList(
            [_Projection(channels, width, bias=True) for channels in reversed(in_channels[1:])]
        )
        self.encoder = _Encoder(
            [_EncoderLayer(width=width, heads=heads, points=points, ffn=ffn) for _ in range(layers)]
        )
        self.level_encoding = nn.Embedding(LEVELS, width)
        self.lateral_convs = nn.ModuleList([_Projection(in_channels[0], width)])
        self.output_convs = nn.ModuleList([_Projection(width, width, 3)])
        self.mask_feature = nn.Conv2d(width, out_width, 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the mask features (B, out_width, H/4, W/4) and the memories (B, width, h, w), coarsest first.

        maps: (B, C, h, w) at strides 4, 8, 16 and 32 of images whose sides are multiples of 32.
        """
        finest, *levels = maps
        levels = [project(level) for project, level in zip(self.input_convs, reversed(levels), strict=True)]
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        positions = torch.cat(
            [
                sine_positions(size, tokens.shape[-1], device=tokens.device, dtype=tokens.dtype) + encoding
                for size, encoding in zip(sizes, self.level_encoding.weight, strict=True)
            ]
        )
        references = reference_points(sizes, device=tokens.device)
        for layer in self.encoder.layers:
            tokens = layer(tokens, positions, references, sizes)
        memories = [
            part.transpose(1, 2).reshape(len(part), -1, *size)
            for part, size in zip(torch.split(tokens, [h * w for h, w in sizes], dim=1), sizes, strict=True)
        ]
        raised = functional.interpolate(
            memories[-1], size=finest.shape[-2:], mode="bilinear", align_corners=False
        )
        fine = functional.relu(self.output_convs[0](self.lateral_convs[0](finest) + raised), inplace=True)
        return self.mask_feature(fine), memories
