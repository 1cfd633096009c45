"""Deformable attention against torch's own interpolation, and what it does at the borders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from smoothseg_vit_adapter.deformable import DeformableAttention, reference_points, sample

SHAPES = [(5, 7), (3, 4), (1, 2)]
PIXELS = 5 * 7 + 3 * 4 + 2


def arrays(*, batch=2, queries=6, heads=3, depth=4, points=2, dtype=torch.float64, seed=1):
    """Values, locations (some of them outside) and weights."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, PIXELS, heads, depth, generator=generator, dtype=dtype)
    locations = torch.rand(batch, queries, heads, 3, points, 2, generator=generator, dtype=dtype) * 1.6 - 0.3
    weights = torch.randn(batch, queries, heads, 3, points, generator=generator, dtype=dtype)
    return values, locations, weights


def by_grid_sample(values, locations, weights):
    """The same by torch's `grid_sample`, level by level."""
    batch, _, heads, depth = values.shape
    total, start = 0, 0
    for level, (height, width) in enumerate(SHAPES):
        part = values[:, start : start + height * width].permute(0, 2, 3, 1)
        start += height * width
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        found = functional.grid_sample(
            part.reshape(batch * heads, depth, height, width), grid, align_corners=False
        )
        shares = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        total = total + (found * shares[:, None]).sum(-1)
    return total.view(batch, heads * depth, -1).transpose(1, 2)


def test_samples_are_those_of_torchs_bilinear_interpolation_inside_and_outside():
    values, locations, weights = arrays()
    torch.testing.assert_close(
        sample(values, SHAPES, locations, weights), by_grid_sample(values, locations, weights)
    )


def test_gradients_are_those_of_torchs_bilinear_interpolation():
    inputs = [tensor.requires_grad_() for tensor in arrays()]
    values, locations, weights = inputs
    mine = torch.autograd.grad(sample(values, SHAPES, locations, weights).square().sum(), inputs)
    theirs = torch.autograd.grad(by_grid_sample(values, locations, weights).square().sum(), inputs)
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("far", [-3.0, 1.9, 1e6, 1e30])
def test_what_lies_far_outside_is_zero(far):
    values, locations, weights = arrays()
    assert (sample(values, SHAPES, torch.full_like(locations, far), weights) == 0).all()


def test_reference_points_are_the_centres_of_the_pixels():
    points = reference_points([(1, 2), (2, 1)])
    assert points.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]


def test_a_query_sees_its_own_place_where_nothing_is_offset():
    torch.manual_seed(0)
    attention = DeformableAttention(width=8, heads=2, levels=1, points=1)
    for layer in (attention.value_proj, attention.output_proj):
        torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    values = torch.randn(2, 12, 8)
    with torch.no_grad():
        found = attention(torch.randn(2, 12, 8), reference_points([(3, 4)]), values, [(3, 4)])
    torch.testing.assert_close(found, values)


def test_offsets_count_pixels_of_each_level_x_before_y():
    attention = DeformableAttention(width=4, heads=1, levels=2, points=1)
    for layer in (attention.value_proj, attention.output_proj):
        torch.nn.init.eye_(layer.weight)
    with torch.no_grad():
        attention.sampling_offsets.bias.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))  # one pixel to the right
        attention.attention_weights.bias.copy_(torch.tensor([50.0, 0.0]))  # of the first level
        values = torch.arange(8.0)[None, :, None].expand(1, 8, 4)
        shapes = [(2, 3), (1, 2)]
        found = attention(torch.zeros(1, 1, 4), torch.tensor([[0.5, 0.25]]), values, shapes)
        torch.testing.assert_close(found, torch.full((1, 1, 4), 2.0))
        attention.attention_weights.bias.copy_(torch.tensor([0.0, 50.0]))
        reference = torch.tensor([[0.5, 0.25], [0.25, 0.5]]).view(1, 1, 2, 2)
        found = attention(torch.zeros(1, 1, 4), reference, values, shapes)
    torch.testing.assert_close(found, torch.full((1, 1, 4), 7.0))


def test_heads_must_share_the_value_channels():
    with pytest.raises(ValueError, match="6 value channels cannot be shared by 4 heads"):
        DeformableAttention(width=12, heads=4, levels=1, points=1, ratio=0.5)
