"""What the U-Net computes: the noise in an image, and from it the clean estimate at any noise level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import nn

from smoothseg.networks import padded
from smoothseg_adm import diffusion
from smoothseg_adm.architecture import Architecture
from smoothseg_adm.schedule import LINEAR

__all__ = ["ADM"]


@final
class ADM(nn.Module):
    """An ADM U-Net as a denoiser that can be trained: `module(noisy, sigma)`.

    unet: the U-Net, diffusers' `UNet2DModel`. architecture: its sizes. config: the same as JSON values.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.unet = _unet(architecture)

    @property
    def config(self) -> Mapping[str, Any]:
        """JSON values from which `Architecture.from_config` makes the architecture."""
        return self.architecture.config()

    def start_training(self) -> ADM:
        """Return the module with the last layer of every residual branch, and of all, set to zero.

        The first estimate is then the noisy image itself, and every block starts as the identity, as in ADM.
        """
        for name, layer in self.unet.named_modules():
            if name.endswith(("conv2", "to_out.0")) or name == "conv_out":
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        return self

    def raw(self, scaled: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the U-Net's output: the noise in channels 0 to 2, the variance in 3 to 5 if it is learned.

        scaled: float (B, 3, H, W), sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, x_0 in [-1, 1]; sides that are
            multiples of `architecture.multiple`.
        timesteps: (B,), whole numbers or not.
        """
        patch = self.architecture.patch
        if patch > 1:
            scaled = F.pixel_unshuffle(scaled, patch)
        scaled = scaled.to(next(self.unet.parameters()).dtype, memory_format=torch.channels_last)
        output: torch.Tensor = self.unet(scaled, timesteps, return_dict=False)[0]
        return F.pixel_shuffle(output, patch) if patch > 1 else output

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return the clean estimate (B, 3, H, W) in [0, 1] units, unclipped and differentiable.

        noisy: (B, 3, H, W), an image in [0, 1] plus N(0, sigma^2); any H and W.
        sigma: (B,), in [0, 1] units; a row's timestep is interpolated between those of the noise levels next to it.
        """
        timesteps = np.interp(2 * sigma.double().cpu().numpy(), LINEAR.levels, np.arange(len(LINEAR.levels)))
        level = 2 * sigma.float().view(-1, 1, 1, 1)
        row = torch.from_numpy(timesteps).to(noisy.device, torch.float32)
        scaled = diffusion.scale(noisy.float(), level)
        noise = padded(lambda images: self.raw(images, row), scaled, self.architecture.multiple)[:, :3]
        return noisy.float() - level * noise.float() / 2


def _unet(architecture: Architecture) -> nn.Module:
    model: Any = UNet2DModel
    unet: nn.Module = model(**architecture.unet2d())
    if architecture.sinusoids != architecture.widths[0]:
        # diffusers ties their number to the finest width, which ADM at 512 pixels halves
        sinusoids: Any = Timesteps
        embedding: Any = TimestepEmbedding
        unet.time_proj = sinusoids(architecture.sinusoids, flip_sin_to_cos=True, downscale_freq_shift=0)
        unet.time_embedding = embedding(architecture.sinusoids, 4 * architecture.sinusoids)
    return unet
