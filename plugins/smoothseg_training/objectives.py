"""What a network is trained for and how it is measured: one class for segmenters, one for denoisers.

Random numbers come from the generator that is handed in, which the loop seeds for the step.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from smoothseg import networks
from smoothseg.errors import ConfigError, DataError
from smoothseg.protocols import Dataset, Denoiser, Sample
from smoothseg_training.data import Batch, Cache, resized
from smoothseg_training.options import DenoiserTraining, SegmenterTraining, Training

__all__ = [
    "DenoiserObjective",
    "Objective",
    "SegmenterObjective",
    "class_weights",
    "disagreement",
    "evenly",
    "resized_noise",
]

Pixels = npt.NDArray[np.uint8]

PSNR_SIGMAS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Noise at which a denoiser is measured, where it lies in the range it is trained for."""


_CLASS_POWERS = {"inverse": -1.0, "sqrt-inverse": -0.5, "fourth-root-inverse": -0.25}
"""Power of a class's share of the pixels that is its weight in the loss."""


class Objective(Protocol):
    """A loss to minimise and figures to watch."""

    def loss(self, network: torch.nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of `network` on `batch`, a scalar, on the generator's device."""

    def measure(self, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Return the figures of `network` (in eval mode) on the validation images."""


class SegmenterObjective:
    """Cross-entropy at the crop's resolution, ignored pixels left out."""

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
        """Return the mean cross-entropy a labelled pixel, weighted by class, and the disagreement of noisy copies."""
        if batch.labels is None:
            raise TypeError("a segmenter's batch needs labels")
        device, copies = generator.device, self._training.copies if self._training.consistency else 1
        images = _to_float(batch.images, device)
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
        """Return pixel accuracy and mean IoU at the images' own resolution; under the training noise, too."""
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
        """Return the standard deviation of each row's noise, or None without noise."""
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
        """Return images with noise of `sigma`, one a row, denoised if there is a denoiser."""
        images = images + sigma.view(-1, 1, 1, 1) * resized_noise(images.shape, scale, generator)
        if self._denoiser is None:
            return images
        size = images.shape[-2], images.shape[-1]
        left = networks.sigma_left(1.0, _source(size, scale), size)
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
            images = _to_float(_scaled(sample, scale)[None], device)
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


class DenoiserObjective:
    """Weighted squared error of the clean estimate; see `DenoiserTraining` for the weights."""

    def __init__(self, training: DenoiserTraining, validation: Cache | None) -> None:
        self._training = training
        self._validation = validation

    def loss(self, network: torch.nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Return the mean over pixels of the squared error, divided by sigma^2 (`epsilon`) or sigma (`x0`)."""
        clean = _to_float(batch.images, generator.device)
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
        """Return the mean PSNR in dB of the clipped estimate on central crops, by sigma and, if several, scale."""
        if self._validation is None:
            return {}
        low, high = self._training.sigma_range
        figures = {}
        for scale in sorted(set(self._training.scales)):
            name = f"psnr_scale{scale:g}_sigma" if len(set(self._training.scales)) > 1 else "psnr_sigma"
            for sigma in (value for value in PSNR_SIGMAS if low <= value <= high):
                values = []
                for index in evenly(len(self._validation), self._training.validation_images):
                    image = _central(_scaled(self._validation[index], scale), self._training.crop)
                    clean = _to_float(image[None], device)
                    generator = torch.Generator(device).manual_seed(index)
                    level = torch.full((1,), sigma * self._left(clean, scale), device=device)
                    estimate = network(self._noisy(clean, level, generator, scale), level).float().clamp(0, 1)
                    values.append(-10 * math.log10(max(float((estimate - clean).square().mean()), 1e-10)))
                figures[f"{name}{sigma:g}"] = float(np.mean(values))
        return figures

    def _left(self, clean: torch.Tensor, scale: float) -> float:
        """Return the noise at the network over the noise in which sigma is stated."""
        if self._training.sigma_at == "network":
            return 1.0
        size = clean.shape[-2], clean.shape[-1]
        return networks.sigma_left(1.0, _source(size, scale), size)

    def _range(self, clean: torch.Tensor, scale: float) -> tuple[float, float]:
        """Return the least and the most noise at the network."""
        low, high = self._training.sigma_range
        left = self._left(clean, scale)
        return low * left, high * left

    def _noisy(
        self, clean: torch.Tensor, sigma: torch.Tensor, generator: torch.Generator, scale: float
    ) -> torch.Tensor:
        """Return images with noise that has `sigma`, one a row, when it reaches the network."""
        if self._training.noise == "white" or scale == 1.0:
            noise = resized_noise(clean.shape, 1.0, generator)
        else:
            size = clean.shape[-2], clean.shape[-1]
            noise = resized_noise(clean.shape, scale, generator)
            noise = noise / networks.sigma_left(1.0, _source(size, scale), size)
        return clean + sigma.view(-1, 1, 1, 1) * noise


def disagreement(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far the predictions of noisy copies are apart, and how undecided their mean is, over all pixels.

    scores: (M, B, C, H, W) of M copies of each image. The first is the mean of KL(mean || copy), the second the mean
    entropy of the mean, both in nats (Jeong and Shin, "Consistency Regularization for Certified Robustness of Smoothed
    Classifiers", NeurIPS 2020, equation 6).
    """
    logs = scores.log_softmax(dim=2)
    mean = logs.logsumexp(dim=0) - math.log(len(scores))
    share = mean.exp()
    divergence = (share * (mean - logs)).sum(dim=2).mean()
    return divergence, -(share * mean).sum(dim=1).mean()


def resized_noise(shape: torch.Size, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return what is left of N(0, 1) noise after it was resized by `scale` to `shape` (B, C, H, W).

    Resizing is linear and nothing is clipped, so adding this to a resized clean image is the same as resizing a
    noisy one.
    """
    if scale == 1.0:
        return torch.randn(shape, generator=generator, device=generator.device)
    size = shape[-2], shape[-1]
    noise = torch.randn(*shape[:2], *_source(size, scale), generator=generator, device=generator.device)
    return networks.resize(noise, size)


def class_weights(samples: Cache, classes: int, kind: str) -> torch.Tensor | None:
    """Return a weight a class, float32 (C,), whose mean over the training pixels is 1; None for `none`.

    `inverse` is 1 / share, `sqrt-inverse` its square root and so on; shares are counted on up to 200 images. A class
    that is not seen there counts as a thousandth of a percent of the pixels.
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


def evenly(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` different indices below `count`, evenly spaced."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(count, wanted))})


def check_crop(sample: Sample, training: Training) -> None:
    """Raise `ConfigError` if the crop is larger than `sample` at the largest scale of the range."""
    height, width = sample.image.shape[:2]
    scale = min(training.scales)
    largest = scale * training.scale_range[1]
    if training.crop[0] > height * largest + 0.5 or training.crop[1] > width * largest + 0.5:
        raise ConfigError(
            f"crop {training.crop[0]}x{training.crop[1]} is larger than image '{sample.key}' at its largest: {height}x"
            f"{width} times image_scale {scale:g} times {training.scale_range[1]:g} of scale_range"
        )


def _source(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] / scale)), max(1, round(size[1] / scale))


def _to_float(images: Pixels, device: torch.device) -> torch.Tensor:
    """Return uint8 (B, H, W, 3) as float32 (B, 3, H, W) in [0, 1], channels last in memory."""
    tensor = torch.tensor(images, device=device)  # a copy: a dataset's arrays may be read-only
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def _scaled(sample: Sample, scale: float) -> Pixels:
    height, width = sample.image.shape[:2]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return sample.image if size == (height, width) else resized(sample.image, size)


def _central(image: Pixels, crop: tuple[int, int]) -> Pixels:
    """Return the middle of `image` in the size of `crop`; a smaller image is enlarged."""
    factor = max(1.0, crop[0] / image.shape[0], crop[1] / image.shape[1])
    if factor > 1.0:
        image = resized(image, (math.ceil(image.shape[0] * factor), math.ceil(image.shape[1] * factor)))
    top, left = (image.shape[0] - crop[0]) // 2, (image.shape[1] - crop[1]) // 2
    return image[top : top + crop[0], left : left + crop[1]]
