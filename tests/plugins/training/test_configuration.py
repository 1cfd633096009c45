"""The configuration of a training: what is refused, and the recipes that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from smoothseg import ConfigError, UnknownNameError
from smoothseg.files import read_yaml
from smoothseg_training.configuration import DenoiserTraining, SegmenterTraining, configure

_RECIPES = sorted((Path(__file__).resolve().parents[3] / "examples" / "train").glob("*.yaml"))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("bach_size: 3", UnknownNameError, "Did you mean 'batch_size'"),
        ("lr: fast", ConfigError, "--lr 'fast'"),
        ("crop: 12", ConfigError, "--crop 12"),
        ("crop: 12by16", ConfigError, "HEIGHTxWIDTH"),
        ("scale_range: [2, 1]", ConfigError, "scale_range must be 0 < LO <= HI"),
        ("noise_sigma: -1", ConfigError, "--noise-sigma -1"),
        ("{noise_sigma: 0.25, noise_range: [0, 1]}", ConfigError, "noise_sigma or noise_range, not both"),
        ("steps: null", ConfigError, "give steps, minutes or both"),
        ("precision: bf16", ConfigError, "--precision 'bf16': .*'float32' or 'bfloat16'"),
        ("- a list", ConfigError, "must be a mapping"),
        ("a: b: c", ConfigError, "line 1"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path, content, error, message):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    base = {"dataset": "blocks", "segmenter": "toy", "steps": 2}
    with pytest.raises(error, match=message) as caught:
        configure(SegmenterTraining, base | read_yaml(recipe))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["dataset", "segmenter"])
def test_a_missing_component_is_named(missing):
    given = {"dataset": "blocks", "segmenter": "toy", "steps": 2}
    del given[missing]
    with pytest.raises(ConfigError, match=f"training needs --{missing}"):
        configure(SegmenterTraining, given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"consistency": 1.0}, "give noise_sigma or noise_range"),
        ({"consistency": 1.0, "noise_range": (0, 0)}, "give noise_sigma or noise_range"),
        ({"consistency": 1.0, "noise_sigma": 0.25, "noise_fraction": 0}, "give noise_sigma or noise_range"),
        ({"consistency": 1.0, "noise_sigma": 0.25, "copies": 1}, "at least 2 copies"),
    ],
)
def test_consistency_without_noise_or_copies_is_refused(segmenter_training, changes, message):
    with pytest.raises(ConfigError, match=message):
        segmenter_training(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_scales": ()}, "at least one scale"),
        ({"image_scales": (0.5, 1.0), "image_scale": 0.5}, "image_scale or image_scales"),
    ],
)
def test_image_scales_that_make_no_sense_are_refused(denoiser_training, changes, message):
    with pytest.raises(ConfigError, match=message):
        denoiser_training(**changes)


def test_a_denoiser_without_noise_is_refused(segmenter_training):
    with pytest.raises(ConfigError, match="needs noise to remove"):
        segmenter_training(denoiser="identity")


@pytest.mark.parametrize("value", [0.5, 0, -2])
def test_softening_below_one_is_refused(segmenter_training, value):
    with pytest.raises(ConfigError, match="--soften"):
        segmenter_training(soften=value)


@pytest.mark.parametrize("path", _RECIPES, ids=lambda path: path.stem)
def test_the_recipes_that_are_kept_are_valid(path):
    content = yaml.safe_load(path.read_text())
    kind = SegmenterTraining if "segmenter" in content else DenoiserTraining
    configure(kind, {"dataset": "blocks", **content})
    assert f"examples/train/{path.name}" in path.read_text()


def test_there_are_recipes():
    assert {path.stem for path in _RECIPES} >= {
        f"{data}-{network}" for data in ("camvid", "streets") for network in ("adm", "hrnet", "hrnet-noise")
    }
