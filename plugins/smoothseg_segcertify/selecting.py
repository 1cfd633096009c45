"""From the selection's samples to a class for each pixel, and what counts as a hit of it in further samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # rechecking a certificate imports this module, and must not need torch
    import torch

    from smoothseg import Draw, Hierarchy

__all__ = ["Hits", "MostFrequent", "Selecting", "Selection"]


class Hits:
    """A tally of how often each pixel shows the class of `prediction` (H, W)."""

    def __init__(self, prediction: npt.NDArray[np.integer]) -> None:
        self._prediction = prediction.astype(np.int32)
        self._before = np.zeros(prediction.shape, np.int32)
        self._there: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None
        self.trials = 0
        """How many samples were counted."""

    def begin(self, hits: npt.NDArray[np.int32], trials: int) -> None:
        """Begin with the `hits` (H, W) in `trials` earlier samples: counts of disjoint samples add up."""
        self._before, self._counts, self.trials = hits.astype(np.int32), None, trials

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W)."""
        import torch

        if labels.shape[1:] != self._prediction.shape:
            raise ValueError(
                f"expected labels (B, {', '.join(map(str, self._prediction.shape))}), got {labels.shape}"
            )
        # Not in the labels' own type, which may be too small for a count.
        if self._there is None:
            self._there = torch.from_numpy(self._prediction).to(labels.device)
        if self._counts is None:
            self._counts = torch.from_numpy(self._before.copy()).to(labels.device)
        self._counts += self.shown(labels, self._there).sum(0, dtype=self._counts.dtype)
        self.trials += len(labels)

    def shown(self, labels: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
        """Return where label maps (B, H, W) show the class of the prediction (H, W)."""
        return labels == prediction

    @property
    def hits(self) -> npt.NDArray[np.int32]:
        """(H, W), the hits in all samples that were counted."""
        counts = self._before if self._counts is None else self._counts.cpu().numpy()
        return counts.astype(np.int32)


class Selection(Protocol):
    """Selects what the further samples of a certifier test."""

    @property
    def counted(self) -> str:
        """What a hit is; see `smoothseg.Certifier`."""

    @property
    def hierarchy(self) -> Hierarchy | None:
        """What nodes a prediction has; None where it has classes, and before the selection is fitted."""

    def fitted(self, classes: Sequence[str] | None) -> Self:
        """Return the selection for a segmenter of these `classes`; see `smoothseg.Certifier`."""

    def select(self, draw: Draw, n0: int) -> npt.NDArray[np.integer]:
        """Return the prediction (H, W) from the next `n0` samples."""

    def tally(self, prediction: npt.NDArray[np.integer]) -> Hits:
        """Return an empty tally of the hits of a `prediction`."""


@dataclasses.dataclass(frozen=True)
class MostFrequent:
    """Selects the most frequent class of each pixel; a tie goes to the lowest class. A hit shows that class."""

    @property
    def counted(self) -> str:
        """What a hit is: the class of a `pixel` was seen."""
        return "pixel"

    @property
    def hierarchy(self) -> None:
        """There are no nodes: a prediction has classes."""
        return None

    def fitted(self, classes: Sequence[str] | None) -> Self:
        """Return the selection: it fits all classes."""
        return self

    def select(self, draw: Draw, n0: int) -> npt.NDArray[np.integer]:
        """Return the prediction (H, W) from the next `n0` samples."""
        return draw(n0).mode()

    def tally(self, prediction: npt.NDArray[np.integer]) -> Hits:
        """Return an empty tally of the hits of a `prediction`."""
        return Hits(prediction)


@dataclasses.dataclass(frozen=True)
class Selecting:
    """What certifiers share that select something before they test it."""

    selection: Selection = dataclasses.field(default=MostFrequent(), kw_only=True)

    @property
    def counted(self) -> str:
        """What a hit is, the class of a `pixel` or its `node`; see `smoothseg.Certifier`."""
        return self.selection.counted

    @property
    def hierarchy(self) -> Hierarchy | None:
        """What nodes a prediction has; None where it has classes, and before the certifier is fitted."""
        return self.selection.hierarchy

    def fitted(self, classes: Sequence[str] | None) -> Self:
        """Return the certifier for a segmenter of these `classes`; see `smoothseg.Certifier`."""
        selection = self.selection.fitted(classes)
        return self if selection is self.selection else dataclasses.replace(self, selection=selection)
