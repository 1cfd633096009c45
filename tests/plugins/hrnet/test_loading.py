"""Which weight files the HRNet segmenter takes, and by which name it refuses the others."""

from __future__ import annotations

import dataclasses
import json
import lzma
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

import smoothseg
from smoothseg import ConfigError, UnknownNameError, WeightsError, weights
from smoothseg.data.class_names import CITYSCAPES, PASCAL_CONTEXT
from smoothseg_hrnet import HRNetRecipe
from smoothseg_hrnet.config import WIDTHS, checked, named
from smoothseg_hrnet.network import HRNet

GOLDEN = Path(__file__).resolve().parents[3] / "tests/golden/hrnet"
CONFIG = json.loads((GOLDEN / "tiny_b.config.json").read_text())
CLASSES = ("sky", "road", "car", "tree", "sign")
MINI = {
    f"STAGE{branches}": {
        "NUM_MODULES": 1,
        "NUM_BRANCHES": branches,
        "BLOCK": "BOTTLENECK" if branches == 1 else "BASIC",
        "NUM_BLOCKS": [1] * branches,
        "NUM_CHANNELS": [3 + i for i in range(branches)],
        "FUSE_METHOD": "SUM",
    }
    for branches in (1, 2, 3, 4)
}


@pytest.fixture(scope="module")
def state():
    """The golden network's state dict under HRNet's own keys."""
    return load(lzma.decompress((GOLDEN / "tiny_b.safetensors.xz").read_bytes()))


@pytest.fixture(scope="module")
def images():
    return torch.rand((2, 3, 32, 64), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def scores(state, images):
    """What the golden network scores, in eval mode."""
    network = HRNet(CONFIG)
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        return network.eval()(images)


@pytest.fixture
def recipe(tmp_path):
    """A recipe for checkpoints of the golden network that carry neither its size nor its classes."""
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")

    def made(path):
        return HRNetRecipe(weights=str(path), width=str(GOLDEN / "tiny_b.config.json"), classes=str(names))

    return made


def wrapped(state):
    return {
        "std": torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        "mean": torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
        **{f"model.{key}": tensor for key, tensor in state.items()},
        "loss.criterion.weight": torch.ones(5),
    }


def mmsegmentation(state):
    """The same network as mmsegmentation writes it: no bias before the head's batch norm."""
    head = {
        "last_layer.0.weight": "decode_head.convs.0.conv.weight",
        "last_layer.3.weight": "decode_head.conv_seg.weight",
        "last_layer.3.bias": "decode_head.conv_seg.bias",
    }
    converted = {}
    for key, tensor in state.items():
        if key == "last_layer.1.running_mean":
            converted["decode_head.convs.0.bn.running_mean"] = tensor - state["last_layer.0.bias"]
        elif key.startswith("last_layer.1."):
            converted[key.replace("last_layer.1.", "decode_head.convs.0.bn.")] = tensor
        elif key in head:
            converted[head[key]] = tensor
        elif key != "last_layer.0.bias":
            converted[f"backbone.{key}"] = tensor
    return converted


LAYOUTS = {
    "own keys": dict,
    "training wrapper": wrapped,
    "training checkpoint": lambda state: {
        "epoch": 484,
        "best_mIoU": 0.81,
        "state_dict": wrapped(state),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0, 1]}]},
    },
    "mmsegmentation": lambda state: {"meta": {"epoch": 1}, "state_dict": mmsegmentation(state)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_known_layout_loads_to_the_same_network(layout, state, images, scores, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save(LAYOUTS[layout](state), path)
    segmenter = recipe(path).load("cpu")
    assert segmenter.classes == CLASSES
    assert segmenter.digests == {
        "checkpoint.pth": weights.digest(path),
        "tiny_b.config.json": weights.digest(GOLDEN / "tiny_b.config.json"),
        "classes.txt": weights.digest(tmp_path / "classes.txt"),
    }
    torch.testing.assert_close(segmenter.segment(images), scores, atol=1e-4, rtol=0)


def test_a_wrapper_without_normalisation_is_taken(state, images, scores, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({key: tensor for key, tensor in wrapped(state).items() if key not in ("mean", "std")}, path)
    torch.testing.assert_close(recipe(path).load("cpu").segment(images), scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"std": torch.ones(1, 3, 1, 1)},
            r"std 1, 1, 1, smoothseg with ImageNet's 0\.229, 0\.224, 0\.225",
        ),
        (
            {"mean": torch.full((1, 3, 1, 1), 0.5)},
            r"mean 0\.5, 0\.5, 0\.5, smoothseg with ImageNet's 0\.485, 0\.456, 0\.406",
        ),
        ({"std": torch.tensor([0.225, 0.224, 0.229]).view(1, 3, 1, 1)}, r"std 0\.225, 0\.224, 0\.229"),
        ({"std": torch.tensor([[[[58.395]], [[57.12]], [[57.375]]]])}, r"std 58\.4, 57\.12, 57\.38"),
        ({"mean": torch.full((1, 3, 1, 1), torch.nan)}, "mean nan, nan, nan"),
        ({"std": torch.tensor([0.229, 0.224, 0.225])}, r"expected std to be \(1, 3, 1, 1\).*got \(3,\)"),
        ({"mean": torch.tensor(0.5)}, r"expected mean to be \(1, 3, 1, 1\).*got \(\)"),
    ],
)
def test_a_wrapper_that_normalises_images_otherwise_is_refused(change, message, state, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({**wrapped(state), **change}, path)
    with pytest.raises(WeightsError, match=rf"checkpoint\.pth.*{message}"):
        recipe(path).load("cpu")


@pytest.mark.parametrize("layout", [wrapped, mmsegmentation])
def test_a_key_that_no_table_knows_is_refused_by_name(layout, state, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({**layout(state), "auxiliary.weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match=r"1 unexpected \(.*auxiliary\.weight\)"):
        recipe(path).load("cpu")


@pytest.mark.parametrize("layout", [dict, wrapped, mmsegmentation])
def test_a_missing_key_is_named(layout, state, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save(layout({key: tensor for key, tensor in state.items() if key != "bn1.running_var"}), path)
    with pytest.raises(WeightsError, match=r"1 missing \(bn1\.running_var\)"):
        recipe(path).load("cpu")


def test_a_key_outside_the_wrapped_network_does_not_overwrite_one_inside(state, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({**wrapped(state), "bn1.weight": torch.zeros(64)}, path)
    with pytest.raises(WeightsError, match=r"unexpected \(.*bn1\.weight\)"):
        recipe(path).load("cpu")


def test_another_networks_checkpoint_is_refused_by_its_keys(recipe, tmp_path):
    save_file(
        {"conv1.weight": torch.zeros(2, 3, 1, 1), "fc.weight": torch.zeros(5, 2)}, tmp_path / "x.safetensors"
    )
    with pytest.raises(WeightsError, match=r"no HRNetV2 segmenter.*conv1\.weight, fc\.weight"):
        recipe(tmp_path / "x.safetensors").load("cpu")


def test_a_checkpoint_of_another_size_is_refused_with_the_size_that_fits(tmp_path):
    path = tmp_path / "small.safetensors"
    save_file(HRNet(named("w18-small", 19)).state_dict(), path)
    with pytest.raises(
        WeightsError, match=r"as width=w18-small-v2; the file is a w18-small: give width=w18-small"
    ):
        HRNetRecipe(weights=str(path), width="w18-small-v2").load("cpu")


@pytest.mark.parametrize("names", [CITYSCAPES, PASCAL_CONTEXT])
def test_published_class_counts_have_names(names, tmp_path):
    path = tmp_path / "published.safetensors"
    config = tmp_path / "mini.json"
    config.write_text(json.dumps(MINI))
    save_file(HRNet(named(str(config), len(names))).state_dict(), path)
    assert HRNetRecipe(weights=str(path), width=str(config)).load("cpu").classes == names


def test_class_names_that_nobody_gives_or_that_do_not_fit_are_refused(state, recipe, tmp_path):
    path = tmp_path / "plain.safetensors"
    save_file(state, path)
    fitting = recipe(path)
    with pytest.raises(ConfigError, match=r"scores 5 classes and does not name them.*classes=FILE"):
        dataclasses.replace(fitting, classes=None).load("cpu")
    with pytest.raises(ConfigError, match=r"absent\.txt cannot be read"):
        dataclasses.replace(fitting, classes=str(tmp_path / "absent.txt")).load("cpu")
    for text, message in (
        ("a\nb\n", "names 2 classes, but the checkpoint scores 5"),
        ("a\nb\nc\nd\na\n", "'a' more"),
    ):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(ConfigError, match=message):
            fitting.load("cpu")


def test_a_saved_network_brings_its_size_and_classes(state, images, scores, tmp_path):
    path = tmp_path / "saved.safetensors"
    weights.save(path, state, network="hrnet", config=CONFIG, classes=CLASSES, half=False)
    segmenter = HRNetRecipe(weights=str(path), width="w48").load("cpu")
    assert segmenter.classes == CLASSES
    torch.testing.assert_close(segmenter.segment(images), scores, atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="names its classes itself"):
        HRNetRecipe(weights=str(path), classes="other.txt").load("cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "adm"}, "holds the network 'adm', expected 'hrnet'"),
        ({"classes": None}, "does not name its classes"),
        ({"classes": ("sky", "road")}, "scores 5 classes but names 2"),
        ({"config": {**CONFIG, "STAGE3": {}}}, "STAGE3 must have exactly"),
        ({"config": {**CONFIG, "STAGE1": {**CONFIG["STAGE1"], "NUM_CHANNELS": [9]}}}, "of another shape"),
    ],
)
def test_a_saved_file_that_does_not_fit_is_refused_by_name(changes, message, state, tmp_path):
    path = tmp_path / "saved.safetensors"
    weights.save(path, state, **{"network": "hrnet", "config": CONFIG, "classes": CLASSES, **changes})
    with pytest.raises(WeightsError, match=message):
        HRNetRecipe(weights=str(path)).load("cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a positive integer, got 0"),
        ({"stem_channels": 32}, "expected stem_channels 64, got 32"),
        ({"FINAL_CONV_KERNEL": 3}, "expected FINAL_CONV_KERNEL 1, got 3"),
        ({"STAGE5": {}}, "unknown keys: STAGE5"),
        ({"STAGE2": {**MINI["STAGE2"], "NUM_BRANCHES": 3}}, "expected STAGE2 NUM_BRANCHES 2, got 3"),
        (
            {"STAGE2": {**MINI["STAGE2"], "BLOCK": "CROSS"}},
            "STAGE2 BLOCK must be BASIC or BOTTLENECK, got 'CROSS'",
        ),
        ({"STAGE2": {**MINI["STAGE2"], "FUSE_METHOD": "CAT"}}, "STAGE2 FUSE_METHOD must be SUM, got 'CAT'"),
        (
            {"STAGE3": {**MINI["STAGE3"], "NUM_BLOCKS": [1, 1]}},
            r"STAGE3 NUM_BLOCKS must list 3 numbers, got \[1, 1\]",
        ),
        (
            {"STAGE4": {**MINI["STAGE4"], "NUM_MODULES": 1.5}},
            "STAGE4 NUM_MODULES must be a positive integer, got 1.5",
        ),
    ],
)
def test_a_configuration_that_is_no_hrnet_says_why(change, message):
    checked({**MINI, "num_classes": 2})
    with pytest.raises(ConfigError, match=message):
        checked({**MINI, "num_classes": 2, **change})


def test_an_unknown_width_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'w84'.*Did you mean 'w48'"):
        HRNetRecipe(width="w84").network(CLASSES)


def test_a_width_file_that_is_no_mapping_or_absent_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        named(str(tmp_path / "none.json"), 2)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ConfigError, match="must be a mapping, got list"):
        named(str(tmp_path / "list.json"), 2)


@pytest.mark.parametrize(
    ("width", "millions"),
    [("w18-small", 1.5), ("w18-small-v2", 3.9), ("w18", 9.6), ("w32", 29.5), ("w48", 65.9)],
)
def test_published_sizes_have_their_published_number_of_parameters(width, millions):
    with torch.device("meta"):
        network = HRNet(named(width, 19))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions
    assert width in WIDTHS


def test_the_plugin_offers_hrnet():
    offered = {}
    import smoothseg_hrnet

    smoothseg_hrnet.register_segmenters(offered.__setitem__)
    assert offered == {"hrnet": HRNetRecipe}
    assert isinstance(HRNetRecipe(), smoothseg.Trainable)
