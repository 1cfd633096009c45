"""What the backbone computes: a normalised image to four maps, at strides 4, 8, 16 and 32.

A plain transformer sees the image at stride 16; beside it convolutions see it at four strides. The two exchange
what they found four times, by deformable attention: injectors pass it to the transformer, extractors take it back.
State-dict keys are those of the authors of ViT-Adapter (Chen et al., ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from smoothseg_vit_adapter.architecture import PATCH, Backbone
from smoothseg_vit_adapter.beit import EPS, Block, Offsets, offsets
from smoothseg_vit_adapter.deformable import DeformableAttention, Shapes, reference_points

__all__ = ["ViTAdapter", "resized"]

_STRIDES = (8, 16, 32)
"""Of the tokens that the adapter keeps besides the transformer's."""

_EXTRA_EXTRACTORS = 2
"""After the last interaction."""


def resized(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Return maps (B, C, h, w) interpolated bilinearly to `size`, as every interpolation of these networks does."""
    if tuple(size) == tuple(x.shape[-2:]):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class ViTAdapter(nn.Module):
    """A BEiT and its adapter."""

    def __init__(self, sizes: Backbone) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.level_embed = nn.Parameter(torch.zeros(len(_STRIDES), width))
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(
            Block(width, sizes.heads, sizes.ratio, sizes.window) for _ in range(sizes.depth)
        )
        self.spm = SpatialPrior(sizes.stem, width)
        last = len(sizes.blocks) - 1
        self.interactions = nn.ModuleList(
            Interaction(sizes, extra=_EXTRA_EXTRACTORS if i == last else 0) for i in range(last + 1)
        )
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.norm1 = nn.BatchNorm2d(width)
        self.norm2 = nn.BatchNorm2d(width)
        self.norm3 = nn.BatchNorm2d(width)
        self.norm4 = nn.BatchNorm2d(width)

    def forward(self, normalised: torch.Tensor) -> list[torch.Tensor]:
        """Return maps (B, C, H/4, W/4) to (B, C, H/32, W/32) of images (B, 3, H, W), multiples of 32."""
        places = Places.of(self.sizes, normalised)
        finest, levels = self.spm(normalised)
        pyramid = torch.cat([_tokens(level) + self.level_embed[i] for i, level in enumerate(levels)], dim=1)
        tokens = _tokens(self.patch_embed(normalised))
        own = self.cls_token.expand(len(tokens), -1, -1)
        seen, done = [], 0
        for interaction, count in zip(self.interactions, self.sizes.blocks, strict=True):
            blocks = self.blocks[done : done + count]
            own, tokens, pyramid = interaction(own, tokens, pyramid, blocks, places)
            seen.append(_map(tokens, places.window))
            done += count

        second, third, fourth = _maps(pyramid, places.shapes)
        maps = [self.up(second) + finest, second, third, fourth]
        norms = (self.norm1, self.norm2, self.norm3, self.norm4)
        return [
            norm(level + resized(view, level.shape[-2:]))
            for norm, level, view in zip(norms, maps, seen, strict=True)
        ]


class Places(NamedTuple):
    """Where the tokens of an image lie.

    window: (height, width) of the transformer's. shapes: of the pyramid's levels, finest first. targets (N, 2) and
    sources (S, 2): their centres, (x, y) in [0, 1]. offsets: see `beit.offsets`.
    """

    window: tuple[int, int]
    shapes: Shapes
    targets: torch.Tensor
    sources: torch.Tensor
    offsets: Offsets

    @classmethod
    def of(cls, sizes: Backbone, images: torch.Tensor) -> Places:
        """Return the places for images (B, 3, H, W), on their device."""
        height, width = images.shape[-2:]
        window = (height // PATCH, width // PATCH)
        shapes = [(height // stride, width // stride) for stride in _STRIDES]
        device = images.device
        return cls(
            window,
            shapes,
            reference_points([window], device=device),
            reference_points(shapes, device=device),
            offsets(sizes.window, window, device=device),
        )


class PatchEmbedding(nn.Module):
    """Patches of an image to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (B, C, H/16, W/16) of images (B, 3, H, W)."""
        tokens: torch.Tensor = self.proj(images)
        return tokens


class SpatialPrior(nn.Module):
    """Convolutions that see the image at strides 4, 8, 16 and 32."""

    def __init__(self, stem: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, stem, stride=2),
            *_convolution(stem, stem, stride=1),
            *_convolution(stem, stem, stride=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*_convolution(stem, 2 * stem, stride=2))
        self.conv3 = nn.Sequential(*_convolution(2 * stem, 4 * stem, stride=2))
        self.conv4 = nn.Sequential(*_convolution(4 * stem, 4 * stem, stride=2))
        self.fc1 = nn.Conv2d(stem, width, 1)
        self.fc2 = nn.Conv2d(2 * stem, width, 1)
        self.fc3 = nn.Conv2d(4 * stem, width, 1)
        self.fc4 = nn.Conv2d(4 * stem, width, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the map at stride 4 and those at strides 8, 16 and 32, (B, C, h, w) each."""
        first = self.stem(images)
        second = self.conv2(first)
        third = self.conv3(second)
        fourth = self.conv4(third)
        return self.fc1(first), [self.fc2(second), self.fc3(third), self.fc4(fourth)]


class Interaction(nn.Module):
    """One exchange between transformer and adapter: an injector before the blocks, extractors after them."""

    def __init__(self, sizes: Backbone, *, extra: int) -> None:
        super().__init__()
        self.injector = Injector(sizes)
        self.extractor = Extractor(sizes)
        # absent, not empty: published state dicts have this name in the last interaction only
        self.extra_extractors = nn.ModuleList(Extractor(sizes) for _ in range(extra)) if extra else None

    def forward(
        self,
        own: torch.Tensor,
        tokens: torch.Tensor,
        pyramid: torch.Tensor,
        blocks: Iterable[nn.Module],
        places: Places,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the class token (B, 1, C), the tokens (B, N, C) and the pyramid (B, S, C) after `blocks`."""
        joined = torch.cat([own, self.injector(tokens, pyramid, places)], dim=1)
        for block in blocks:
            joined = block(joined, places.offsets)
        own, tokens = joined[:, :1], joined[:, 1:]
        for extractor in (self.extractor, *(self.extra_extractors or ())):
            pyramid = extractor(pyramid, tokens, places)
        return own, tokens, pyramid


class Injector(nn.Module):
    """Adds to the transformer's tokens what they find in the pyramid, scaled per channel by `gamma`."""

    def __init__(self, sizes: Backbone) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.feat_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.attn = _attention(sizes, levels=len(_STRIDES))
        self.gamma = nn.Parameter(torch.zeros(sizes.width))

    def forward(self, tokens: torch.Tensor, pyramid: torch.Tensor, places: Places) -> torch.Tensor:
        """Return tokens (B, N, C) after a look at the pyramid (B, S, C)."""
        found = self.attn(self.query_norm(tokens), places.targets, self.feat_norm(pyramid), places.shapes)
        result: torch.Tensor = tokens + self.gamma * found
        return result


class Extractor(nn.Module):
    """Adds to the pyramid's tokens what they find in the transformer's."""

    def __init__(self, sizes: Backbone) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.feat_norm = nn.LayerNorm(sizes.width, eps=EPS)
        self.attn = _attention(sizes, levels=1)
        self.ffn = FeedForward(sizes.width, int(sizes.width * sizes.feed_forward))
        self.ffn_norm = nn.LayerNorm(sizes.width, eps=EPS)

    def forward(self, pyramid: torch.Tensor, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        """Return the pyramid (B, S, C) after a look at the tokens (B, N, C)."""
        found = self.attn(self.query_norm(pyramid), places.sources, self.feat_norm(tokens), [places.window])
        pyramid = pyramid + found
        result: torch.Tensor = pyramid + self.ffn(self.ffn_norm(pyramid), places.shapes)
        return result


class FeedForward(nn.Module):
    """Two linear layers with a depth-wise convolution between them that all levels share."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = DepthWise(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, pyramid: torch.Tensor, shapes: Shapes) -> torch.Tensor:
        """Return (B, S, C) of a pyramid (B, S, C) of `shapes`."""
        hidden = functional.gelu(self.dwconv(self.fc1(pyramid), shapes))
        result: torch.Tensor = self.fc2(hidden)
        return result


class DepthWise(nn.Module):
    """A 3x3 convolution of each channel by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, pyramid: torch.Tensor, shapes: Shapes) -> torch.Tensor:
        """Return (B, S, C) of a pyramid (B, S, C) of `shapes`."""
        return torch.cat([_tokens(self.dwconv(level)) for level in _maps(pyramid, shapes)], dim=1)


def _attention(sizes: Backbone, *, levels: int) -> DeformableAttention:
    return DeformableAttention(
        width=sizes.width,
        heads=sizes.deformable_heads,
        levels=levels,
        points=sizes.points,
        ratio=sizes.deformable_ratio,
    )


def _convolution(inner: int, outer: int, *, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(inplace=True),
    ]


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """Return a map (B, C, h, w) as tokens (B, h x w, C), row by row."""
    return x.flatten(2).transpose(1, 2)


def _map(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return tokens (B, h x w, C) as a map (B, C, h, w)."""
    return x.transpose(1, 2).reshape(len(x), -1, *shape)


def _maps(pyramid: torch.Tensor, shapes: Shapes) -> list[torch.Tensor]:
    """Return tokens (B, S, C) as the map of each level."""
    parts = torch.split(pyramid, [height * width for height, width in shapes], dim=1)
    return [_map(part, shape) for part, shape in zip(parts, shapes, strict=True)]
