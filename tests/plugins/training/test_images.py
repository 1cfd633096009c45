"""What reaches a network of images and noise, and which images are measured."""

from __future__ import annotations

import pytest
import torch

from smoothseg import networks
from smoothseg_training.images import evenly, resized_noise


def test_noise_that_is_resized_with_the_image_is_that_of_the_resized_noisy_image():
    noise = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(3))
    left = resized_noise(torch.Size((2, 3, 20, 28)), 0.5, torch.Generator().manual_seed(3))
    torch.testing.assert_close(left, networks.resize(noise, (20, 28)))


@pytest.mark.parametrize(
    ("count", "wanted", "expected"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (7, 1, [0])]
)
def test_validation_images_are_evenly_spaced(count, wanted, expected):
    assert evenly(count, wanted) == expected
