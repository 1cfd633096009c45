"""What the UPerNet head computes: four maps to class scores at stride 4.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding" (ECCV 2018): the coarsest map is pooled at several
sizes, the finer ones are added from coarse to fine, and all levels together are classified. State-dict keys are those
of mmsegmentation's `UPerHead` and, for the auxiliary head, `FCNHead`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from smoothseg_vit_adapter.adapter import resized
from smoothseg_vit_adapter.architecture import UPerNet

__all__ = ["AuxiliaryHead", "Convolution", "UPerNetHead"]

_LEVELS = 4


class Convolution(nn.Module):
    """A convolution without bias, batch normalisation and ReLU."""

    def __init__(self, inner: int, outer: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outer)
        self.activate = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, `outer`, h, w) of a map (B, `inner`, h, w)."""
        result: torch.Tensor = self.activate(self.bn(self.conv(x)))
        return result


class UPerNetHead(nn.Module):
    """Pyramid pooling and a feature pyramid over four maps of `inner` channels."""

    def __init__(self, sizes: UPerNet, *, inner: int, classes: int) -> None:
        super().__init__()
        width = sizes.width
        self.conv_seg = nn.Conv2d(width, classes, 1)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(pool), Convolution(inner, width, 1)) for pool in sizes.pools
        )
        self.bottleneck = Convolution(inner + len(sizes.pools) * width, width, 3)
        finer = range(_LEVELS - 1)
        self.lateral_convs = nn.ModuleList(Convolution(inner, width, 1) for _ in finer)
        self.fpn_convs = nn.ModuleList(Convolution(width, width, 3) for _ in finer)
        self.fpn_bottleneck = Convolution(_LEVELS * width, width, 3)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return scores (B, classes, h, w) of maps (B, `inner`, h, w) and coarser ones, finest first."""
        *finer, coarsest = maps
        pooled = [resized(pool(coarsest), coarsest.shape[-2:]) for pool in self.psp_modules]
        levels = [self.bottleneck(torch.cat([coarsest, *pooled], dim=1))]
        for convolution, view in zip(reversed(self.lateral_convs), reversed(finer), strict=True):
            levels.append(convolution(view) + resized(levels[-1], view.shape[-2:]))
        levels.reverse()
        size = levels[0].shape[-2:]
        pyramid = [convolution(level) for convolution, level in zip(self.fpn_convs, levels[:-1], strict=True)]
        pyramid.append(levels[-1])
        joined = torch.cat([pyramid[0], *(resized(level, size) for level in pyramid[1:])], dim=1)
        scores: torch.Tensor = self.conv_seg(self.fpn_bottleneck(joined))
        return scores


class AuxiliaryHead(nn.Module):
    """One convolution and a classifier on the map of stride 16; only training and its checkpoints need it."""

    def __init__(self, width: int, *, inner: int, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(width, classes, 1)
        self.convs = nn.Sequential(Convolution(inner, width, 3))

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return scores (B, classes, h, w) at the size of the third of four maps."""
        scores: torch.Tensor = self.conv_seg(self.convs(maps[2]))
        return scores
