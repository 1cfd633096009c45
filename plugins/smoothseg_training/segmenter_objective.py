"""What is a segmenter trained for, and how is it measured?

Random numbers come from the generator that the caller passes, seeded for the step.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from smoothseg.errors import DataError
from smoothseg.protocols import Dataset, Denoiser
from smoothseg_training.data import Batch, Cache
from smoothseg_training.images import evenly, noise_left, resized_noise, scaled, to_float
from smoothseg_training.options import SegmenterTraining

__all__ = ["SegmenterObjective", "class_weights", "disagreement"]

_CLASS_POWERS = {"inverse": -1.0, "sqrt-inverse": -0.5, "fourth-root-inverse": -0.25}
"""Exponents: the weight of a class in the loss is its share of the pixels to this power."""


class SegmenterObjective:
    """Cross-entropy at the resolution of the crop, without ignored pixels."""

    def __init__(
        self,
        training: SegmenterTraining,
        dataset: Dataset,
        samples: Cache,
        validation: Cache | None,
        denoiser: Denoiser | None = None,
    ) -> None:
        self._training = training
        self._denoiser = denoiser
        self._ignore = dataset.ignore
        self._classes = len(dataset.classes)
        self._validation = validation
        self._weights = class_weights(samples, self._classes, training.class_weights)

    def loss(self, network: torch.nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Return the mean cross-entropy per labelled pixel, weighted by class, plus the disagreement of copies."""
        if batch.labels is None:
            raise TypeError("a segmenter's batch needs labels")
        device, copies = generator.device, self._training.copies if self._training.consistency else 1
        images = to_float(batch.images, device)
        sigma = self._sigma(len(images), generator)
        if copies > 1:
            images = images.repeat(copies, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        if sigma is not None:
            images = self._noisy(images, sigma.repeat(copies), generator, batch.image_scale)
        labels = torch.from_numpy(batch.labels).to(device, torch.int64).repeat(copies, 1, 1)
        scores = network(images).float()
        scores = F.interpolate(scores, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        weights = None if self._weights is None else self._weights.to(device)
        total = F.cross_entropy(scores, labels, weights, ignore_index=self._ignore, reduction="sum")
        counted = labels[labels != self._ignore]
        norm = counted.numel() if weights is None else weights[counted].sum()
        loss = total / max(float(norm), 1e-6)  # a batch of nothing but ignored pixels has loss 0, not 0/0
        if copies > 1:
            divergence, entropy = disagreement(torch.stack(scores.chunk(copies)))
            loss = loss + self._training.consistency * divergence + self._training.entropy * entropy
        return loss

    def measure(self, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Return pixel accuracy and mean IoU, in [0, 1], at the resolution of the images; also under training noise."""
        low, high = self._noise
        figures = self._measure(network, device, 0.0)
        if high:
            noisy = self._measure(network, device, (low + high) / 2)
            figures |= {f"{key}_sigma{(low + high) / 2:g}": value for key, value in noisy.items()}
        return figures

    @property
    def _noise(self) -> tuple[float, float]:
        return self._training.noise_range or (self._training.noise_sigma, self._training.noise_sigma)

    def _sigma(self, rows: int, generator: torch.Generator) -> torch.Tensor | None:
        """Return the standard deviation of the noise of each image, or None without noise."""
        low, high = self._noise
        if not high:
            return None
        device = generator.device
        sigma = low + (high - low) * torch.rand(rows, generator=generator, device=device)
        noisy = torch.rand(rows, generator=generator, device=device) < self._training.noise_fraction
        return sigma * noisy

    def _noisy(
        self, images: torch.Tensor, sigma: torch.Tensor, generator: torch.Generator, scale: float
    ) -> torch.Tensor:
        """Return images with noise of `sigma`, one per image, denoised if there is a denoiser."""
        images = images + sigma.view(-1, 1, 1, 1) * resized_noise(images.shape, scale, generator)
        if self._denoiser is None:
            return images
        left = noise_left(images.shape, scale)
        seeds = torch.randint(2**62, (len(images),), generator=generator, device=images.device).tolist()
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            rows = [
                self._denoiser.denoise(row[None].contiguous(), level * left, seeds=[seed])
                if level
                else row[None]
                for row, level, seed in zip(images, sigma.tolist(), seeds, strict=True)
            ]
        return torch.cat(rows)

    def _measure(self, network: torch.nn.Module, device: torch.device, sigma: float) -> dict[str, float]:
        if self._validation is None:
            return {}
        scale = self._training.image_scale
        counts = torch.zeros(self._classes, self._classes, dtype=torch.int64)
        for index in evenly(len(self._validation), self._training.validation_images):
            sample = self._validation[index]
            images = to_float(scaled(sample, scale)[None], device)
            if sigma:
                generator = torch.Generator(device).manual_seed(index)
                images = self._noisy(images, torch.full((1,), sigma, device=device), generator, scale)
            if sample.labels is None:
                raise DataError(f"validation sample '{sample.key}' has no labels")
            labels = torch.tensor(sample.labels, dtype=torch.int64)
            scores = F.interpolate(
                network(images).float(), size=labels.shape, mode="bilinear", align_corners=False
            )
            predicted = scores.argmax(1)[0].cpu()
            kept = labels != self._ignore
            pairs = labels[kept] * self._classes + predicted[kept]
            counts += torch.bincount(pairs, minlength=self._classes**2).view(self._classes, self._classes)
        hits = counts.diagonal().double()
        union = counts.sum(0) + counts.sum(1) - counts.diagonal()
        seen = union > 0
        return {
            "accuracy": float(hits.sum() / counts.sum().clamp(min=1)),
            "miou": float((hits[seen] / union[seen]).mean()) if bool(seen.any()) else 0.0,
        }


def disagreement(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the divergence of the predictions of noisy copies and the entropy of their mean, averaged over pixels.

    scores: (M, B, C, H, W), for M copies of each image. The first is the mean of KL(mean || copy), the second the mean
    entropy of the mean, both in nats (Jeong and Shin, "Consistency Regularization for Certified Robustness of Smoothed
    Classifiers", NeurIPS 2020, equation 6).
    """
    logs = scores.log_softmax(dim=2)
    mean = logs.logsumexp(dim=0) - math.log(len(scores))
    share = mean.exp()
    divergence = (share * (mean - logs)).sum(dim=2).mean()
    return divergence, -(share * mean).sum(dim=1).mean()


def class_weights(samples: Cache, classes: int, kind: str) -> torch.Tensor | None:
    """Return a weight per class, float32 (C,), with mean 1 over the training pixels; None if `kind` is `none`.

    `inverse` is 1 / share, `sqrt-inverse` its square root and so on; shares are counted on up to 200 images. A class
    without pixels there counts as a thousandth of a percent of the pixels.

    Raises `DataError` if the labels hold none of the classes.
    """
    if kind == "none":
        return None
    counts = np.zeros(256, dtype=np.int64)
    for index in evenly(len(samples), 200):
        labels = samples[index].labels
        if labels is not None:
            counts += np.bincount(labels.ravel(), minlength=256)
    counted = counts[:classes]
    if not counted.sum():
        raise DataError("the labels of the training images hold none of the classes")
    share = np.maximum(counted / counted.sum(), 1e-5)
    weights = share ** _CLASS_POWERS[kind]
    return torch.from_numpy(weights / (weights * counted / counted.sum()).sum()).to(torch.float32)
