"""The base model f: from noisy images to a label per pixel. No vote ever sees the clean image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from smoothseg.components.blaming import blamed
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

    def __init__(
        self,
        denoiser: Denoiser,
        segmenter: Segmenter,
        geometry: geo.Geometry,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """names: what errors call the two, by kind; without it they are called by their types."""
        self.denoiser = denoiser
        self.segmenter = segmenter
        self.geometry = geometry
        self._names = {"denoiser": type(denoiser).__name__, "segmenter": type(segmenter).__name__} | dict(
            names or {}
        )

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
    def scored(
        self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores (B, C, h, w), at the segmenter's stride, and the labels that `predict` makes of them."""
        scores = self._score(self.denoised(noisy, sigma, seeds=seeds))
        return scores, geo.labels(scores, (noisy.shape[-2], noisy.shape[-1]))

    @torch.inference_mode()
    def denoised(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimates (B, 3, h, w), at the segmenter's input size, that `predict` segments."""
        height, width = noisy.shape[-2:]
        small = self.geometry.size(height, width)
        told = self.geometry.sigma_told(sigma, height, width)
        if self.geometry.denoise_at == "scale":
            noisy = resize(noisy, small, antialias=self.geometry.antialias)
        with blamed("denoiser", self._names["denoiser"]):
            estimate = self.denoiser.denoise(noisy, told, seeds=seeds)
        self._check("denoiser", estimate, noisy, tuple(noisy.shape), "images")
        return resize(estimate, small, antialias=self.geometry.antialias)

    @torch.inference_mode()
    def clean(self, images: torch.Tensor) -> torch.Tensor:
        """Return labels (B, H, W) of clean images (B, 3, H, W) in [0, 1], not denoised: the usual prediction."""
        size = (images.shape[-2], images.shape[-1])
        small = resize(images, self.geometry.size(*size), antialias=self.geometry.antialias)
        return geo.labels(self._score(small), size)

    def _score(self, images: torch.Tensor) -> torch.Tensor:
        with blamed("segmenter", self._names["segmenter"]):
            scores = self.segmenter.segment(images)
        self._check(
            "segmenter", scores, images, (len(images), len(self.segmenter.classes), "h", "w"), "scores"
        )
        return scores

    def _check(
        self, kind: str, found: object, given: torch.Tensor, shape: tuple[int | str, ...], what: str
    ) -> None:
        """Raise `PluginError` unless `found`, the answer to `given`, is finite and of `shape`; a letter is any size."""
        who = f"the {kind} {self._names[kind]}"
        if not isinstance(found, torch.Tensor):
            raise PluginError(f"{who} returned {type(found).__name__}, expected a torch tensor")
        sizes = tuple(found.shape)
        right = len(sizes) == len(shape) and all(
            there > 0 and (isinstance(here, str) or here == there)
            for there, here in zip(sizes, shape, strict=True)
        )
        if not right:
            expected = ", ".join(map(str, shape))
            raise PluginError(f"{who} returned {what} {sizes}, expected ({expected})")
        if not found.is_floating_point():
            raise PluginError(f"{who} returned {what} of {found.dtype}, expected floating point")
        if found.device != given.device:
            raise PluginError(f"{who} returned {what} on {found.device}, expected {given.device}")
        if not bool(torch.isfinite(found).all()):
            raise PluginError(f"{who} returned {what} that are not finite")
