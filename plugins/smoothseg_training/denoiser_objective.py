"""What is a denoiser trained for, and how is it measured?

Random numbers come from the generator that the caller passes, seeded for the step.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from smoothseg_training.data import Batch, Cache
from smoothseg_training.images import central, evenly, noise_left, resized_noise, scaled, to_float
from smoothseg_training.options import DenoiserTraining

__all__ = ["DenoiserObjective"]

PSNR_SIGMAS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Noise levels at which a denoiser is measured, as far as they lie in the range it is trained for."""


class DenoiserObjective:
    """Weighted squared error of the clean estimate; see `DenoiserTraining` for the weights."""

    def __init__(self, training: DenoiserTraining, validation: Cache | None) -> None:
        self._training = training
        self._validation = validation

    def loss(self, network: torch.nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Return the mean over pixels of the squared error, divided by sigma^2 (`epsilon`) or sigma (`x0`)."""
        clean = to_float(batch.images, generator.device)
        low, high = (math.log(bound) for bound in self._range(clean, batch.image_scale))
        uniform = torch.rand(len(clean), generator=generator, device=clean.device)
        sigma = (low + (high - low) * uniform).exp()
        estimate: torch.Tensor = network(
            self._noisy(clean, sigma, generator, batch.image_scale), sigma
        ).float()
        error = (estimate - clean).square().mean(dim=(1, 2, 3))
        weight = sigma.square() if self._training.loss == "epsilon" else sigma
        return (error / weight).mean()

    def measure(self, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Return the mean PSNR in dB of the clipped estimate on central crops, by sigma and, if several, by scale."""
        if self._validation is None:
            return {}
        low, high = self._training.sigma_range
        figures = {}
        for scale in sorted(set(self._training.scales)):
            name = f"psnr_scale{scale:g}_sigma" if len(set(self._training.scales)) > 1 else "psnr_sigma"
            for sigma in (value for value in PSNR_SIGMAS if low <= value <= high):
                values = []
                for index in evenly(len(self._validation), self._training.validation_images):
                    image = central(scaled(self._validation[index], scale), self._training.crop)
                    clean = to_float(image[None], device)
                    generator = torch.Generator(device).manual_seed(index)
                    level = torch.full((1,), sigma * self._left(clean, scale), device=device)
                    estimate = network(self._noisy(clean, level, generator, scale), level).float().clamp(0, 1)
                    values.append(-10 * math.log10(max(float((estimate - clean).square().mean()), 1e-10)))
                figures[f"{name}{sigma:g}"] = float(np.mean(values))
        return figures

    def _left(self, clean: torch.Tensor, scale: float) -> float:
        """Return the ratio of the noise at the network to the noise where sigma is stated."""
        if self._training.sigma_at == "network":
            return 1.0
        return noise_left(clean.shape, scale)

    def _range(self, clean: torch.Tensor, scale: float) -> tuple[float, float]:
        """Return the smallest and the largest sigma at the network."""
        low, high = self._training.sigma_range
        left = self._left(clean, scale)
        return low * left, high * left

    def _noisy(
        self, clean: torch.Tensor, sigma: torch.Tensor, generator: torch.Generator, scale: float
    ) -> torch.Tensor:
        """Return images with noise whose standard deviation at the network is `sigma`, one per image."""
        if self._training.noise == "white" or scale == 1.0:
            noise = resized_noise(clean.shape, 1.0, generator)
        else:
            noise = resized_noise(clean.shape, scale, generator) / noise_left(clean.shape, scale)
        return clean + sigma.view(-1, 1, 1, 1) * noise
