"""What the whole network computes: an image about [0, 1] to class scores, at any height and width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from smoothseg import networks
from smoothseg_vit_adapter.adapter import FeedForward, SpatialPrior, ViTAdapter
from smoothseg_vit_adapter.architecture import MULTIPLE, Architecture, Mask2Former, UPerNet
from smoothseg_vit_adapter.beit import Block
from smoothseg_vit_adapter.upernet import AuxiliaryHead, Convolution, UPerNetHead

__all__ = ["ViTAdapterNetwork"]

_SPREAD = 0.02
"""Standard deviation of linear weights before training, as in BEiT."""


class ViTAdapterNetwork(nn.Module):
    """A ViT-Adapter backbone with its head; state-dict keys are those of the published checkpoints.

    backbone: image to four maps. decode_head: maps to scores. auxiliary_head: present if the architecture has one;
    the scores do not depend on it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = ViTAdapter(architecture.backbone)
        self.decode_head = _head(architecture)
        auxiliary = architecture.head.auxiliary if isinstance(architecture.head, UPerNet) else None
        if auxiliary is not None:
            self.auxiliary_head = AuxiliaryHead(
                auxiliary, inner=architecture.backbone.width, classes=architecture.classes
            )

    @property
    def config(self) -> Mapping[str, Any]:
        """JSON values from which `Architecture.from_config` makes the architecture."""
        return self.architecture.config()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores of RGB images (B, 3, H, W) about [0, 1]; see `scores`."""
        return self.scores(
            networks.normalised(images, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        )

    def scores(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return scores of RGB images (B, 3, H, W) with ImageNet's mean and standard deviation taken out.

        They have a quarter of the image's sides, rounded up; see `networks.cropped` for sides that 4 does not divide.
        """
        fitted = networks.pad(normalised, MULTIPLE)
        scores: torch.Tensor = self.decode_head(self.backbone(fitted))
        return networks.cropped(scores, fitted.shape[-2:], normalised.shape[-2:])

    def start_training(self) -> ViTAdapterNetwork:
        """Return the module with weights to train from: the injectors add nothing yet, everything else is active."""
        for module in self.backbone.modules():
            if isinstance(module, Block | FeedForward):
                for layer in module.modules():
                    if isinstance(layer, nn.Linear):
                        nn.init.trunc_normal_(layer.weight, std=_SPREAD)
                        if layer.bias is not None:
                            nn.init.zeros_(layer.bias)
        for embedding in (self.backbone.cls_token, self.backbone.level_embed):
            nn.init.trunc_normal_(embedding, std=_SPREAD)
        for module in self.modules():
            if isinstance(module, SpatialPrior | Convolution):
                for layer in module.modules():
                    if isinstance(layer, nn.Conv2d) and layer.bias is None:
                        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return self


def _head(architecture: Architecture) -> nn.Module:
    inner, sizes = architecture.backbone.width, architecture.head
    if isinstance(sizes, Mask2Former):
        from smoothseg_vit_adapter.mask2former import Mask2FormerHead

        return Mask2FormerHead(
            in_channels=(inner,) * 4,
            width=sizes.width,
            out_width=sizes.width,
            classes=architecture.classes,
            queries=sizes.queries,
            pixel_layers=sizes.pixel_layers,
            pixel_heads=sizes.pixel_heads,
            pixel_points=sizes.pixel_points,
            pixel_ffn=sizes.pixel_ffn,
            decoder_layers=sizes.decoder_layers,
            decoder_heads=sizes.decoder_heads,
            decoder_ffn=sizes.decoder_ffn,
        )
    return UPerNetHead(sizes, inner=inner, classes=architecture.classes)
