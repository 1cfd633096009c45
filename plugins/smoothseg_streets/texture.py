"""What rough, blotchy, cracked and leafy surfaces look like: tileable noise fields sampled in metres.

The fields are constants (drawn once from a fixed key); a scene moves and scales them. Each is kept at several
degrees of blur. A sample takes the one that matches its footprint, so that distant texture fades instead of
flickering from one image size to another.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["BLOTCHES", "CRACKS", "GRAIN", "LEAVES", "sample"]

BLOTCHES: Final = 0
"""Broad, cloudy variation."""

GRAIN: Final = 1
"""Fine variation: asphalt, brick, stone."""

LEAVES: Final = 2
"""Clumps of the size of a few texels."""

CRACKS: Final = 3
"""Thin lines at 1 on a ground of 0."""

_SIDE: Final = 256
_LEVELS: Final = 6

Floats = npt.NDArray[np.float32]


def sample(field: int, u: Any, v: Any, *, texel: float, footprint: Any) -> Floats:
    """Return the noise at `(u, v)`, float32 of their broadcast shape; mean 0 and variance 1 (`CRACKS`: 0 to 1).

    u, v: metres, each above -1000.
    texel: metres that one texel of the field covers; it repeats every 256 texels.
    footprint: metres that the sample covers, scalar or of the same shape; larger ones see a blurred field.
    """
    scale = 1.0 / texel
    shift = 1024.0 * scale
    columns = (u * scale + shift).astype(np.int32) & (_SIDE - 1)
    rows = (v * scale + shift).astype(np.int32) & (_SIDE - 1)
    # The exponent of a float is the floor of its log2: far cheaper than the logarithm.
    _, exponent = np.frexp(np.asarray(footprint * scale, dtype=np.float32))
    level = np.clip(exponent, 0, _LEVELS - 1)
    flat = _fields()[field]
    taken: Floats = flat[((level * _SIDE + rows) * _SIDE) + columns]
    return taken


@functools.cache
def _fields() -> tuple[Floats, ...]:
    random = np.random.Generator(np.random.Philox(key=0x5EED5))
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None, :])
    frequency[0, 0] = np.inf

    def coloured(slope: float, *, lowest: float = 0.0) -> npt.NDArray[np.float64]:
        white = np.fft.rfft2(random.standard_normal((_SIDE, _SIDE)))
        field = np.fft.irfft2(np.where(frequency >= lowest, white * frequency**-slope, 0.0), s=(_SIDE, _SIDE))
        return np.asarray((field - field.mean()) / field.std())

    blotches = coloured(1.7)
    grain = coloured(0.55)
    leaves = coloured(1.1, lowest=0.02)
    cracks = np.clip(1.0 - np.abs(coloured(1.5, lowest=0.008)) / 0.05, 0.0, 1.0)
    return tuple(_blurred(field) for field in (blotches, grain, leaves, cracks))


def _blurred(field: npt.NDArray[np.float64]) -> Floats:
    levels = [field, *(ndimage.gaussian_filter(field, 0.5 * 2**k, mode="wrap") for k in range(_LEVELS - 1))]
    return np.stack(levels).astype(np.float32).ravel()
