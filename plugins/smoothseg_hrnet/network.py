"""What HRNetV2 computes: a normalised image to class scores at a quarter of its resolution.

The network of Sun et al., "High-Resolution Representations for Labeling Pixels and Regions" (2019): four stages
that keep 1, 2, 3 and 4 resolutions in parallel and exchange them, and a head on all of them. Its layers are those
of timm's `HighResolutionNet`; the exchange, the head and the state-dict keys are those of the authors' `seg_hrnet`
(HRNet-Semantic-Segmentation, branch pytorch-v1.1), whose every interpolation is bilinear to the target's size with
`align_corners=False`. That size need not be a power-of-two multiple, so any height and width will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models.hrnet import HighResolutionModule, HighResolutionNet
from torch import nn
from torch.nn import functional

from smoothseg import networks
from smoothseg_hrnet.config import channels, checked

__all__ = ["MULTIPLE", "HRNet"]

MULTIPLE = 32
"""Where it divides both sides, every branch has half the pixels of the next finer one, and lies on it."""

_BATCH_NORM_MOMENTUM = 0.01
_STEM_CHANNELS = 64


class HRNet(HighResolutionNet):
    """HRNetV2 with the segmentation head of its authors; state-dict keys are those of the published checkpoints.

    config: the stages in the original's names, as `smoothseg_hrnet.config.checked` takes them.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        config = checked(config)
        super().__init__(
            {
                "stem_width": _STEM_CHANNELS,
                **{f"stage{number}": _timm_stage(config[f"STAGE{number}"]) for number in range(1, 5)},
            },
            head="",
        )
        self.config: dict[str, Any] = config
        for module in self.modules():
            if isinstance(module, HighResolutionModule):
                _drop_upsampling(module)
        width = channels(config)
        self.last_layer = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, config["num_classes"], kernel_size=1),
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _BATCH_NORM_MOMENTUM

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, C, H/4, W/4), halves rounded up twice, of RGB images (B, 3, H, W) about [0, 1]."""
        normalised = networks.normalised(images, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        return self.aligned(normalised)

    def aligned(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return the scores of images padded until the branches lie on each other, those of the padding cut off.

        A side of 45 pixels halves to 23: interpolated back to 45, the coarse branch's features drift by up to a
        pixel along the image, and by more from branch to branch. Networks trained on crops of even sizes never saw it.
        """
        fitted = networks.pad(normalised, MULTIPLE)
        return networks.cropped(self.scores(fitted), fitted.shape[-2:], normalised.shape[-2:])

    def scores(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return the scores of RGB images with ImageNet's mean and standard deviation taken out, as published."""
        # The head starts with a 1x1 convolution of all branches, interpolated to the finest and side by side. The
        # two commute, so each branch is convolved at its own resolution first, with a fraction of the products.
        branches = self.features(normalised)
        first: Any = self.last_layer[0]
        weights = first.weight.split([branch.shape[1] for branch in branches], dim=1)
        x = functional.conv2d(branches[0], weights[0], first.bias)
        for branch, weight in zip(branches[1:], weights[1:], strict=True):
            x = x + _resized(functional.conv2d(branch, weight), x.shape[-2:])
        for layer in self.last_layer[1:]:
            x = layer(x)
        return x

    def features(self, normalised: torch.Tensor) -> list[torch.Tensor]:
        """Return the four branches after stage 4, finest (1/4 resolution) first."""
        x = self.act1(self.bn1(self.conv1(normalised)))
        x = self.act2(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # A branch that is new in this stage starts from the coarsest one before it.
            branches = [layer(branches[min(i, len(branches) - 1)]) for i, layer in enumerate(transition)]
            for module in stage:
                branches = _exchange(module, branches)
        return branches


def _timm_stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "num_modules": stage["NUM_MODULES"],
        "num_branches": stage["NUM_BRANCHES"],
        "block_type": stage["BLOCK"],
        "num_blocks": tuple(stage["NUM_BLOCKS"]),
        "num_channels": tuple(stage["NUM_CHANNELS"]),
        "fuse_method": stage["FUSE_METHOD"],
    }


def _drop_upsampling(module: HighResolutionModule) -> None:
    # timm upsamples by a fixed factor with nearest neighbour; `_exchange` interpolates instead.
    for i, row in enumerate(module.fuse_layers):
        for layer in list(row)[i + 1 :]:
            layer[2] = nn.Identity()


def _exchange(module: HighResolutionModule, branches: list[torch.Tensor]) -> list[torch.Tensor]:
    branches = [branch(x) for branch, x in zip(module.branches, branches, strict=True)]
    fused = []
    for i, row in enumerate(module.fuse_layers):
        size = branches[i].shape[-2:]
        total = row[0](branches[0])
        for j in range(1, len(branches)):
            term = row[j](branches[j])
            total = total + (_resized(term, size) if j > i else term)
        fused.append(module.fuse_act(total))
    return fused


def _resized(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
