"""The noise on the lattice of 8-bit levels: k = round(255 eta) for eta ~ N(0, sigma^2), drawn without a float.

The law of k is known exactly, P(k <= j) = Phi((j + 1/2) / (255 sigma)). A number u, uniform in [0, 1), gives k by
inversion: the smallest j with P(k <= j) > u. u is a sequence of random bits. It is compared with the probabilities as
far as it takes to tell k, so that k has this very law, and not one close to it:

    the first 16 bits      a table says k, for all but about one value in a hundred (at sigma 0.25)
    the next 8 bits        a finer table says it, for all but about one in twenty thousand
    the next 40 bits       thresholds, the first 64 bits of each probability, decide between them
    as many as it takes    where the first 64 bits of u are those of a threshold: a few values in 10^17

The bits of a value depend on the sample's seed and on the value's place, and not on sigma: under every sigma u is the
same, and the values that it gives are paired.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smoothseg.smoothing import philox

__all__ = ["LEVELS", "Law", "draw", "law"]

LEVELS = 255
"""Steps of the lattice from 0 to 1: those of 8-bit images."""

_REACH = 9.2
"""Standard deviations beyond which no probability differs from 0 or 1 within its first 64 bits."""

_FLIP = -(2**63)
"""Turns unsigned words into signed ones of the same order."""

_BAND = 2**19
"""Values that are looked up at a time on a CPU, so that they stay in its cache; a multiple of those in a word."""

_FIRST, _NEXT, _FURTHER = range(3)
"""Lanes of the first 16 bits, of the next 8, and of all others: counters of different lanes are never the same."""


class Law:
    """The law of k for one sigma, as integers.

    lowest: the j of the first threshold. thresholds: int64 (m), the first 64 bits of P(k <= j) for j = `lowest`,
        `lowest` + 1, ... as unsigned words whose highest bit is flipped, so that they ascend as signed ones; the first
        is 0, the last 2^64 - 1.
    coarse: (65536), k by the first 16 bits of u, or `undecided`.
    cell: int32 (65536), the row of `fine` for those that are undecided.
    fine: (rows * 256), k by row and by the next 8 bits, or `undecided`.
    """

    def __init__(self, sigma: float, device: torch.device | str = "cpu") -> None:
        """sigma: standard deviation in [0, 1] pixel units. device: where values are drawn."""
        self._scale = LEVELS * sigma
        self._sigma = sigma
        reach = max(0, math.ceil(_REACH * self._scale - 0.5))
        # The law is symmetric, P(k <= j) = 1 - P(k <= -j - 1): half of it gives the other half.
        below = [_first_bits(-j - 1, sigma, 64) for j in range(reach)]
        words = [0, *reversed(below), *(2**64 - 1 - word for word in below), 2**64 - 1]
        self.lowest = -reach - 1
        # k and an image are added in this type.
        dtype: type[np.int16] | type[np.int32] = np.int16 if 2 * reach + LEVELS < 2**15 else np.int32
        self.undecided = int(np.iinfo(dtype).min)
        unsigned = np.array(words, dtype=np.uint64)
        coarse = self._table(unsigned, np.arange(2**16, dtype=np.uint64), 16)
        open_cells = np.flatnonzero(coarse == self.undecided)
        cell = np.zeros(2**16, dtype=np.int32)
        cell[open_cells] = np.arange(len(open_cells))
        inside = (open_cells[:, None] * 256 + np.arange(256)).astype(np.uint64)
        fine = self._table(unsigned, inside.reshape(-1), 24)
        self.thresholds, self.coarse, self.cell, self.fine = (
            torch.from_numpy(each).to(device)
            for each in (unsigned.view(np.int64) ^ _FLIP, coarse.astype(dtype), cell, fine.astype(dtype))
        )

    def _table(
        self, thresholds: npt.NDArray[np.uint64], prefixes: npt.NDArray[np.uint64], bits: int
    ) -> npt.NDArray[np.int64]:
        """Return k for all u that begin with a prefix of so many `bits`; `undecided` where a threshold does, too."""
        least = prefixes << np.uint64(64 - bits)
        most = least + np.uint64(2 ** (64 - bits) - 1)
        passed = np.searchsorted(thresholds, least, side="left")
        decided = passed == np.searchsorted(thresholds, most, side="right")
        return np.where(decided, self.lowest + passed, self.undecided)

    def exact(self, u: Iterator[tuple[int, int]]) -> int:
        """Return k for a number u of which ever more bits are known.

        u: pairs (value, bits), each saying that u lies in [value, value + 1] / 2^bits; read until both ends give one k.
        """
        for value, bits in u:
            if 0 < value < 2**bits - 1:
                k = self._inverse(value, bits)
                if k == self._inverse(value + 1, bits):
                    return k
        raise ValueError("too few bits to tell k")

    def _inverse(self, value: int, bits: int) -> int:
        """Return the smallest j with P(k <= j) >= value / 2^bits, for 0 < value < 2^bits."""
        reach = math.ceil(_deviations(bits) * self._scale) + 1
        low, high = -reach, reach
        while low < high:
            middle = (low + high) // 2
            if _first_bits(middle, self._sigma, bits) >= value:
                high = middle
            else:
                low = middle + 1
        return low


@functools.lru_cache(maxsize=16)
def law(sigma: float, device: torch.device | str = "cpu") -> Law:
    """Return the law for `sigma` in [0, 1] pixel units, made once; it takes 4 seconds at sigma 32, less below."""
    return Law(sigma, device)


def draw(seeds: Sequence[int], count: int, law: Law) -> torch.Tensor:
    """Return `count` values of k for each of B seeds, int16 (B, count) or int32 for a large sigma, where the law lies.

    Row i is a function of `seeds[i]` and the law, the same on every device and for every `count` that includes it.
    """
    if not (seeds and count):
        return torch.empty((len(seeds), count), dtype=law.coarse.dtype, device=law.coarse.device)
    key = philox.keys(seeds, law.coarse.device)
    k = torch.empty((len(seeds), count), dtype=law.coarse.dtype, device=law.coarse.device)
    flat = k.view(-1)
    found = [
        _look_up(flat, start, first, following, law)
        for start, first, following in (
            _streamed(seeds, count) if k.device.type == "cpu" else _computed(key, count)
        )
    ]
    left, u = (torch.cat(each) for each in zip(*found, strict=True))
    values = law.fine[(law.cell[u >> 8] << 8) | (u & 0xFF)]
    flat[left] = values
    still = _where(values, law.undecided)
    if len(still):
        _compare(k, left[still], u[still], key, law)
    return k


def _streamed(seeds: Sequence[int], count: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Yield, for bands of values, where they begin, their first 16 bits and their next 8."""
    for row, seed in enumerate(seeds):
        first, following = philox.Stream(seed, _FIRST), philox.Stream(seed, _NEXT)
        for place in range(0, count, _BAND):
            size = min(_BAND, count - place)
            yield row * count + place, first.pieces(size, bits=16), following.pieces(size, bits=8)


def _computed(key: torch.Tensor, count: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Yield what `_streamed` yields, for all values at once: on a GPU, fewer and larger operations are faster."""
    first = philox.pieces(key, count, _FIRST, bits=16)
    yield 0, first.flatten(), philox.pieces(key, count, _NEXT, bits=8).flatten()


def _look_up(
    k: torch.Tensor, start: int, first: torch.Tensor, following: torch.Tensor, law: Law
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write values to `k`, from `start` on, by their first 16 bits; return where these are too few, and 24 bits."""
    values, index = k[start : start + len(first)], first.to(torch.int32)
    torch.index_select(law.coarse, 0, index, out=values)
    left = _where(values, law.undecided)
    return start + left, (index[left] << 8) | following[left]


def _compare(k: torch.Tensor, left: torch.Tensor, u: torch.Tensor, key: torch.Tensor, law: Law) -> None:
    """Write the values at the places `left` of the flat `k` (B, count), whose first 24 bits are `u`."""
    count = k.shape[1]
    rows, places = left // count, left % count
    word = philox.blocks(key[:, rows], (places, 0, 0, _FURTHER))[0]
    whole = ((u.to(torch.int64) << 40) | ((word >> 24) & (2**40 - 1))) ^ _FLIP
    at = torch.searchsorted(law.thresholds, whole)
    k.view(-1)[left] = (law.lowest + at).to(k.dtype)
    for i in _where(law.thresholds[at] ^ whole, 0).tolist():
        k.view(-1)[left[i]] = law.exact(_bits(key[:, rows[i]], int(u[i]), int(places[i])))


def _bits(key: torch.Tensor, u: int, place: int) -> Iterator[tuple[int, int]]:
    """Yield ever more bits of the number of one value, for `Law.exact`. key: int64 (2). u: its first 24 bits."""
    bits = 24
    for block in itertools.count():
        counter = (torch.tensor(place, device=key.device), block, 0, _FURTHER)
        for word in philox.blocks(key, counter):
            u, bits = (u << 64) | (int(word) & (2**64 - 1)), bits + 64
            yield u, bits


def _where(values: torch.Tensor, value: int) -> torch.Tensor:
    """Return the places of `value` in `values` (n). On a CPU numpy is several times faster than torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(values.numpy() == value))
    return (values == value).nonzero()[:, 0]


def _first_bits(j: int, sigma: float, bits: int) -> int:
    """Return floor(2^bits P(k <= j)), certain to the last bit."""
    z = (2 * j + 1) / (2 * LEVELS * sigma)
    if abs(z) > _deviations(bits):
        return 0 if z < 0 else 2**bits - 1
    precision = bits + 136
    while True:
        numbers = _arithmetic(precision)
        probability = numbers.ncdf(numbers.mpf(2 * j + 1) / (2 * LEVELS * numbers.mpf(sigma)))
        error = numbers.ldexp(1, 16 - precision)  # far above that of mpmath
        ends = (probability - error, probability + error)
        least, most = (int(numbers.floor(numbers.ldexp(end, bits))) for end in ends)
        if least == most:
            return least
        precision *= 2


@functools.cache
def _arithmetic(precision: int) -> Any:
    """Return numbers of so many bits. The context is our own: nobody else changes its precision."""
    import mpmath  # here, because whoever draws no noise need not load it

    numbers = mpmath.MPContext()
    numbers.prec = precision
    return numbers


def _deviations(bits: int) -> float:
    """Return standard deviations beyond which a probability has no bits but those of 0 or 1 among so many.

    Phi(-z) < exp(-z^2 / 2), and that is 2^-bits at z = sqrt(2 bits ln 2).
    """
    return math.sqrt(2 * bits * math.log(2)) + 0.1
