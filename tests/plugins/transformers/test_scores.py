"""What can be said of the transformers segmenter without transformers."""

from __future__ import annotations

import sys

import pytest
import torch

from smoothseg import ConfigError, fitting, geometry
from smoothseg_transformers import TransformersRecipe
from smoothseg_transformers.segmenter import cropped


def test_the_missing_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"needs transformers: pip install 'smoothseg\[transformers\]'"):
        TransformersRecipe(model="owner/name").load("cpu")


def test_a_recipe_without_a_model_says_how_to_give_one():
    with pytest.raises(ConfigError, match=r"transformers:model=OWNER/NAME.* transformers:model=FOLDER"):
        TransformersRecipe().load("cpu")


def test_the_plugin_offers_transformers():
    import smoothseg_transformers

    offered = {}
    smoothseg_transformers.register_segmenters(offered.__setitem__)
    assert offered == {"transformers": TransformersRecipe}


def ramp(length, stride):
    """At a value for every `stride` pixels, the place of its middle in pixels; of a padded image, so that all fit."""
    count = -(-length // 32) * 32 // stride
    return ((torch.arange(count) + 0.5) * stride).view(1, 1, count, 1)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("length", [32, 36, 40, 41, 43, 61, 63, 8, 200])
def test_cropped_scores_upsampled_to_the_image_lie_where_they_did(length, stride):
    scores = cropped(ramp(length, stride), -2, stride=stride, length=length)
    assert scores.shape == (1, 1, -(-length // stride), 1)
    upsampled = geometry.resize(scores, (length, 1), antialias=False)[0, 0, :, 0]
    places = torch.arange(length) + 0.5
    # No value lies above the padded image's own first one; below the last there is nothing to interpolate with.
    inner = slice(2 * stride, max(2 * stride, length - stride))
    torch.testing.assert_close(upsampled[inner], places[inner], atol=1e-4, rtol=0)
    assert (upsampled - places).abs().max() <= stride / 2


def test_columns_are_cropped_like_rows():
    scores = ramp(43, 4)
    rows = cropped(scores, -2, stride=4, length=43)
    assert torch.equal(cropped(scores.mT, -1, stride=4, length=43), rows.mT)


@pytest.mark.parametrize("size", [(45, 70), (33, 47), (64, 64), (31, 1)])
def test_labels_of_cropped_scores_are_those_of_upsampling_first_and_cropping_pixels(size):
    generator = torch.Generator().manual_seed(4)
    images = torch.rand((1, 3, *size), generator=generator)
    padded = fitting.pad(images, 32)
    coarse = torch.randn((1, 5, 3, 3), generator=generator)
    scores = geometry.resize(coarse, (padded.shape[-2] // 4, padded.shape[-1] // 4), antialias=False)
    whole = geometry.resize(scores, tuple(padded.shape[-2:]), antialias=False)
    expected = whole[..., : size[0], : size[1]].argmax(dim=1)
    own = cropped(cropped(scores, -2, stride=4, length=size[0]), -1, stride=4, length=size[1])
    labels = geometry.labels(own, size).long()
    assert (labels == expected).float().mean() > 0.96
