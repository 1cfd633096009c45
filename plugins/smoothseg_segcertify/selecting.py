"""From the selection's samples to a class for each pixel, and what counts as a hit of it in further samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # rechecking a certificate imports this module, and must not need torch
    import torch

    from smoothseg import Draw

__all__ = ["Hits", "Selection", "most_frequent"]


_AT_ONCE = 2**12
"""Pixels that are compared at once: of many small label maps. Large ones are compared one by one, which is faster."""


class Hits:
    """A tally of how often each pixel shows the class of `prediction` (H, W).

    Counts of disjoint samples add up, so that a tally may begin with the `hits` (H, W) of `trials` earlier samples.
    """

    def __init__(
        self,
        prediction: npt.NDArray[np.integer],
        *,
        hits: npt.NDArray[np.int32] | None = None,
        trials: int = 0,
    ) -> None:
        self._prediction = prediction.astype(np.int32)
        self._before = np.zeros(prediction.shape, np.int32) if hits is None else hits.astype(np.int32)
        self._there: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None
        self.trials = trials
        """How many samples were counted."""

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W)."""
        import torch

        if labels.shape[1:] != self._prediction.shape:
            raise ValueError(
                f"expected labels (B, {', '.join(map(str, self._prediction.shape))}), got {labels.shape}"
            )
        if self._there is None or self._counts is None:
            self._there = labels.new_tensor(self._prediction).int()
            self._counts = labels.new_tensor(self._before).int()
        step = max(1, _AT_ONCE // self._prediction.size)
        for start in range(0, len(labels), step):
            same = self.shown(labels[start : start + step]) == self._there
            self._counts += same[0] if len(same) == 1 else same.sum(0, dtype=torch.int32)
        self.trials += len(labels)

    def shown(self, samples: torch.Tensor) -> torch.Tensor:
        """Return what label maps (B, H, W) show at each pixel, in the indices of the prediction."""
        return samples

    @property
    def hits(self) -> npt.NDArray[np.int32]:
        """(H, W), the hits in all samples that were counted."""
        counts = self._before if self._counts is None else self._counts.cpu().numpy()
        return counts.astype(np.int32)


class Selection(Protocol):
    """Selects what the further samples of a certifier test."""

    def __call__(self, draw: Draw, n0: int) -> tuple[npt.NDArray[np.integer], Hits]:
        """Return the prediction (H, W) from the next `n0` samples, and an empty tally of its hits."""


def most_frequent(draw: Draw, n0: int) -> tuple[npt.NDArray[np.integer], Hits]:
    """Select the most frequent class of each pixel; a tie goes to the lowest class. A hit shows that class."""
    prediction = draw(n0).mode()
    return prediction, Hits(prediction)
