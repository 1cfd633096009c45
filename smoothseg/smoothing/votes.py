"""How often each class was seen at each pixel, added batch by batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Votes"]

_BAND = 2**15
"""Pixels that `Votes.mode` compares at a time, so that they stay in a processor's cache."""


class Votes:
    """Class counts per pixel over n samples.

    counts: (C, H, W) integers on the device; n: the number of samples added. Label maps are not kept.
    """

    def __init__(
        self, classes: int, size: tuple[int, int], *, capacity: int, device: torch.device | str = "cpu"
    ) -> None:
        """Start with no votes; `capacity` is the number of samples that will be added at most."""
        dtype = torch.int16 if capacity < 2**15 else torch.int32
        self.counts = torch.zeros((classes, *size), dtype=dtype, device=device)
        self.capacity = capacity
        self.n = 0

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W) of class indices below C."""
        if labels.shape[1:] != self.counts.shape[1:]:
            raise ValueError(
                f"expected labels (B, {', '.join(map(str, self.counts.shape[1:]))}), got {labels.shape}"
            )
        if self.n + len(labels) > self.capacity:
            raise ValueError(f"{self.n + len(labels)} samples are more than the {self.capacity} announced")
        # Within one type, comparing and adding are vectorised: several times faster than adding booleans.
        same = torch.empty_like(self.counts[0])
        for sample in labels:
            sample = sample.to(self.counts.dtype)
            for c, count in enumerate(self.counts):
                count += torch.eq(sample, c, out=same)
        self.n += len(labels)

    def mode(self) -> npt.NDArray[np.int16]:
        """Return the most frequent class per pixel, (H, W); a tie goes to the lowest class."""
        # One integer holds a count and, below it, how low the class is: the largest has the most votes and, among
        # equals, the lowest class. That takes one maximum a class instead of a comparison and a masked copy.
        classes, height, width = self.counts.shape
        largest = (self.capacity + 1) * classes
        dtype = torch.int16 if largest < 2**15 else torch.int32 if largest < 2**31 else torch.int64
        index = torch.empty((height, width), dtype=torch.int16, device=self.counts.device)
        for start in range(0, height, band := max(1, _BAND // width)):
            counts = self.counts[:, start : start + band].to(dtype)
            best = counts[0] * classes + (classes - 1)
            for c in range(1, classes):
                torch.maximum(best, counts[c] * classes + (classes - 1 - c), out=best)
            index[start : start + band] = classes - 1 - best % classes
        return index.cpu().numpy()

    def hits(self, prediction: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return how often the class of `prediction` (H, W) was seen per pixel, (H, W)."""
        index = torch.from_numpy(prediction.astype(np.int64)).to(self.counts.device)
        return self.counts.gather(0, index[None])[0].to(torch.int32).cpu().numpy()
