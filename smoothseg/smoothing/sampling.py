"""The only loop over noise samples: from an image to label maps that are counted and discarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, overload

import torch

from smoothseg.certificates.certifier import Tally
from smoothseg.certificates.stopping import ASKED, Look
from smoothseg.errors import PluginError, first_line, out_of_memory
from smoothseg.smoothing.geometry import enlarged
from smoothseg.smoothing.noise import NoisyImage
from smoothseg.smoothing.stop import Stop
from smoothseg.smoothing.votes import Votes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from smoothseg.smoothing.base_model import BaseModel

__all__ = ["BatchSize", "Draw"]

T = TypeVar("T", bound=Tally)


class BatchSize:
    """How many noise samples are labelled at once; a shortage of memory halves it, for good.

    halved: receives the new size.
    """

    def __init__(self, size: int, *, halved: Callable[[int], None] | None = None) -> None:
        self.size = size
        self._halved = halved

    def halve(self, failed: int) -> None:
        """Go on with half of `failed`, the number of samples, at least 2, that were too many."""
        self.size = failed // 2
        if self._halved is not None:
            self._halved(self.size)


class Draw:
    """Fresh noise samples of one image, labelled and counted.

    Samples are numbered 0, 1, 2, ... and each call continues after the last one. The draws of a certifier are therefore
    disjoint by construction.
    """

    def __init__(
        self,
        model: BaseModel,
        image: npt.NDArray[np.uint8],
        key: str,
        *,
        sigma: float,
        seed: int,
        noise: str = "lattice",
        batch_size: int | BatchSize = 1,
        device: torch.device | str = "cpu",
        first: int = 0,
        progress: Callable[[int], None] | None = None,
        looked: Callable[[Look], object] | None = None,
        stop: Stop | None = None,
    ) -> None:
        """image: uint8 (H, W, 3). key: its key. noise: its kind. progress: receives the number of samples just done.

        batch_size: samples labelled at once. Where memory is short they become fewer, and no count changes.
        first: number of the first sample, where earlier ones were drawn before.
        looked: receives what a certifier that may stop at any time shows; asks it to stop by returning True.
        stop: where such a certifier is asked to stop by others.
        """
        self._model = model
        self._noisy = NoisyImage(image, key, sigma=sigma, seed=seed, kind=noise, device=device)
        self._size = image.shape[0], image.shape[1]
        self._sigma = sigma
        self._batch = batch_size if isinstance(batch_size, BatchSize) else BatchSize(batch_size)
        self._device = device
        self._progress = progress
        self._looked = looked
        self._stop = Stop() if stop is None else stop
        self._drawn = first

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in [0, 1] pixel units."""
        return self._sigma

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self._size

    @property
    def drawn(self) -> int:
        """How many samples have been drawn so far, before `first`, too."""
        return self._drawn

    @overload
    def __call__(self, n: int) -> Votes: ...

    @overload
    def __call__(self, n: int, into: T) -> T: ...

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        """Draw the next `n` samples and return their votes, or `into` with their label maps added."""
        tally = (
            Votes(len(self._model.segmenter.classes), self.size, capacity=n, device=self._device)
            if into is None
            else into
        )
        end = self._drawn + n
        while self._drawn < end:
            self._draw(end, tally)
        return tally

    def some(self, n: int, into: Tally) -> str | None:
        """Add the label maps of the next `n` samples to `into`; None, or the reason for which there are fewer.

        The batch that is being labelled when somebody asks to stop is the last one; there is at least one.
        """
        begin, end = self._drawn, self._drawn + n
        self._stop.heeded = True
        while self._drawn < end:
            if self._stop.asked is not None and self._drawn > begin:
                return self._stop.asked
            self._draw(end, into)
        return None

    def look(self, look: Look) -> str | None:
        """Show what is certified now; return None, or the reason for which somebody asks to stop."""
        if self._looked is not None and self._looked(look) is True:
            self._stop.ask(ASKED)
        return self._stop.asked

    def _draw(self, end: int, tally: Tally) -> None:
        """Add one batch of samples, none of them from number `end` on; or make batches smaller."""
        indices = range(self._drawn, min(end, self._drawn + self._batch.size))
        scored = getattr(tally, "add_scores", None)
        found = self._labelled(indices, scored=scored is not None)
        if found is None:
            self._batch.halve(len(indices))
            return
        scores, labels = found
        if scored is not None and scores is not None:
            for one in scores:  # one by one: at the image's size they are large
                scored(enlarged(one[None], self.size))
        tally.add(labels)
        self._drawn = indices.stop
        if self._progress is not None:
            self._progress(len(indices))

    def _labelled(
        self, indices: range, *, scored: bool = False
    ) -> tuple[torch.Tensor | None, torch.Tensor] | None:
        """Return the labels of the samples `indices`, behind their scores (B, C, h, w) where those are asked for.

        None where memory is short, unless it is one sample.
        """
        try:
            noisy, seeds = self._noisy.samples(indices), self._noisy.seeds(indices)
            if scored:
                return self._model.scored(noisy, self._sigma, seeds=seeds)
            return None, self._model.predict(noisy, self._sigma, seeds=seeds)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(indices) == 1:
                raise PluginError(f"out of memory with one noise sample: {first_line(error)}") from error
        # Here nothing refers to the tensors of the failed attempt any more.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None
