"""The network as it was trained, by whatever program: replace it by yours. Nothing here knows of smoothseg."""

from __future__ import annotations

import torch
from torch import nn

STRIDE = 4
"""Sides of the image must be multiples of it; there is one score a class for every so many pixels."""


class Network(nn.Module):
    """Normalised images (B, 3, H, W) to scores (B, classes, H/4, W/4)."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=4, dilation=4), nn.BatchNorm2d(width), nn.ReLU()),
        )
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        scores: torch.Tensor = self.classifier(self.encoder(images))
        return scores
