"""How rows, values and sides are brought to what a network wants."""

import numpy as np
import pytest
import torch

from smoothseg import fitting


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
