"""What a denoiser, a segmenter and a dataset promise, and the recipes that name them.

A *recipe* is a frozen dataclass with typed fields and defaults. Its fields are the options of the component
on the command line (`adm:steps=multi,weights=path.safetensors`), in YAML and in Python; `asdict` of it is the
provenance of a result; its `load` imports torch and reads weights. A *component* is what `load` returns.

The protocol of the fourth kind, the certifier, is in `certificates/certifier.py`, beside the certificates it makes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = [
    "KEY",
    "PROTOCOL_VERSION",
    "Dataset",
    "Denoiser",
    "Sample",
    "Segmenter",
    "Tracker",
    "Trainable",
    "option",
]

PROTOCOL_VERSION = 2
"""Raised when a protocol, hook or public import path changes in a way that plugins must follow."""


def option(default: Any, help: str) -> Any:
    """Return a dataclass field with `default` and a one-line `help` shown by `smoothseg components`."""
    return dataclasses.field(default=default, metadata={"help": help})


KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""What the key of an image looks like: it becomes part of file names."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One image of a dataset.

    key: unique in its dataset and fit for a file name (letters, digits, `-`, `_`, `.`).
    image: uint8 (H, W, 3), RGB.
    labels: uint8 (H, W), class indices or the dataset's `ignore`; None if there is no ground truth.
    """

    key: str
    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8] | None = None


@runtime_checkable
class Denoiser(Protocol):
    """Estimates the clean image under Gaussian noise of known standard deviation."""

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of every weight file in use, by file name; empty without weights."""

    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimate of `noisy`, float32 of the same shape on the same device.

        noisy: (B, 3, H, W) float32, an image in [0, 1] plus noise of standard deviation `sigma`, unclipped;
            any H and W.
        sigma: in [0, 1] pixel units. A network that works on [-1, 1] doubles it inside its own plugin.
        seeds: B integers of up to 128 bits, the only randomness that a denoiser may use
            (see `smoothseg.networks.standard_normal`). They do not depend on the image.

        Row i of the result depends only on row i of `noisy` and on `seeds[i]`, for every B.
        """


@runtime_checkable
class Segmenter(Protocol):
    """Scores every class at every pixel. It always decides; only certifiers abstain."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices; checked against the dataset's."""

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of every weight file in use, by file name; empty without weights."""

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return class scores (B, C, h, w), floating point, at any stride; larger means likelier.

        images: (B, 3, H, W) float32, RGB, about [0, 1] and not clipped (noise may exceed it);
            any H and W. The segmenter itself normalises, pads and slides windows.

        Row i of the result depends only on row i of `images`, for every B.
        """


@runtime_checkable
class Dataset(Protocol):
    """Images in a fixed order, with labels if there are any.

    A dataset may also have a string `licence`. The model card of a network trained on it repeats the licence.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour (0..255) for each class."""

    @property
    def ignore(self) -> int:
        """The label, 0..255 and not a class index, of pixels that metrics ignore."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of every sample, in order, without reading an image."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`; raise `DataError` with the file's name if it cannot be used as it is."""


@runtime_checkable
class Trainable(Protocol):
    """A segmenter's or denoiser's recipe that `smoothseg train` can train.

    The module that `network` returns has `config`, a mapping of JSON values from which the plugin rebuilds it,
    and maps

    - for a segmenter: images (B, 3, H, W), RGB about [0, 1], to scores (B, C, h, w) at any stride;
    - for a denoiser: noisy (B, 3, H, W), [0, 1] units and unclipped, and sigma (B,), to the unclipped
      estimate (B, 3, H, W) of the clean image.

    `smoothseg.weights.save` stores its state with `config`; the recipe's `load` reads both.
    """

    def network(self, classes: Sequence[str] | None) -> torch.nn.Module:
        """Return the untrained network; `classes` are the dataset's for a segmenter, None for a denoiser."""


class Tracker(Protocol):
    """Receives the figures of one run, for an experiment tracker."""

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Take finite numbers by name, as they are after `step` steps; `/` separates the parts of a name."""

    def close(self, *, failed: bool) -> None:
        """Write everything that is not written yet; `failed` says that the run did not finish."""
