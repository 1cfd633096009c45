"""Noisy copies of an image, of two kinds. Sample i of image k is a pure function of (seed, k, i).

Each sample has a key of its own, 128 bits of a hash of (seed, k, i, purpose), and from it Philox streams (Salmon et
al., SC 2011) that no other sample uses. Batch size, order, device, number of workers and restarts therefore cannot
change a sample, and no two samples share a draw.

`lattice`, the default: the base model is f(x) = h(round(255 x)), where h is any map on integer images. A noisy copy of
an 8-bit image is then the image plus integers k = round(255 eta), whose law `lattice.py` draws exactly. The only
floating-point operation is the division by 255, so a copy is a function of those integers, and shows nothing else of
the image. Nor do the seeds that a denoiser receives with it. Rounding belongs to f, and what is certified is the
smoothed model of f under real Gaussian noise.

`gaussian`: image / 255 + sigma * noise in 32-bit floating point. The sum is rounded to a grid that depends on the clean
image, so a base model can read the image through the noise, and its certificates can be false (Voracek and Hein, ICLR
2023). It is there for comparison, and to continue and repeat runs that were made with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.networks.draws import seeds, standard_normal
from smoothseg.smoothing import lattice
from smoothseg.smoothing.kinds import ALGORITHMS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["NoisyImage", "unit"]


class NoisyImage:
    """The noisy copies of one image, by number. The image lies on the device; a sample brings nothing but its key."""

    def __init__(
        self,
        image: npt.NDArray[np.uint8],
        key: str,
        *,
        sigma: float,
        seed: int,
        kind: str = "lattice",
        device: torch.device | str = "cpu",
    ) -> None:
        """image: uint8 (H, W, 3). key: the image's key. sigma: in [0, 1] pixel units. kind: one of `ALGORITHMS`.

        Raises `UnknownNameError` for another kind, and `ConfigError` for a sigma that is not positive and finite.
        """
        if kind not in ALGORITHMS:
            raise UnknownNameError.of("noise", kind, ALGORITHMS)
        if not 0 < sigma < math.inf:
            raise ConfigError(f"sigma must be positive, got {sigma}")
        self._levels = torch.from_numpy(image.transpose(2, 0, 1).copy()).to(device)
        self._law = lattice.law(sigma, self._levels.device) if kind == "lattice" else None
        self._key = key
        self._sigma = sigma
        self._seed = seed

    def samples(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the copies with these B numbers: float32 (B, 3, H, W), [0, 1] pixel units, not clipped."""
        own = seeds(self._seed, self._key, indices, purpose="noise")
        image = self._levels
        if self._law is None:
            # As ever, for the sake of earlier runs: a GPU rounds this quotient otherwise than a CPU.
            noise = standard_normal(own, tuple(image.shape), device=image.device)
            return noise.mul_(self._sigma).add_(image.to(torch.float32).div_(255.0))
        k = lattice.draw(own, image.numel(), self._law)
        return unit(k.view(-1, *image.shape).add_(image))

    def seeds(self, indices: Sequence[int]) -> list[int]:
        """Return an integer of 128 bits for each of these copies, for a denoiser that draws.

        With `lattice` noise they are the same for every image: the base model sees them, and a key says which image it
        is. With `gaussian` noise they depend on the key, as they did when there was no other.
        """
        return seeds(self._seed, self._key if self._law is None else "", indices, purpose="denoiser")


def unit(levels: torch.Tensor) -> torch.Tensor:
    """Return integers divided by 255, float32: the nearest to each quotient, the same on every device."""
    # By a number, a GPU would multiply with its rounded reciprocal.
    return torch.div(levels, torch.full((), lattice.LEVELS, dtype=torch.float32, device=levels.device))
