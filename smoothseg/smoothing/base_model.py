"""The base model f: from noisy images to a label per pixel. No vote ever sees the clean image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smoothseg.errors import PluginError
from smoothseg.networks.resizing import resize
from smoothseg.protocols import Denoiser, Segmenter
from smoothseg.smoothing import geometry as geo

__all__ = ["BaseModel"]


class BaseModel:
    """Resize, denoise, segment, upsample, argmax.

    The guarantee needs only that the labels are a function of the noisy image (and of draws independent of
    the noise), the same function for every sample. It requires nothing of the networks.
    """

    def __init__(self, denoiser: Denoiser, segmenter: Segmenter, geometry: geo.Geometry) -> None:
        self.denoiser = denoiser
        self.segmenter = segmenter
        self.geometry = geometry

    @torch.inference_mode()
    def predict(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return labels (B, H, W) of noisy images (B, 3, H, W).

        sigma: standard deviation of their noise in [0, 1] pixel units. seeds: one integer for each row, for a
        denoiser that draws.
        """
        return self.labelled(noisy, sigma, seeds=seeds)[1]

    @torch.inference_mode()
    def labelled(
        self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `denoised` returns, and the labels that `predict` gives it."""
        estimate = self.denoised(noisy, sigma, seeds=seeds)
        return estimate, geo.labels(self._score(estimate), (noisy.shape[-2], noisy.shape[-1]))

    @torch.inference_mode()
    def denoised(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimates (B, 3, h, w), at the segmenter's input size, that `predict` segments."""
        height, width = noisy.shape[-2:]
        small = self.geometry.size(height, width)
        told = self.geometry.sigma_told(sigma, height, width)
        if self.geometry.denoise_at == "scale":
            noisy = resize(noisy, small, antialias=self.geometry.antialias)
        estimate = self.denoiser.denoise(noisy, told, seeds=seeds)
        if estimate.shape != noisy.shape:
            raise PluginError(
                f"{type(self.denoiser).__name__} returned {tuple(estimate.shape)} for {tuple(noisy.shape)}"
            )
        if not bool(torch.isfinite(estimate).all()):
            raise PluginError(f"{type(self.denoiser).__name__} returned an image that is not finite")
        return resize(estimate, small, antialias=self.geometry.antialias)

    @torch.inference_mode()
    def clean(self, images: torch.Tensor) -> torch.Tensor:
        """Return labels (B, H, W) of clean images (B, 3, H, W) in [0, 1], not denoised: the usual prediction."""
        size = (images.shape[-2], images.shape[-1])
        small = resize(images, self.geometry.size(*size), antialias=self.geometry.antialias)
        return geo.labels(self._score(small), size)

    def _score(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.segmenter.segment(images)
        if scores.ndim != 4 or scores.shape[:2] != (len(images), len(self.segmenter.classes)):
            raise PluginError(
                f"{type(self.segmenter).__name__} returned scores {tuple(scores.shape)}, "
                f"expected ({len(images)}, {len(self.segmenter.classes)}, h, w)"
            )
        if not bool(torch.isfinite(scores).all()):
            raise PluginError(f"{type(self.segmenter).__name__} returned scores that are not finite")
        return scores
