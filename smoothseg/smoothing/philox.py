"""The random words that noise is made of: Philox-4x64-10 (Salmon et al., SC 2011), the same bits on every device.

A key has 128 bits, a counter 256, and a block of four 64-bit words is a function of the two. numpy draws a stream of
consecutive blocks, the fastest way on a CPU; `blocks` computes blocks at any counters, with plain tensor operations on
any device. Both give the same words, and tests compare them bit for bit.

torch has no unsigned 64-bit arithmetic, so a word is an int64 with the same bits. Sums and products wrap around, as
unsigned ones do; only shifts to the right need care.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

__all__ = ["Stream", "blocks", "keys", "pieces"]

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
"""What the halves of the key grow by from round to round."""

_ROUNDS = 10
_LOW = 0xFFFFFFFF


def keys(seeds: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the lower and the upper 64 bits of 128-bit integers, int64 (2, B)."""
    halves = np.array([[seed & (2**64 - 1), seed >> 64] for seed in seeds], dtype=np.uint64)
    return torch.from_numpy(halves.view(np.int64).reshape(-1, 2).T.copy()).to(device)


def blocks(key: torch.Tensor, counter: Sequence[torch.Tensor | int]) -> tuple[torch.Tensor, ...]:
    """Return the four words of each block, int64 tensors of the shape that key and counter broadcast to.

    key: int64 (2, ...), as `keys` returns it. counter: its four words, lowest first; at least the first is a tensor.
    """
    words = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
        key[0],
        *(
            word if isinstance(word, torch.Tensor) else torch.full((), _signed(word), device=key.device)
            for word in counter
        ),
    )[1:]
    # Both halves of a round go through every operation together.
    multiplied, mixed = torch.stack(words[::2]), torch.stack(words[1::2])
    ones = (1,) * (multiplied.dim() - key.dim())
    key = key.reshape(2, *ones, *key.shape[1:])
    factor, step = (each.view(2, *(1,) * (multiplied.dim() - 1)) for each in _constants(key.device))
    for i in range(_ROUNDS):
        high, low = _product(multiplied, factor)
        multiplied, mixed = high.flip(0) ^ mixed ^ (key + i * step), low.flip(0)
    return multiplied[0], mixed[0], multiplied[1], mixed[1]


@functools.cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return multipliers and steps, int64 (2) each, brought to the device once."""
    multipliers, steps = (
        torch.tensor([_signed(word) for word in pair], device=device) for pair in (_MULTIPLIERS, _STEPS)
    )
    return multipliers, steps


class Stream:
    """The blocks of the counters (1, 0, 0, lane), (2, 0, 0, lane), ... under one key, drawn by numpy on the CPU.

    These are the words of `numpy.random.Philox(key=seed, counter=[0, 0, 0, lane])`.
    """

    def __init__(self, seed: int, lane: int) -> None:
        """seed: the key, of 128 bits."""
        self._generator = np.random.Philox(key=seed, counter=lane << 192)

    def pieces(self, count: int, *, bits: Literal[8, 16]) -> torch.Tensor:
        """Return the next `count` pieces of words, uint8 or uint16 (count), those of a word from the lowest up.

        Only the last call may use a part of a word: what is left of it is lost.
        """
        words = self._generator.random_raw(-(-count * bits // 64))
        return torch.from_numpy(words.astype("<u8", copy=False).view(f"<u{bits // 8}")[:count])


def pieces(key: torch.Tensor, count: int, lane: int, *, bits: Literal[8, 16]) -> torch.Tensor:
    """Return the first `count` pieces of the streams of B keys, int32 (B, count), computed on the device of `key`.

    key: int64 (2, B). The pieces are those of `Stream`.
    """
    numbers = torch.arange(1, -(-count * bits // 256) + 1, device=key.device)
    words = torch.stack(blocks(key[..., None], (numbers, 0, 0, lane)), dim=-1).flatten(1)
    parts = words.view(torch.uint8 if bits == 8 else torch.int16)[:, :count].to(torch.int32)
    return parts.bitwise_and_(2**bits - 1)


def _product(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the upper and the lower 64 bits of the 128-bit products of unsigned `a` and `b`."""
    a_low, a_high, b_low, b_high = a & _LOW, _upper(a), b & _LOW, _upper(b)
    # No sum below exceeds 64 bits: a product of two 32-bit numbers leaves room for two more.
    low = a_low * b_low
    middle = a_high * b_low + _upper(low)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + _upper(middle) + _upper(other), a * b


def _upper(word: torch.Tensor) -> torch.Tensor:
    """Return the upper 32 bits: a shift to the right that brings in zeros, not copies of the sign."""
    return (word >> 32) & _LOW


def _signed(word: int) -> int:
    """Return the int64 with the lowest 64 bits of `word`."""
    word &= 2**64 - 1
    return word - 2**64 if word >> 63 else word
