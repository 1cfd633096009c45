"""How a network with its weights is put to use: frozen on a device in one arithmetic, an image at a time."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Literal, TypeVar, final

import torch
from torch import nn

from smoothseg.networks.fitting import in_rows

__all__ = ["DTYPES", "ImageSegmenter", "Precision", "frozen"]

Precision = Literal["float32", "bfloat16"]
"""The arithmetic of a network, as the option `precision` of a recipe names it."""

DTYPES: Mapping[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""The type of the numbers of each precision."""

Module = TypeVar("Module", bound=nn.Module)


def frozen(
    network: Module, *, precision: Precision, device: torch.device | str, channels_last: bool = True
) -> Module:
    """Return `network` ready for inference: in eval mode, on `device`, in `precision`, without gradients.

    The network is taken over: it is changed in place. channels_last: store images and kernels with the channels side
    by side, as convolutions on GPUs like them. Layouts differ in the last bits of a result.
    """
    network = network.eval().to(device, DTYPES[precision])
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.requires_grad_(False)


class ImageSegmenter(abc.ABC):
    """A network with its weights as a `smoothseg.Segmenter` that sees one image at a time.

    A subclass says in `scores` how an image goes through its network. Which kernel a library picks, and with it the
    last bits of a result, may depend on the size of the batch: with one image a pass no row depends on the others.

    classes: class names in the order of the label indices. digests: sha256 of every file that the network was made of,
    by name.
    """

    def __init__(self, *, classes: tuple[str, ...], digests: Mapping[str, str]) -> None:
        self._classes = classes
        self._digests = dict(digests)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return self._classes

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, and of the other files that the network was made of, by name."""
        return self._digests

    @final
    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, C, h, w) of images (B, 3, H, W); see `scores` and `smoothseg.Segmenter.segment`."""
        return in_rows(lambda rows: self.scores(images[rows]), len(images))

    @abc.abstractmethod
    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return the scores (1, C, h, w), float32, of one RGB image (1, 3, H, W) about [0, 1], not normalised."""
