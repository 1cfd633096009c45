"""A toy dataset and toy networks that can be trained, under names of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from smoothseg import Sample
from smoothseg.components.plugins import plugins


class Blocks:
    """Random rectangles of three colours; the label of a pixel is its colour, a corner of each image is ignored."""

    licence = "CC0-1.0"
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    ignore = 255
    part, changed = "image", -1

    def __init__(self, count, size, labels, classes):
        self._count, self._size, self._labels = count, size, labels
        self.classes = classes
        self.keys = tuple(f"blocks-{index}" for index in range(count))

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        generator = np.random.default_rng(index)
        labels = np.zeros(self._size, dtype=np.uint8)
        for label in (1, 2):
            top, left = generator.integers(0, self._size[0] // 2), generator.integers(0, self._size[1] // 2)
            labels[top : top + self._size[0] // 2, left : left + self._size[1] // 2] = label
        image = np.array(self.palette, dtype=np.uint8)[labels]
        labels[:2, :3] = self.ignore
        if index == self.changed:
            (image if self.part == "image" else labels)[5, 7] = 77 if self.part == "image" else self.ignore
        image.setflags(write=False)
        labels.setflags(write=False)
        return Sample(self.keys[index], image, labels if self._labels else None)


@dataclasses.dataclass(frozen=True)
class BlocksRecipe:
    """A toy dataset."""

    count: int = 5
    height: int = 20
    width: int = 28
    labels: bool = True
    last: str = "blue"
    root: str | None = None

    def load(self):
        _, _, altered = (self.root or "").partition("+")
        blocks = Blocks(self.count, (self.height, self.width), self.labels, ("red", "green", self.last))
        if altered:  # another folder may hold other files: `root=/place+image-2` differs in image 2
            blocks.part, _, index = altered.partition("-")
            blocks.changed = int(index)
        return blocks


class ToySegmenter(torch.nn.Module):
    """Two convolutions with batch normalisation and dropout; scores at half the resolution."""

    def __init__(self, classes):
        super().__init__()
        self.config = {"classes": classes}
        self.first = torch.nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(6)
        self.drop = torch.nn.Dropout(0.1)
        self.last = torch.nn.Conv2d(6, classes, 1)

    def forward(self, images):
        return self.last(self.drop(self.norm(self.first(images)).relu()))


class ToyDenoiser(torch.nn.Module):
    """A residual convolution that is told sigma."""

    def __init__(self):
        super().__init__()
        self.config = {}
        self.body = torch.nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, noisy, sigma):
        level = sigma.view(-1, 1, 1, 1).expand(-1, 1, *noisy.shape[-2:])
        return noisy - self.body(torch.cat([noisy, level], dim=1))


@dataclasses.dataclass(frozen=True)
class ToySegmenterRecipe:
    """A toy segmenter to train."""

    def network(self, classes):
        return ToySegmenter(len(classes))

    def load(self, device):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class ToyDenoiserRecipe:
    """A toy denoiser to train."""

    def network(self, classes):
        assert classes is None
        return ToyDenoiser()

    def load(self, device):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class UntrainableRecipe:
    """A toy without a network."""

    def load(self, device):
        raise NotImplementedError


class _Labelled:
    """Three images of 4x6 with chosen labels."""

    classes = ("a", "b", "c")
    ignore = 255

    def __init__(self, *labels):
        self._labels = [np.array(rows, dtype=np.uint8) for rows in labels]

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, index):
        labels = self._labels[index]
        return Sample(str(index), np.full((*labels.shape, 3), 128, dtype=np.uint8), labels)


@pytest.fixture
def labelled():
    """What makes a dataset of grey images with the given label maps."""
    return _Labelled


@pytest.fixture(autouse=True)
def trainable_toys():
    """Register dataset `blocks`, and `toy` and `untrainable` segmenters and denoisers, for one test."""
    offered = {
        "dataset": {"blocks": BlocksRecipe},
        "segmenter": {"toy": ToySegmenterRecipe, "untrainable": UntrainableRecipe},
        "denoiser": {"toy": ToyDenoiserRecipe, "untrainable": UntrainableRecipe},
    }
    for kind, recipes in offered.items():
        for name, recipe in recipes.items():
            plugins()[kind].register(name, recipe, "tests")
    yield
    for kind, recipes in offered.items():
        for name in recipes:
            del plugins()[kind]._entries[name]


@pytest.fixture
def segmenter_training():
    """Return a function from changes to a small `SegmenterTraining`."""
    from smoothseg_training.configuration import SegmenterTraining, configure

    base = {
        "dataset": "blocks", "segmenter": "toy", "steps": 6, "batch_size": 3, "crop": "12x16", "warmup": 2,
        "scale_range": (0.8, 1.25),
    }  # fmt: skip
    return lambda **changes: configure(SegmenterTraining, base | changes)


@pytest.fixture
def denoiser_training():
    """Return a function from changes to a small `DenoiserTraining`."""
    from smoothseg_training.configuration import DenoiserTraining, configure

    base = {"dataset": "blocks", "denoiser": "toy", "steps": 6, "batch_size": 3, "crop": "12x16", "warmup": 2}
    return lambda **changes: configure(DenoiserTraining, base | changes)
