"""What DnCNN and FFDNet compute: the clean estimate of an image by a chain of 3x3 convolutions.

Modules and parameters have the names that they have in the published checkpoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import nn

from smoothseg_kair.sizes import DnCNNSizes, FFDNetSizes

__all__ = ["CHAINS", "DnCNN", "FFDNet"]

CHAINS = {"kair": "model", "salman": "dncnn"}
"""What the checkpoints of each form call the chain of layers."""

_NORM_EPS = 1e-4
"""Added to variances in the networks of denoised smoothing."""


@final
class DnCNN(nn.Module):
    """DnCNN (Zhang et al., TIP 2017): the noisy image minus the noise that the layers find in it.

    sizes: what it is made of. config: the same as JSON values.
    """

    def __init__(self, sizes: DnCNNSizes) -> None:
        super().__init__()
        self.sizes = sizes
        plain = sizes.form == "kair"
        inner: list[nn.Module] = []
        for _ in range(sizes.depth - 2):
            inner.append(_convolution(sizes.width, sizes.width, bias=plain))
            if not plain:
                inner.append(nn.BatchNorm2d(sizes.width, eps=_NORM_EPS))
            inner.append(nn.ReLU(inplace=True))
        first = _convolution(3, sizes.width)
        last = _convolution(sizes.width, 3, bias=plain)
        self.add_module(CHAINS[sizes.form], nn.Sequential(first, nn.ReLU(inplace=True), *inner, last))

    @property
    def config(self) -> Mapping[str, Any]:
        """JSON values from which `sizes.read` makes the sizes."""
        return dataclasses.asdict(self.sizes)

    @property
    def layers(self) -> nn.Sequential:
        """The chain of layers, from the noisy image to its noise."""
        chain = self.get_submodule(CHAINS[self.sizes.form])
        assert isinstance(chain, nn.Sequential)
        return chain

    def start_training(self) -> DnCNN:
        """Return the module with fresh weights: the first estimate is the noisy image itself."""
        _initialise(self.layers)
        return self

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return the clean estimate (B, 3, H, W) in [0, 1] units, float32, unclipped and differentiable.

        noisy: float32 (B, 3, H, W), an image in [0, 1] plus noise; any H and W.
        sigma: (B,); not used: the layers judge the noise from the image.
        """
        noise: torch.Tensor = self.layers(_as_parameters(noisy, self.layers))
        return noisy - noise.float()


@final
class FFDNet(nn.Module):
    """FFDNet (Zhang et al., TIP 2018): convolutions at half the resolution, which are told sigma.

    sizes: what it is made of. config: the same as JSON values.
    """

    def __init__(self, sizes: FFDNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        inner: list[nn.Module] = []
        for _ in range(sizes.depth - 2):
            inner += [_convolution(sizes.width, sizes.width), nn.ReLU(inplace=True)]
        first, last = _convolution(3 * 4 + 1, sizes.width), _convolution(sizes.width, 3 * 4)
        self.model = nn.Sequential(first, nn.ReLU(inplace=True), *inner, last)

    @property
    def config(self) -> Mapping[str, Any]:
        """JSON values from which `sizes.read` makes the sizes."""
        return dataclasses.asdict(self.sizes)

    def start_training(self) -> FFDNet:
        """Return the module with fresh weights: the first estimate is zero everywhere."""
        _initialise(self.model)
        return self

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return the clean estimate (B, 3, H, W) in [0, 1] units, float32, unclipped and differentiable.

        noisy: float32 (B, 3, H, W), an image in [0, 1] plus N(0, sigma^2); any H and W: the last row and the last
            column are repeated where a side is odd.
        sigma: (B,), in [0, 1] units.
        """
        height, width = noisy.shape[-2:]
        even = F.pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
        pixels = F.pixel_unshuffle(even, 2)
        level = sigma.to(pixels).view(-1, 1, 1, 1).expand(-1, 1, *pixels.shape[-2:])
        output = self.model(_as_parameters(torch.cat([pixels, level], dim=1), self.model))
        return F.pixel_shuffle(output, 2)[..., :height, :width].float()


def _convolution(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias)


def _as_parameters(images: torch.Tensor, layers: nn.Module) -> torch.Tensor:
    return images.to(next(layers.parameters()).dtype, memory_format=torch.channels_last)


def _initialise(layers: nn.Sequential) -> None:
    """Draw the weights of He et al. (ICCV 2015), which keep the variance through ReLUs; the last layer is zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
