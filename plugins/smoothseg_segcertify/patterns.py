"""Counting whole label maps: the most frequent one of a few samples, and exact matches with it in many."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # rechecking a certificate imports this module, and must not need torch
    import torch

__all__ = ["Matches", "Patterns"]

_LABEL = np.dtype(">u2")
"""Big-endian, so that the order of the bytes is the lexicographic order of the labels."""


class Patterns:
    """A tally of distinct label maps.

    Every distinct map is kept once, compressed. In the worst case memory grows with the number of samples, so this is
    meant for the few samples of a selection.
    """

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()
        self._size: tuple[int, int] | None = None

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W) of class indices below 65536."""
        maps = labels.cpu().numpy().astype(_LABEL)
        for pattern in maps:
            # Equal maps compress to equal bytes: the compressor has no state beyond its input.
            self._counts[zlib.compress(pattern.tobytes(), level=1)] += 1
        self._size = maps.shape[1:]

    def mode(self) -> npt.NDArray[np.uint16]:
        """Return the most frequent label map, (H, W); a tie goes to the lexicographically smallest, row by row."""
        if self._size is None:
            raise ValueError("there is no most frequent label map of no samples")
        most = max(self._counts.values())
        tied = (pattern for pattern, count in self._counts.items() if count == most)
        labels = min(zlib.decompress(pattern) for pattern in tied)
        return np.frombuffer(labels, dtype=_LABEL).reshape(self._size).astype(np.uint16)


class Matches:
    """A tally of the label maps that equal one `pattern` (H, W) at every pixel."""

    def __init__(self, pattern: npt.NDArray[np.integer]) -> None:
        self._pattern = pattern.astype(np.int32)
        self._there: torch.Tensor | None = None
        self.count = 0

    def add(self, labels: torch.Tensor) -> None:
        """Count those of the label maps (B, H, W) that match."""
        if labels.shape[1:] != self._pattern.shape:
            raise ValueError(
                f"expected labels (B, {', '.join(map(str, self._pattern.shape))}), got {labels.shape}"
            )
        if self._there is None:
            self._there = labels.new_tensor(self._pattern).int()
        self.count += sum(int(bool((sample == self._there).all())) for sample in labels)
