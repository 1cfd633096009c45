"""Nothing of size samples x H x W is held: label maps are counted and forgotten."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch

from smoothseg.components.plugins import plugins
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import Draw
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter

IMAGE = np.random.Generator(np.random.Philox(4)).integers(60, 200, (60, 84, 3), dtype=np.uint8)
PIXELS = IMAGE.shape[0] * IMAGE.shape[1]
EARLY, LATE, SAMPLES = 20, 100, 110
KEPT = (LATE - EARLY) * PIXELS


class Forgetful(CountingDenoiser):
    """Changes nothing and remembers nothing."""

    def denoise(self, noisy, sigma, *, seeds):
        return noisy


class Keeper:
    """Counts nothing and keeps every label map, as tensors or as arrays."""

    def __init__(self, keep):
        self.keep = keep
        self.maps = []

    def add(self, labels):
        self.maps += [self.keep(labels)]


def held():
    """Return the bytes in live tensors and in Python and numpy objects; torch's storage is unknown to tracemalloc."""
    gc.collect()
    storages = {}
    for found in gc.get_objects():
        if type(found) is torch.Tensor:
            storage = found.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values()) + tracemalloc.get_traced_memory()[0]


def growth(use):
    """Return how many bytes more are held after `LATE` samples than after `EARLY`, while `use(draw)` draws."""
    seen, drawn = {}, 0

    def look(count):
        nonlocal drawn
        drawn += count
        if drawn in (EARLY, LATE):
            seen[drawn] = held()

    model = BaseModel(Forgetful(), ThresholdSegmenter(), Geometry(0.5))
    draw = Draw(model, IMAGE, "key", sigma=0.25, seed=0, batch_size=5, progress=look)
    tracemalloc.start()
    try:
        result = use(draw)
    finally:
        tracemalloc.stop()
    assert draw.drawn == SAMPLES
    del result
    return seen[LATE] - seen[EARLY]


@pytest.mark.parametrize("spec", ["holm:n0=10,n=100", "naive-pixel:n0=10,n=100", "naive-pattern:n0=5,n=105"])
def test_memory_does_not_grow_with_the_number_of_samples(spec):
    certifier = plugins()["certifier"].recipe(spec).load()
    assert growth(certifier.certify) < KEPT / 10


@pytest.mark.parametrize(
    "keep", [torch.clone, lambda labels: labels.numpy().copy()], ids=["tensors", "arrays"]
)
def test_kept_label_maps_would_be_seen(keep):
    assert growth(lambda draw: draw(SAMPLES, into=Keeper(keep))) >= KEPT
