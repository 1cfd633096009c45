"""Which components have answers in closed form, to stand in for what a test is not about?"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from smoothseg.certificates.certifier import Tally
from smoothseg.certificates.stopping import INTERRUPTED, Look
from smoothseg.protocols import Sample
from smoothseg.smoothing.votes import Votes

__all__ = ["CountingDenoiser", "ImageDataset", "LabelDraw", "Stoppable", "ThresholdSegmenter", "tell"]


@dataclasses.dataclass(frozen=True)
class ThresholdSegmenter:
    """A segmenter: class `bright` where the first channel exceeds `threshold`, else `dark`.

    Under noise of level sigma, a pixel of value x is `bright` with probability Phi((x - threshold) / sigma): the
    smoothed model is known in closed form. With noise on the lattice of levels this holds where the threshold lies
    half-way between two levels, as 1/2 does.
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
    """A denoiser that changes nothing and records `sigmas` and `seeds`, one of each per row."""

    def __init__(self) -> None:
        self.sigmas: list[float] = []
        self.seeds: list[int] = []

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return `noisy`, (B, 3, H, W), unchanged."""
        self.sigmas += [sigma] * len(noisy)
        self.seeds += list(seeds)
        return noisy


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """A dataset of arrays: `images` are uint8 (H, W, 3), `labels` are uint8 (H, W) or None for each image."""

    images: Sequence[npt.NDArray[np.uint8]]
    labels: Sequence[npt.NDArray[np.uint8] | None]
    classes: tuple[str, ...] = ("dark", "bright")
    ignore: int = 255

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A grey for each class, the darkest first."""
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


_SURE = 50.0
"""The score of the label above all others: the softmax has no doubt, at any usual temperature."""


def tell(tally: Tally, labels: torch.Tensor, *, classes: int, scores: torch.Tensor | None = None) -> None:
    """Add label maps (B, H, W) of `classes` to a tally, and their scores if it asks for them.

    scores: (M, C, H, W) of the first M of them; those of the others leave no doubt about the label.
    """
    if add_scores := getattr(tally, "add_scores", None):
        given = 0 if scores is None else len(scores)
        if scores is not None and given:
            add_scores(scores)
        if given < len(labels):
            sure = torch.nn.functional.one_hot(labels[given:].long(), classes).movedim(-1, 1)
            add_scores(_SURE * sure.float())
    tally.add(labels)


class Stoppable(abc.ABC):
    """What draws for tests share: they can be asked to stop after so many samples.

    The attribute `stop_at` is the number of samples after which somebody asks to stop; None: nobody does. The attribute
    `looks` has everything that a certifier showed.
    """

    drawn: int
    stop_at: int | None = None

    def __init__(self) -> None:
        self.looks: list[Look] = []

    @abc.abstractmethod
    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        """Return the votes of the next `n` label maps, or `into` with them added."""

    def some(self, n: int, into: Tally) -> str | None:
        """Add the next `n` label maps to `into`, or those up to `stop_at`; return why there are fewer."""
        left = n if self.stop_at is None else min(n, max(1, self.stop_at - self.drawn))
        self(left, into=into)
        return None if left == n else INTERRUPTED

    def look(self, look: Look) -> str | None:
        """Keep `look`; return None, or a reason from `stop_at` on."""
        self.looks.append(look)
        return INTERRUPTED if self.stop_at is not None and self.drawn >= self.stop_at else None


class LabelDraw(Stoppable):
    """A draw of given label maps, to test certifiers without networks.

    labels: class indices (N, H, W), drawn in this order. classes: number of classes. sigma: noise level that the
    labels stand for. scores: floats (M, C, H, W) of the first M label maps, for tallies that ask for them; of all
    others, and without it of all, they leave no doubt about the label. first: the first label map that is drawn.

    The attribute `drawn` says how many label maps were drawn so far, those before `first` included.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        *,
        classes: int,
        sigma: float = 0.25,
        scores: npt.ArrayLike | None = None,
        first: int = 0,
    ) -> None:
        super().__init__()
        self._labels = torch.from_numpy(np.array(labels))
        self._classes = classes
        self._scores = None if scores is None else torch.from_numpy(np.array(scores))
        self.sigma = sigma
        self.drawn = first

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the label maps."""
        return self._labels.shape[1], self._labels.shape[2]

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        """Return the votes of the next `n` label maps, or `into` with them added.

        Raises `ValueError` if fewer than `n` are left.
        """
        if self.drawn + n > len(self._labels):
            raise ValueError(f"{self.drawn + n} samples asked for, {len(self._labels)} given")
        tally = Votes(self._classes, self.size, capacity=n) if into is None else into
        labels = self._labels[self.drawn : self.drawn + n]
        known = None if self._scores is None else self._scores[self.drawn : self.drawn + n]
        tell(tally, labels, classes=self._classes, scores=known)
        self.drawn += n
        return tally
