"""Which crops does the network see at a step? A pure function of (dataset, configuration, seed, step) decides.

Steps share no state, so a resumed run continues with exactly the crops that the interrupted run would have seen.
Neither the number of threads nor the cache changes a batch.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from smoothseg.errors import DataError
from smoothseg.protocols import Dataset, Sample
from smoothseg_training.options import Training

__all__ = ["Batch", "Batches", "Cache", "augment", "resized"]

_ORDER, _ROW, _SCALE = 0, 1, 2  # independent streams of random numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """The crops of one step.

    images: uint8 (B, H, W, 3). labels: uint8 (B, H, W), or None for a denoiser. image_scale: factor by which images of
    the dataset were resized, without the random scaling.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8] | None
    image_scale: float


class Cache:
    """A dataset whose samples are kept in memory, decoded, as long as they fit.

    limit: in bytes. Samples are visited in random order; the first ones stay, and the others are read every time.
    """

    def __init__(self, dataset: Dataset, *, limit: float) -> None:
        self.dataset = dataset
        self._limit = limit
        self._held: dict[int, Sample] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index in self._held:
            return self._held[index]
        sample = self.dataset[index]
        size = sample.image.nbytes + (0 if sample.labels is None else sample.labels.nbytes)
        with self._lock:
            if index not in self._held and self._bytes + size <= self._limit:
                self._held[index] = sample
                self._bytes += size
        return sample


class Batches:
    """The batches of a run by step; every image is used once before any is used again."""

    def __init__(self, samples: Cache, training: Training) -> None:
        self._samples = samples
        self._training = training

    def __getitem__(self, step: int) -> Batch:
        training = self._training
        count = len(self._samples)
        scale = self._scale(step)
        crops = []
        for row in range(training.batch_size):
            epoch, place = divmod(step * training.batch_size + row, count)
            index = int(_order(training.seed, epoch, count)[place])
            generator = np.random.default_rng([training.seed, _ROW, step, row])
            crops.append(augment(self._samples[index], training, generator, image_scale=scale))
        labels = [label for _, label in crops if label is not None]
        return Batch(np.stack([image for image, _ in crops]), np.stack(labels) if labels else None, scale)

    def _scale(self, step: int) -> float:
        scales = self._training.scales
        if len(scales) == 1:
            return scales[0]
        return scales[np.random.default_rng([self._training.seed, _SCALE, step]).integers(len(scales))]

    @contextlib.contextmanager
    def ahead(self, start: int, *, workers: int) -> Iterator[Iterator[Batch]]:
        """Yield an iterator over the batches from step `start`, which `workers` background threads make."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="smoothseg-data")
        try:
            yield self._stream(pool, start, workers + 1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _stream(self, pool: ThreadPoolExecutor, start: int, depth: int) -> Iterator[Batch]:
        pending: collections.deque[Future[Batch]] = collections.deque()
        step = start
        while True:
            while len(pending) < depth:
                pending.append(pool.submit(self.__getitem__, step))
                step += 1
            yield pending.popleft().result()


def augment(
    sample: Sample, training: Training, generator: np.random.Generator, *, image_scale: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """Return a random crop of `sample` (H, W, 3), resized by `image_scale`, and, for a segmenter, of its labels (H, W).

    Scale, place, mirroring and photometric change are drawn from `generator`; see `Training` for the rules.
    """
    height, width = training.crop
    image_height, image_width = sample.image.shape[:2]
    low, high = (math.log(bound) for bound in training.scale_range)
    factor = image_scale * math.exp(generator.uniform(low, high))
    factor = max(factor, height / image_height, width / image_width)
    # The box of the image that becomes the crop, in image pixels; resizing it alone saves resizing the rest.
    box_height, box_width = min(height / factor, image_height), min(width / factor, image_width)
    top = generator.uniform(0, image_height - box_height)
    left = generator.uniform(0, image_width - box_width)
    box = (left, top, left + box_width, top + box_height)
    mirrored = generator.random() < 0.5 and training.flip
    image = resized(sample.image, _softened(training, generator), box=box)
    if image.shape[:2] != training.crop:
        image = resized(image, training.crop)
    if training.jitter:
        image = _photometric(image, training.jitter, generator)
    labels = None
    if training.kind == "segmenter":
        if sample.labels is None:
            raise DataError(f"sample '{sample.key}' has no labels, which a segmenter needs")
        labels = resized(sample.labels, training.crop, box=box)
    if mirrored:
        image = image[:, ::-1]
        labels = None if labels is None else labels[:, ::-1]
    return image, labels


def _softened(training: Training, generator: np.random.Generator) -> tuple[int, int]:
    """Return the size (h, w) to which a crop is shrunk first; without softening, draw no random number."""
    if training.soften == 1.0:
        return training.crop
    factor = math.exp(generator.uniform(0.0, math.log(training.soften)))
    return max(1, round(training.crop[0] / factor)), max(1, round(training.crop[1] / factor))


def resized(
    array: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return an image (H, W, 3), bilinear and antialiased, or labels (H, W), nearest, of `size` (h, w).

    box: left, top, right, bottom of the part to take, in pixels of `array`; None takes all.
    """
    method = Image.Resampling.BILINEAR if array.ndim == 3 else Image.Resampling.NEAREST
    return np.array(Image.fromarray(array).resize((size[1], size[0]), method, box=box))


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def _photometric(
    image: npt.NDArray[np.uint8], strength: float, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return `image` with gain, colour balance, contrast and gamma changed, by one table of 256 values per channel."""
    gain = np.exp(generator.uniform(-strength, strength) + generator.uniform(-strength, strength, 3) / 2)
    contrast, gamma = np.exp(generator.uniform(-strength, strength, 2))
    values = np.linspace(0.0, 1.0, 256)[:, None] ** gamma
    mean = float(image.mean()) / 255.0
    table = ((values - mean) * contrast + mean) * gain
    table = np.rint(np.clip(table, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], axis=-1)
