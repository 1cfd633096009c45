"""Public toy components with closed-form answers, and the checks every component must pass.

A plugin's own tests call `check_denoiser`, `check_segmenter`, `check_certifier` or `check_dataset` on what its
recipe loads; each raises `AssertionError` with what was broken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from smoothseg import noise
from smoothseg.certificate import Verdict
from smoothseg.protocols import Certifier, Dataset, Denoiser, Sample, Segmenter
from smoothseg.votes import Tally, Votes

__all__ = [
    "CountingDenoiser",
    "ImageDataset",
    "LabelDraw",
    "ThresholdSegmenter",
    "check_certifier",
    "check_dataset",
    "check_denoiser",
    "check_segmenter",
]

_SIZES = ((24, 40), (33, 47))
"""Image sizes the checks use: one of round numbers, one odd; neither is square."""


@dataclasses.dataclass(frozen=True)
class ThresholdSegmenter:
    """Class `bright` where the first channel exceeds `threshold`, else `dark`.

    Under noise sigma a pixel of value x is `bright` with probability Phi((x - threshold) / sigma): the smoothed
    model is known in closed form.
    """

    threshold: float = 0.5

    @property
    def classes(self) -> tuple[str, ...]:
        """`dark` and `bright`."""
        return ("dark", "bright")

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (B, 2, H, W) of images (B, 3, H, W)."""
        bright = images[:, :1] - self.threshold
        return torch.cat([-bright, bright], dim=1)


class CountingDenoiser:
    """Changes nothing and remembers what it was told: `sigmas` and `seeds`, a row each."""

    def __init__(self) -> None:
        self.sigmas: list[float] = []
        self.seeds: list[int] = []

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return `noisy`, (B, 3, H, W)."""
        self.sigmas += [sigma] * len(noisy)
        self.seeds += list(seeds)
        return noisy


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """A dataset of arrays: `images` uint8 (H, W, 3), `labels` uint8 (H, W) or None each."""

    images: Sequence[npt.NDArray[np.uint8]]
    labels: Sequence[npt.NDArray[np.uint8] | None]
    classes: tuple[str, ...] = ("dark", "bright")
    ignore: int = 255

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A grey a class."""
        steps = max(1, len(self.classes) - 1)
        return tuple((200 * i // steps,) * 3 for i in range(len(self.classes)))

    @property
    def keys(self) -> tuple[str, ...]:
        """`image-0`, `image-1`, ..."""
        return tuple(f"image-{i}" for i in range(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.keys[index], self.images[index], self.labels[index])


class LabelDraw:
    """A draw whose label maps are given, to test certifiers without networks.

    labels: (N, H, W) class indices; the first n that are asked for come first. sigma: the noise they stand for.
    """

    def __init__(self, labels: npt.ArrayLike, *, classes: int, sigma: float = 0.25) -> None:
        self._labels = torch.from_numpy(np.array(labels))
        self._classes = classes
        self.sigma = sigma
        self.drawn = 0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the label maps."""
        return self._labels.shape[1], self._labels.shape[2]

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        """Return the votes of the next `n` label maps, or `into` with them added."""
        if self.drawn + n > len(self._labels):
            raise ValueError(f"{self.drawn + n} samples asked for, {len(self._labels)} given")
        tally = Votes(self._classes, self.size, capacity=n) if into is None else into
        tally.add(self._labels[self.drawn : self.drawn + n])
        self.drawn += n
        return tally


def check_denoiser(
    denoiser: Denoiser, *, sigma: float = 0.25, atol: float = 0.0, device: torch.device | str = "cpu"
) -> None:
    """Assert the promises of `Denoiser`: shape, dtype, device, odd sizes, determinism, independence of rows.

    atol: how far a row may differ between batch sizes; 0 asks for the same bits, which votes that do not
    depend on the batch size need. device: where the denoiser was loaded to.
    """
    assert isinstance(denoiser, Denoiser), f"{type(denoiser).__name__} is no smoothseg.Denoiser"
    _check_digests(denoiser)
    for size in _SIZES:
        noisy, seeds = _noisy(size, sigma).to(device), [11, 12, 2**127 + 13]

        def denoise(rows: slice, noisy: torch.Tensor = noisy, seeds: list[int] = seeds) -> torch.Tensor:
            return denoiser.denoise(noisy[rows].clone(), sigma, seeds=seeds[rows])

        result = _check_rows(denoise, atol, f"denoise at {size}")
        assert result.shape == noisy.shape, f"denoise: expected shape {noisy.shape}, got {result.shape}"
        assert result.dtype == torch.float32, f"denoise: expected float32, got {result.dtype}"
        assert result.device == noisy.device, f"denoise: expected {noisy.device}, got {result.device}"


def check_segmenter(segmenter: Segmenter, *, atol: float = 0.0, device: torch.device | str = "cpu") -> None:
    """Assert the promises of `Segmenter`: shape, dtype, device, odd sizes, determinism, independence of rows.

    atol, device: as for `check_denoiser`.
    """
    assert isinstance(segmenter, Segmenter), f"{type(segmenter).__name__} is no smoothseg.Segmenter"
    _check_digests(segmenter)
    classes = segmenter.classes
    assert classes, "classes is empty"
    assert len(set(classes)) == len(classes), f"classes has a name twice: {classes}"
    for size in _SIZES:
        images = _noisy(size, 0.1).to(device)

        def segment(rows: slice, images: torch.Tensor = images) -> torch.Tensor:
            return segmenter.segment(images[rows].clone())

        result = _check_rows(segment, atol, f"segment at {size}")
        assert result.ndim == 4, f"segment: expected scores (B, C, h, w), got shape {tuple(result.shape)}"
        assert result.is_floating_point(), f"segment: expected floating point scores, got {result.dtype}"
        assert result.device == images.device, f"segment: expected {images.device}, got {result.device}"
        expected = (len(images), len(classes))
        assert result.shape[:2] == expected, (
            f"segment: expected (B, C) = {expected}, got {tuple(result.shape[:2])}"
        )


def check_certifier(certifier: Certifier) -> None:
    """Assert the promises of `Certifier` on label maps that always agree and on ones that never do."""
    assert certifier.counted in ("pixel", "pattern"), (
        f"counted is {certifier.counted!r}, not 'pixel' or 'pattern'"
    )
    height, width, classes = 3, 5, 4
    constant = np.arange(height * width).reshape(height, width) % classes
    agreeing = LabelDraw(np.broadcast_to(constant, (certifier.samples, height, width)), classes=classes)
    certificate = certifier.certify(agreeing)  # type: ignore[arg-type]
    assert agreeing.drawn <= certifier.samples, "certify drew more samples than `samples` says"
    assert (certificate.prediction == constant).all(), (
        "certify did not predict the only class that was ever seen"
    )
    scattered = np.random.Generator(np.random.Philox(0)).integers(
        0, classes, (certifier.samples, height, width)
    )
    abstaining = certifier.certify(LabelDraw(scattered, classes=classes))  # type: ignore[arg-type]
    assert not abstaining.certified.any(), "certify certified pixels whose labels were drawn uniformly"
    for result in (certificate, abstaining):
        again = certifier.decide(result.hits, result.trials, sigma=0.25)
        assert isinstance(again, Verdict), f"decide: expected a Verdict, got {type(again).__name__}"
        assert (again.certified == result.certified).all(), "decide contradicts certify on the same counts"
        assert np.isclose(again.radius, result.radius, equal_nan=True), (
            "decide gives another radius than certify"
        )


def check_dataset(dataset: Dataset, *, samples: int = 3) -> None:
    """Assert the promises of `Dataset` on its first `samples` samples."""
    assert len(dataset.keys) == len(dataset), "keys and len disagree"
    assert len(set(dataset.keys)) == len(dataset.keys), "a key occurs twice"
    assert all(key and set(key) <= _KEY for key in dataset.keys), "a key is not fit for a file name"
    assert len(dataset.palette) == len(dataset.classes), "palette and classes differ in length"
    assert len(dataset.classes) <= dataset.ignore <= 255, "ignore must be no class index and at most 255"
    for index in range(min(samples, len(dataset))):
        sample, again = dataset[index], dataset[index]
        assert sample.key == dataset.keys[index], (
            f"sample {index} has key {sample.key}, not {dataset.keys[index]}"
        )
        assert sample.image.dtype == np.uint8, (
            f"{sample.key}: expected a uint8 image, got {sample.image.dtype}"
        )
        assert sample.image.shape[2:] == (3,), f"{sample.key}: expected (H, W, 3), got {sample.image.shape}"
        assert (sample.image == again.image).all(), f"{sample.key}: reading it twice gives two images"
        if sample.labels is not None:
            assert sample.labels.dtype == np.uint8, (
                f"{sample.key}: expected uint8 labels, got {sample.labels.dtype}"
            )
            assert sample.labels.shape == sample.image.shape[:2], (
                f"{sample.key}: labels and image differ in size"
            )
            known = (sample.labels < len(dataset.classes)) | (sample.labels == dataset.ignore)
            assert known.all(), f"{sample.key}: a label is neither a class nor ignore"


_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def _noisy(size: tuple[int, int], sigma: float) -> torch.Tensor:
    """Return three noisy images (3, 3, H, W), each another gradient."""
    rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    clean = torch.stack([rows * columns, (rows + columns) / 2, (1 - rows) * columns])
    return clean[:, None] + sigma * noise.standard_normal([1, 2, 3], (3, *size))


def _check_rows(apply: Callable[[slice], torch.Tensor], atol: float, what: str) -> torch.Tensor:
    """Assert that three rows at once equal the same rows one by one and once more, and return them."""
    together = apply(slice(0, 3))
    assert bool(torch.isfinite(together).all()), f"{what}: the result is not finite"
    assert torch.equal(apply(slice(0, 3)), together), f"{what}: the same input gave another result"
    for i in range(3):
        alone = apply(slice(i, i + 1))
        assert len(alone) == 1, f"{what}: one row gave {len(alone)}"
        worst = float((alone[0] - together[i]).abs().max())
        assert worst <= atol, f"{what}: row {i} depends on the batch it is in (by up to {worst:.3g})"
    return together


def _check_digests(component: Denoiser | Segmenter) -> None:
    for name, digest in component.digests.items():
        right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        assert right, f"digest of {name}: expected 64 hexadecimal digits, got {digest!r}"
