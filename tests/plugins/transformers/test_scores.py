"""What can be said of the transformers segmenter without transformers."""

from __future__ import annotations

import sys

import pytest

from smoothseg import ConfigError
from smoothseg_transformers import TransformersRecipe


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
