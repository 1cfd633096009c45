"""Which weight files the ViT-Adapter segmenter takes, and by which name it refuses the others."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

import smoothseg
from smoothseg import ConfigError, UnknownNameError, WeightsError, weights
from smoothseg.data.class_names import CITYSCAPES, PASCAL_CONTEXT
from smoothseg_vit_adapter import VitAdapterRecipe, segmenter
from smoothseg_vit_adapter.architecture import PRESETS, Mask2Former, UPerNet, named
from smoothseg_vit_adapter.beit import position_index
from smoothseg_vit_adapter.network import ViTAdapterNetwork

CLASSES = ("sky", "road", "car", "tree", "sign")
MINI = dataclasses.replace(
    PRESETS["small"],
    backbone=dataclasses.replace(
        PRESETS["small"].backbone, native=(32, 64), width=32, blocks=(1, 1, 1, 1), stem=8
    ),
    head=UPerNet(width=16, auxiliary=8),
    classes=5,
)
QUERIES = dataclasses.replace(
    MINI,
    head=Mask2Former(
        width=64,
        queries=5,
        pixel_layers=1,
        pixel_heads=4,
        pixel_ffn=64,
        decoder_layers=1,
        decoder_heads=4,
        decoder_ffn=64,
    ),
)
INDEX = "backbone.blocks.{}.attn.relative_position_index"


def trained(sizes):
    torch.manual_seed(1)
    return ViTAdapterNetwork(sizes).start_training().eval().requires_grad_(False)


def published(network):
    """The state dict as its authors' code writes it, with an index buffer a block."""
    sizes = network.architecture.backbone
    return {
        **network.state_dict(),
        **{INDEX.format(block): position_index(sizes.window) for block in range(sizes.depth)},
    }


@pytest.fixture(scope="module")
def network():
    return trained(MINI)


@pytest.fixture(scope="module")
def images():
    return torch.rand((1, 3, 32, 64), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def recipe(tmp_path):
    """A recipe for checkpoints that carry neither architecture nor classes."""
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")

    def made(path, sizes=MINI, **options):
        (tmp_path / "mini.json").write_text(json.dumps(sizes.config()))
        return VitAdapterRecipe(
            weights=str(path),
            architecture=str(tmp_path / "mini.json"),
            classes=str(tmp_path / "classes.txt"),
            **options,
        )

    return made


@pytest.mark.parametrize("sizes", [MINI, QUERIES], ids=["upernet", "mask2former"])
def test_a_published_checkpoint_loads_with_its_index_buffers(sizes, images, recipe, tmp_path):
    network = trained(sizes)
    path = tmp_path / "checkpoint.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": published(network), "optimizer": {"state": {}}}, path)
    component = recipe(path, sizes).load("cpu")
    assert component.classes == CLASSES
    assert component.digests == {
        name: weights.digest(tmp_path / name) for name in ("checkpoint.pth", "mini.json", "classes.txt")
    }
    torch.testing.assert_close(component.segment(images), network(images), atol=1e-4, rtol=0)


def test_the_unused_classifier_of_older_mask2former_files_is_taken(recipe, tmp_path):
    state = published(trained(QUERIES))
    old = {
        "decode_head.conv_seg.weight": torch.zeros(5, 64, 1, 1),
        "decode_head.conv_seg.bias": torch.zeros(5),
    }
    torch.save(state | old, tmp_path / "old.pth")
    assert recipe(tmp_path / "old.pth", QUERIES).load("cpu").classes == CLASSES


@pytest.mark.parametrize("sizes", [MINI, QUERIES], ids=["upernet", "mask2former"])
def test_keys_that_are_unexpected_or_missing_are_refused_by_name(sizes, recipe, tmp_path):
    path = tmp_path / "checkpoint.pth"
    state = published(trained(sizes))
    torch.save(state | {"decode_head.extra.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"1 unexpected \(decode_head\.extra\.weight\), as architecture="):
        recipe(path, sizes).load("cpu")
    torch.save({key: value for key, value in state.items() if key != "backbone.up.bias"}, path)
    with pytest.raises(WeightsError, match=r"1 missing \(backbone\.up\.bias\)"):
        recipe(path, sizes).load("cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({INDEX.format(2): None}, r"blocks\.2\.attn\.relative_position_index is missing"),
        ({INDEX.format(1): torch.zeros(9, 9, dtype=torch.long)}, r"not made for images of 32x64.*\(9, 9\)"),
        ({INDEX.format(0): position_index((4, 2))}, r"not made for images of 32x64"),
    ],
)
def test_a_checkpoint_of_another_window_is_refused(change, message, network, recipe, tmp_path):
    state = {key: value for key, value in (published(network) | change).items() if value is not None}
    torch.save(state, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=message):
        recipe(tmp_path / "checkpoint.pth").load("cpu")


def test_another_networks_checkpoint_is_refused_by_its_keys(recipe, tmp_path):
    save_file({"conv1.weight": torch.zeros(2, 3), "fc.weight": torch.zeros(5, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"no ViT-Adapter segmenter.*conv1\.weight, fc\.weight"):
        recipe(tmp_path / "x.safetensors").load("cpu")


def test_what_the_catalogue_says_of_a_file_decides_its_architecture(network, monkeypatch, tmp_path):
    path = tmp_path / "listed.safetensors"
    (tmp_path / "mini.json").write_text(json.dumps(MINI.config()))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    save_file(published(network), path)

    def listed(reference, *, package):
        found = weights.load(reference, package=package)
        return dataclasses.replace(found, options={"architecture": str(tmp_path / "mini.json")})

    monkeypatch.setattr(segmenter, "load_weights", listed)
    chosen = VitAdapterRecipe(
        weights=str(path), architecture="large-480-upernet", classes=str(tmp_path / "classes.txt")
    )
    assert chosen.load("cpu").classes == CLASSES


@pytest.mark.parametrize("names", [CITYSCAPES, PASCAL_CONTEXT], ids=len)
def test_published_class_counts_have_names(names, tmp_path):
    path, sizes = tmp_path / "published.safetensors", tmp_path / "mini.json"
    sizes.write_text(json.dumps(MINI.config()))
    save_file(published(trained(named(str(sizes), len(names)))), path)
    assert VitAdapterRecipe(weights=str(path), architecture=str(sizes)).load("cpu").classes == names


def test_class_names_that_nobody_gives_or_that_do_not_fit_are_refused(network, recipe, tmp_path):
    path = tmp_path / "plain.safetensors"
    save_file(published(network), path)
    with pytest.raises(ConfigError, match=r"scores 5 classes and does not name them.*classes=FILE"):
        dataclasses.replace(recipe(path), classes=None).load("cpu")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    fitting = dataclasses.replace(recipe(path), classes=str(tmp_path / "two.txt"))
    (tmp_path / "two.txt").write_text("a\nb\n")
    with pytest.raises(ConfigError, match="names 2 classes, but the checkpoint scores 5"):
        fitting.load("cpu")


def test_a_saved_network_brings_its_architecture_and_classes(network, images, tmp_path):
    path = tmp_path / "saved.safetensors"
    weights.save(
        path,
        network.state_dict(),
        network="vit-adapter",
        config=network.config,
        classes=CLASSES,
        half=False,
    )
    component = VitAdapterRecipe(weights=str(path), architecture="large-896-mask2former").load("cpu")
    assert component.classes == CLASSES
    assert component.digests == {"saved.safetensors": weights.digest(path)}
    torch.testing.assert_close(component.segment(images), network(images), atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="names its classes itself"):
        VitAdapterRecipe(weights=str(path), classes="other.txt").load("cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "hrnet"}, "holds the network 'hrnet', expected 'vit-adapter'"),
        ({"classes": None}, "does not name its classes"),
        ({"classes": ("sky", "road")}, "scores 5 classes but names 2"),
        ({"config": {"classes": 5}}, "at 'backbone': Field required"),
        ({"config": dataclasses.replace(MINI, head=UPerNet(width=24)).config()}, "of another shape"),
    ],
)
def test_a_saved_file_that_does_not_fit_is_refused_by_name(changes, message, network, tmp_path):
    path = tmp_path / "saved.safetensors"
    stored = {"network": "vit-adapter", "config": MINI.config(), "classes": CLASSES, **changes}
    weights.save(path, network.state_dict(), **stored)
    with pytest.raises(WeightsError, match=message):
        VitAdapterRecipe(weights=str(path)).load("cpu")


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'smal'.*Did you mean 'small'"):
        VitAdapterRecipe(architecture="smal").network(CLASSES)


def test_an_architecture_file_that_is_no_object_or_absent_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        named(str(tmp_path / "none.json"), 2)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ConfigError, match="must hold a JSON object"):
        named(str(tmp_path / "list.json"), 2)


def test_every_tensor_of_the_networks_is_in_their_state_dict():
    # a published network is built without values and filled from its file: nothing else would give it any
    for sizes in (MINI, QUERIES):
        network = ViTAdapterNetwork(sizes)
        known = set(network.state_dict())
        assert {name for name, _ in network.named_buffers()} <= known


def test_the_plugin_offers_vit_adapter():
    offered = {}
    import smoothseg_vit_adapter

    smoothseg_vit_adapter.register_segmenters(offered.__setitem__)
    assert offered == {"vit-adapter": VitAdapterRecipe}
    assert isinstance(VitAdapterRecipe(), smoothseg.Trainable)
