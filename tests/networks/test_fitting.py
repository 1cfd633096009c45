"""How rows, values and sides are brought to what a network wants."""

import numpy as np
import pytest
import torch
from torch import nn

from smoothseg import networks
from smoothseg.networks import fitting
from smoothseg.smoothing import geometry


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_network_sees_the_same_number_of_rows_and_every_row_once(count, rows):
    seen = []

    def apply(indices):
        seen.append(indices)
        return torch.tensor(indices)[:, None] * 10

    assert fitting.in_rows(apply, count, rows=rows).flatten().tolist() == [10 * i for i in range(count)]
    assert {len(indices) for indices in seen} == {rows}
    assert len(seen) == -(-count // rows)


def test_no_rows_at_all_are_refused():
    with pytest.raises(ValueError, match="there are no rows: expected a batch of at least 1, got 0"):
        fitting.in_rows(lambda rows: torch.zeros(len(rows), 1), 0)


def test_normalised_takes_the_mean_out_and_divides_channel_by_channel():
    images = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    result = fitting.normalised(images, mean=(1.0, 1.0, 1.0), std=(1.0, 2.0, 4.0))
    assert result[1, :, 3, 4].tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("length", range(1, 12))
def test_padding_reflects_at_the_border(length):
    image = torch.arange(length * 3.0).view(1, 1, length, 3)
    padded = fitting.pad(image, 4)
    assert padded.shape[-2] % 4 == 0
    assert padded.shape[-2] - length < 4
    assert torch.equal(padded[..., :length, :3], image)
    expected = np.pad(image[0, 0].numpy(), ((0, -length % 4), (0, 1)), mode="reflect")
    np.testing.assert_array_equal(padded[0, 0].numpy(), expected)


def test_a_padded_networks_result_has_the_size_of_the_image():
    shapes = []

    def network(images):
        shapes.append(tuple(images.shape))
        return images[:, :1] * 2

    image = torch.rand(2, 3, 5, 9)
    assert torch.equal(fitting.padded(network, image, 4), image[:, :1] * 2)
    assert shapes == [(2, 3, 8, 12)]


def ramp(length, stride):
    """At a value for every `stride` pixels, the place of its middle in pixels; of a padded image, so that all fit."""
    count = -(-length // 32) * 32 // stride
    return ((torch.arange(count) + 0.5) * stride).view(1, 1, count, 1)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("length", [32, 36, 40, 41, 43, 61, 63, 8, 200])
def test_cropped_scores_upsampled_to_the_image_lie_where_they_did(length, stride):
    padded = (-(-length // 32) * 32, 1)
    scores = fitting.cropped(ramp(length, stride), padded, (length, 1))
    assert scores.shape == (1, 1, -(-length // stride), 1)
    upsampled = networks.resize(scores, (length, 1), antialias=False)[0, 0, :, 0]
    places = torch.arange(length) + 0.5
    # No value lies above the padded image's own first one; below the last there is nothing to interpolate with.
    inner = slice(2 * stride, max(2 * stride, length - stride))
    torch.testing.assert_close(upsampled[inner], places[inner], atol=1e-4, rtol=0)
    assert (upsampled - places).abs().max() <= stride / 2


def test_columns_are_cropped_like_rows():
    rows = fitting.cropped(ramp(43, 4), (64, 1), (43, 1))
    assert torch.equal(fitting.cropped(ramp(43, 4).mT, (1, 64), (1, 43)), rows.mT)


@pytest.mark.parametrize("size", [(45, 70), (33, 47), (64, 64), (31, 1)])
def test_labels_of_cropped_scores_are_those_of_upsampling_first_and_cropping_pixels(size):
    generator = torch.Generator().manual_seed(4)
    images = torch.rand((1, 3, *size), generator=generator)
    padded = fitting.pad(images, 32).shape[-2:]
    coarse = torch.randn((1, 5, 3, 3), generator=generator)
    scores = networks.resize(coarse, (padded[0] // 4, padded[1] // 4), antialias=False)
    whole = networks.resize(scores, tuple(padded), antialias=False)
    expected = whole[..., : size[0], : size[1]].argmax(dim=1)
    labels = geometry.labels(fitting.cropped(scores, padded, size), size).long()
    assert (labels == expected).float().mean() > 0.96


@pytest.mark.parametrize("shape", [(7, 10), (10, 7), (31, 10), (60, 30)])
def test_scores_that_do_not_lie_evenly_on_the_padded_image_are_refused(shape):
    message = f"scores of {shape[0]}x{shape[1]} do not lie evenly on a padded image of 30x30"
    with pytest.raises(ValueError, match=message):
        fitting.cropped(torch.zeros(1, 2, *shape), (30, 30), (29, 29))


@pytest.mark.parametrize("size", [(33, 20), (20, 40)])
def test_an_image_larger_than_its_padded_copy_is_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} has no padded copy of 32x32"):
        fitting.cropped(torch.zeros(1, 2, 8, 8), (32, 32), size)


class Sum(nn.Module):
    """Two branches, of which one ends in a convolution and what normalises them stands behind the sum."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.left = nn.Conv2d(4, 4, 1)
        self.left_norm = nn.BatchNorm2d(4)
        self.right = nn.Sequential(nn.Conv2d(4, 4, 1))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images):
        x = self.stem(images)
        return self.norm(self.left_norm(self.left(x)) + self.right(x))


@torch.no_grad()
def test_batch_norms_right_behind_a_convolution_become_part_of_it():
    torch.manual_seed(3)
    network = Sum()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.rand(2, 3, 6, 9)
    expected = network.eval()(images)
    fitting.fold_batch_norms(network)
    torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=1e-5)
    left = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == ["norm"]
    assert network.stem[0].bias is not None
