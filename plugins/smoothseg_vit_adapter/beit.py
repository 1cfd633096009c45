"""What a BEiT block computes, and what the relative position of two tokens adds to their attention.

The transformer of Bao et al., "BEiT" (ICLR 2022): every block has a table with one number per head for every
offset between two tokens of the image, and three more for the class token. State-dict keys are those of its authors,
except for the index buffer, which follows from the window.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from timm.layers.mlp import Mlp
from torch import nn
from torch.nn import functional

__all__ = ["CLASS_ROWS", "EPS", "Block", "Offsets", "Window", "offsets", "position_bias", "position_index"]

EPS = 1e-6
"""Of every layer normalisation in the backbone."""

CLASS_ROWS = 3
"""Last rows of a table: from the class token to an image token, back, and to itself."""

Window = tuple[int, int]
"""Height and width of an image in tokens."""


class Offsets(NamedTuple):
    """How the table of one window becomes that of another: one matrix per axis, (2h' - 1, 2h - 1); None where equal."""

    window: Window
    rows: torch.Tensor | None
    columns: torch.Tensor | None


def offsets(native: Window, window: Window, *, device: torch.device | str = "cpu") -> Offsets:
    """Return what turns a table for `native` into one for `window`.

    An axis that grows is interpolated as BEiT's checkpoints are for fine-tuning at another size: the known offsets are
    spread over the new ones in steps that grow geometrically with the distance, and a cubic spline goes through them.
    An axis that shrinks needs only known offsets, and keeps those.
    """
    height, width = (
        None if new == old else _spread(old, new).to(device) for old, new in zip(native, window, strict=True)
    )
    return Offsets(window, height, width)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(
    False
)  # the cached tensors must serve training, too; tensors made in inference mode could not
def _spread(old: int, new: int) -> torch.Tensor:
    """Return the float32 matrix (2 new - 1, 2 old - 1) from numbers at known offsets to numbers at new ones."""
    known, wanted = 2 * old - 1, np.arange(1 - new, new, dtype=np.float64)
    if new < old:
        return torch.eye(known, device="cpu")[old - new : old + new - 1]
    steps = _growth(old - 1, new - 1) ** np.arange(old - 1, dtype=np.float64)
    distance = np.concatenate([[0.0], steps.cumsum()])
    places = np.concatenate([-distance[:0:-1], distance])
    if known == 1:
        return torch.ones(len(wanted), 1, device="cpu")
    spline = make_interp_spline(places, np.eye(known), k=min(3, known - 1))
    return torch.from_numpy(spline(wanted.clip(places[0], places[-1]))).float()


def _growth(steps: int, reach: int) -> float:
    """Return the ratio q with 1 + q + ... + q^(steps - 1) = `reach`, between 1.01 and 1.5, found by halving to 1e-6.

    The last half that was tried is the one used to interpolate published checkpoints.
    """
    low, high, ratio = 1.01, 1.5, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (ratio**steps - 1) / (ratio - 1) > reach:
            high = ratio
        else:
            low = ratio
    return ratio


def position_bias(table: torch.Tensor, native: Window, offsets: Offsets) -> torch.Tensor:
    """Return what is added to the attention of every pair of tokens, (heads, N + 1, N + 1); the class token is first.

    table: ((2h - 1)(2w - 1) + 3, heads) for the `native` window (h, w); one entry per difference (query minus key), row
        by row. N is the number of tokens of `offsets.window`.
    """
    rows, columns = 2 * native[0] - 1, 2 * native[1] - 1
    pairs = table[:-CLASS_ROWS].T.reshape(-1, rows, columns)
    if offsets.rows is not None:
        pairs = (offsets.rows @ pairs.to(offsets.rows.dtype)).to(table.dtype)
    if offsets.columns is not None:
        pairs = (pairs.to(offsets.columns.dtype) @ offsets.columns.T).to(table.dtype)
    height, width = offsets.window
    # [y, x, k, l] of the windows is the table at (y + k, x + l); a key at y' is k = h - 1 - y'
    body = pairs.unfold(1, height, 1).unfold(2, width, 1).flip(-2, -1)
    body = body.reshape(-1, height * width, height * width)
    bias = functional.pad(body, (1, 0, 1, 0))
    outward, inward, own = (row[:, None] for row in table[-CLASS_ROWS:])
    bias[:, 0, 1:] = outward
    bias[:, 1:, 0] = inward
    bias[:, :1, 0] = own
    return bias


def position_index(window: Window) -> torch.Tensor:
    """Return which row of a table each pair of tokens has, int64 (N + 1, N + 1), as published checkpoints hold it."""
    count = (2 * window[0] - 1) * (2 * window[1] - 1) + CLASS_ROWS
    rows = torch.arange(count, dtype=torch.float64)[:, None]  # exact: a table has fewer than 2^53 rows
    return position_bias(rows, window, Offsets(window, None, None))[0].long()


class Attention(nn.Module):
    """Self-attention with a number added for the relative position of every pair; queries and values have biases."""

    def __init__(self, width: int, heads: int, native: Window) -> None:
        super().__init__()
        self.heads, self.native = heads, native
        count = (2 * native[0] - 1) * (2 * native[1] - 1) + CLASS_ROWS
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(count, heads))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, offsets: Offsets) -> torch.Tensor:
        """Return (B, N + 1, C) of tokens (B, N + 1, C), the class token first, in the window of `offsets`."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        parts = functional.linear(tokens, self.qkv.weight, bias)
        queries, keys, values = parts.view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        pairs = position_bias(self.relative_position_bias_table, self.native, offsets)
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=pairs.to(queries.dtype)[None]
        )
        result: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """A transformer block whose two branches are scaled per channel, by `gamma_1` and `gamma_2`."""

    def __init__(self, width: int, heads: int, ratio: float, native: Window) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads, native)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * ratio))
        self.gamma_1 = nn.Parameter(torch.ones(width))
        self.gamma_2 = nn.Parameter(torch.ones(width))

    def forward(self, tokens: torch.Tensor, offsets: Offsets) -> torch.Tensor:
        """Return (B, N + 1, C) of tokens (B, N + 1, C); see `Attention.forward`."""
        tokens = tokens + self.gamma_1 * self.attn(self.norm1(tokens), offsets)
        result: torch.Tensor = tokens + self.gamma_2 * self.mlp(self.norm2(tokens))
        return result
