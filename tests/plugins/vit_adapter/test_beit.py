"""The transformer's blocks against timm's BEiT, and position tables of other windows."""

from __future__ import annotations

import pytest
import torch
from timm.models.beit import Block as TimmBlock

from smoothseg_vit_adapter.beit import EPS, Block, Offsets, _spread, offsets, position_bias

NATIVE = (3, 5)


def random_block(window, seed=0):
    """A block of random weights, all of them far from zero."""
    torch.manual_seed(seed)
    block = Block(16, 4, 2.0, window)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.5)
    return block.eval().requires_grad_(False)


@pytest.mark.parametrize("window", [(3, 5), (4, 4), (1, 2)])
def test_a_block_computes_what_timms_does(window):
    block = random_block(window)
    theirs = TimmBlock(
        16,
        4,
        qkv_bias=True,
        mlp_ratio=2.0,
        init_values=1.0,
        window_size=window,
        norm_layer=lambda width, **options: torch.nn.LayerNorm(width, eps=EPS, **options),
    )
    theirs.load_state_dict(block.state_dict(), strict=True)
    tokens = torch.randn(2, 1 + window[0] * window[1], 16)
    with torch.no_grad():
        expected = theirs.eval()(tokens)
    torch.testing.assert_close(block(tokens, offsets(window, window)), expected, atol=1e-4, rtol=1e-5)


def table_of(window, heads=2):
    count = (2 * window[0] - 1) * (2 * window[1] - 1) + 3
    return torch.randn(count, heads, generator=torch.Generator().manual_seed(4))


def test_a_smaller_window_has_the_offsets_it_needs_and_no_others():
    table = table_of(NATIVE)
    whole = position_bias(table, NATIVE, offsets(NATIVE, NATIVE))
    part = position_bias(table, NATIVE, offsets(NATIVE, (2, 3)))
    rows = [0, *(1 + 5 * y + x for y in range(2) for x in range(3))]
    assert torch.equal(part, whole[:, rows][:, :, rows])


@pytest.mark.parametrize("window", [(3, 9), (7, 5), (8, 2), (1, 1), (40, 60)])
@pytest.mark.parametrize("native", [(3, 5), (1, 1), (2, 2)])
def test_any_window_has_a_bias_for_every_pair(native, window):
    bias = position_bias(table_of(native), native, offsets(native, window))
    count = window[0] * window[1] + 1
    assert bias.shape == (2, count, count)
    assert torch.isfinite(bias).all()


def test_a_larger_window_goes_through_what_is_known_near_by():
    # offsets -1, 0 and 1 are known, and the geometric steps start with 1: those entries stay
    table = table_of(NATIVE)
    pairs = table[:-3].T.reshape(2, 5, 9)
    wide = offsets(NATIVE, (3, 12))
    assert wide.rows is None
    larger = pairs @ wide.columns.T
    torch.testing.assert_close(larger[:, :, 10:13], pairs[:, :, 3:6])


def test_a_constant_table_stays_constant():
    table = torch.full((5 * 9 + 3, 2), 0.7)
    for window in ((6, 10), (2, 9), (30, 40)):
        bias = position_bias(table, NATIVE, offsets(NATIVE, window))
        torch.testing.assert_close(bias, torch.full_like(bias, 0.7))


def test_interpolated_tables_pass_on_gradients():
    table = table_of(NATIVE).requires_grad_()
    position_bias(table, NATIVE, offsets(NATIVE, (6, 10))).sum().backward()
    assert torch.isfinite(table.grad).all()
    assert (table.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("native", [(3, 5), (1, 1), (4, 4)])
def test_a_window_seen_in_inference_mode_can_be_trained_with_later(native):
    _spread.cache_clear()
    window = (native[0] + 8, max(1, native[1] - 2))
    with torch.inference_mode():
        position_bias(table_of(native), native, offsets(native, window))
    table = table_of(native).requires_grad_()
    position_bias(table, native, offsets(native, window)).sum().backward()
    assert (table.grad != 0).any()


def test_the_class_token_has_rows_of_its_own():
    table = torch.zeros(3 * 3 + 3, 1)
    table[-3:, 0] = torch.tensor([1.0, 2.0, 3.0])
    bias = position_bias(table, (2, 2), Offsets((2, 2), None, None))[0]
    assert bias[0].tolist() == [3, 1, 1, 1, 1]
    assert bias[:, 0].tolist() == [3, 2, 2, 2, 2]
    assert (bias[1:, 1:] == 0).all()
