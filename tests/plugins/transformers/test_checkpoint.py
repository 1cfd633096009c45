"""The transformers segmenter on small models saved by the library: what it scores, takes and refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from smoothseg import ConfigError, WeightsError, networks, weights
from smoothseg.smoothing import geometry
from smoothseg.testing import check_segmenter
from smoothseg_transformers import TransformersRecipe, checkpoint, described

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="extra 'transformers' is not installed"
)

CLASSES = ("sky", "road", "car", "tree", "sign")
MEAN, STD = (0.48, 0.45, 0.4), (0.23, 0.22, 0.24)
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SIZES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SWIN = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
BACKBONES = {
    "convnext": ("ConvNextConfig", SIZES),
    "convnextv2": ("ConvNextV2Config", SIZES),
    "resnet": ("ResNetConfig", {"embedding_size": 8, **SIZES}),
    "swin": ("SwinConfig", SWIN),
    "swinv2": ("Swinv2Config", SWIN),
}
KINDS = ["segformer", "mask2former", *(f"upernet {name}" for name in BACKBONES)]


def backbone(name):
    import transformers

    config, options = BACKBONES[name]
    return getattr(transformers, config)(out_features=STAGES, **options)


def built(kind):
    """A small network of transformers with random weights, in eval mode."""
    import transformers

    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
    name, _, under = kind.partition(" ")
    torch.manual_seed(5)
    if name == "segformer":
        config = transformers.SegformerConfig(
            **SIZES, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16, **names
        )
        network = transformers.SegformerForSemanticSegmentation(config)
    elif name == "mask2former":
        config = transformers.Mask2FormerConfig(
            backbone_config=backbone(under or "swin"),
            feature_size=64,
            mask_feature_size=64,
            hidden_dim=64,
            encoder_feedforward_dim=32,
            encoder_layers=1,
            decoder_layers=2,
            num_attention_heads=2,
            dim_feedforward=32,
            num_queries=7,
            **names,
        )
        network = transformers.Mask2FormerForUniversalSegmentation(config)
    else:
        config = transformers.UperNetConfig(
            backbone_config=backbone(under),
            hidden_size=16,
            auxiliary_in_channels=32 if "swin" in under else 16,
            auxiliary_channels=8,
            **names,
        )
        network = transformers.UperNetForSemanticSegmentation(config)
    # The initialisation of these classes leaves scores that hardly differ between pixels.
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2.0 / parameter[0].numel()) ** 0.5)
    return network.eval()


def preprocessor(**changes):
    return {"do_normalize": True, "image_mean": MEAN, "image_std": STD, "do_reduce_labels": True, **changes}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`saved(kind)`: the folder of the model, written by the library once."""
    folders = {}

    def of(kind):
        if kind not in folders:
            folder = tmp_path_factory.mktemp("models") / kind.replace(" ", "-")
            with checkpoint._quiet():
                built(kind).save_pretrained(folder)
            (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor()))
            folders[kind] = folder
        return folders[kind]

    return of


@pytest.fixture
def segformer(saved, tmp_path):
    """A copy of the SegFormer's folder, to be changed."""
    return shutil.copytree(saved("segformer"), tmp_path / "segformer")


def load(folder, **options):
    return TransformersRecipe(model=str(folder), **options).load("cpu")


def noisy(batch, height, width):
    return 0.5 + 0.4 * torch.randn((batch, 3, height, width), generator=torch.Generator().manual_seed(1))


def normalised(images):
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def rewritten(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_the_segmenter_keeps_its_protocols_promises_at_any_size(kind, saved):
    folder = saved(kind)
    component = load(folder)
    assert component.classes == CLASSES
    names = ("model.safetensors", "config.json", "preprocessor_config.json")
    assert component.digests == {name: weights.digest(folder / name) for name in names}
    check_segmenter(component)
    for height, width in ((1, 1), (3, 101), (32, 64)):
        scores = component.segment(noisy(1, height, width))
        assert scores.shape == (1, 5, -(-height // 4), -(-width // 4))
        assert torch.isfinite(scores).all()


@pytest.mark.parametrize("kind", ["segformer", "mask2former", "upernet swin"])
def test_half_the_precision_changes_scores_little(kind, saved):
    images = noisy(2, 40, 56)
    full, half = (load(saved(kind), precision=name).segment(images) for name in ("float32", "bfloat16"))
    assert full.dtype == half.dtype == torch.float32
    apart, spread = full - half, full.std()
    assert apart.std() > 0
    assert apart.abs().median() < 0.03 * spread
    # Mask2Former attends where a mask is above a threshold: there rounding, which depends on the processor, moves whole
    # tokens, and some scores differ by as much as they vary.
    assert kind == "mask2former" or apart.std() < 0.06 * spread
    assert torch.equal(load(saved(kind), precision="bfloat16").segment(images[1:]), half[1:])


@torch.no_grad()
def test_segformers_scores_are_the_librarys_logits(saved):
    images = noisy(2, 64, 96)
    expected = built("segformer")(normalised(images)).logits
    torch.testing.assert_close(load(saved("segformer")).segment(images), expected, atol=1e-4, rtol=1e-4)
    assert expected.std(dim=(2, 3)).min() > 1e-2


@pytest.mark.parametrize("name", ["convnext", "swin"])
@torch.no_grad()
def test_upernets_scores_are_the_librarys_before_it_upsamples_them(name, saved):
    images = noisy(2, 64, 96)
    expected = built(f"upernet {name}")(normalised(images)).logits
    scores = load(saved(f"upernet {name}")).segment(images)
    assert scores.shape == (2, 5, 16, 24)
    upsampled = functional.interpolate(scores, size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsampled, expected, atol=1e-4, rtol=1e-4)
    assert expected.std(dim=(2, 3)).min() > 1e-2


@torch.no_grad()
def test_mask2formers_scores_weigh_the_masks_by_the_classes_without_no_object(saved):
    images = noisy(2, 64, 96)
    output = built("mask2former")(normalised(images))
    expected = torch.zeros((2, 5, 16, 24))
    for row in range(2):
        for query in range(7):
            classes = output.class_queries_logits[row, query].exp()
            mask = 1 / (1 + (-output.masks_queries_logits[row, query]).exp())
            expected[row] += (classes / classes.sum())[:5, None, None] * mask
    torch.testing.assert_close(load(saved("mask2former")).segment(images), expected, atol=1e-4, rtol=1e-4)
    assert expected.std(dim=(2, 3)).min() > 1e-3


@torch.no_grad()
def test_an_image_of_other_sides_is_reflected_and_its_share_of_the_scores_is_in_place(saved):
    images = noisy(1, 44, 70)
    network = built("segformer")
    whole = network(networks.pad(normalised(images), 32)).logits
    assert whole.shape == (1, 5, 16, 24)
    scores = load(saved("segformer")).segment(images)
    assert scores.shape == (1, 5, 11, 18)
    # 44 is a multiple of the stride, 70 is not.
    torch.testing.assert_close(scores[..., 0], whole[:, :, :11, 0], atol=1e-4, rtol=1e-4)
    expected = networks.resize(whole, (64, 96), antialias=False)[..., :44, :70].argmax(dim=1)
    assert (geometry.labels(scores, (44, 70)) == expected).float().mean() > 0.9


def test_files_carry_the_published_names_of_keys(saved):
    keys = load_file(saved("segformer") / "model.safetensors").keys()
    assert {
        "segformer.encoder.patch_embeddings.0.proj.weight",
        "segformer.encoder.block.0.0.attention.self.query.weight",
        "segformer.encoder.block.0.0.mlp.dense1.weight",
        "decode_head.linear_c.0.proj.weight",
        "decode_head.classifier.weight",
    } <= keys


def test_half_precision_files_make_float32_networks(segformer):
    state = load_file(segformer / "model.safetensors")
    save_file(
        {key: t.half() if t.is_floating_point() else t for key, t in state.items()},
        segformer / "model.safetensors",
        metadata={"format": "pt"},
    )
    rewritten(segformer / "config.json", dtype="float16", torch_dtype="float16")
    network = checkpoint.load(str(segformer), revision=None).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_torch_files_hold_tensors_only(segformer):
    images = noisy(1, 33, 40)
    expected = load(segformer).segment(images)
    state = load_file(segformer / "model.safetensors")
    (segformer / "model.safetensors").unlink()
    path = segformer / "pytorch_model.bin"
    torch.save(state, path)
    component = load(segformer)
    assert component.digests["pytorch_model.bin"] == weights.digest(path)
    assert torch.equal(component.segment(images), expected)

    marker = segformer / "ran"
    torch.save({**state, "x": Code(str(marker))}, path)
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin needs more than tensors"):
        load(segformer)
    assert not marker.exists()


@dataclasses.dataclass
class Code:
    """Makes a folder when it is unpickled."""

    path: str

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_weights_in_several_parts_are_all_read(segformer):
    images = noisy(1, 33, 40)
    expected = load(segformer).segment(images)
    state = load_file(segformer / "model.safetensors")
    (segformer / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    parts = dict(zip(names, (sorted(state)[::2], sorted(state)[1::2]), strict=True))
    for name, keys in parts.items():
        save_file({key: state[key] for key in keys}, segformer / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, keys in parts.items() for key in keys}}
    (segformer / "model.safetensors.index.json").write_text(json.dumps(index))
    component = load(segformer)
    assert set(component.digests) == {
        *names,
        "config.json",
        "preprocessor_config.json",
    }
    assert torch.equal(component.segment(images), expected)
    (segformer / names[1]).unlink()
    with pytest.raises(WeightsError, match=f"has no {names[1]}, which model.safetensors.index.json names"):
        load(segformer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decode_head.classifier.weight": None}, r"1 missing \(decode_head\.classifier\.weight\)"),
        ({"decode_head.other": torch.ones(2)}, r"1 unexpected \(decode_head\.other\)"),
        (
            {"decode_head.classifier.bias": torch.ones(6)},
            r"1 of another shape \(decode_head\.classifier\.bias \(6,\) instead of \(5,\)\)",
        ),
    ],
)
def test_wrong_keys_and_shapes_are_refused_by_name(change, message, segformer, capfd):
    path = segformer / "model.safetensors"
    state = {**load_file(path), **change}
    save_file({key: t for key, t in state.items() if t is not None}, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=rf"segformer does not fit Segformer.*{message}"):
        load(segformer)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_file_is_refused_by_name(segformer):
    path = segformer / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read as safetensors"):
        load(segformer)


def test_a_configuration_that_the_library_refuses_is_told_in_one_line(segformer):
    rewritten(segformer / "config.json", hidden_sizes="many")
    with pytest.raises(WeightsError, match="segformer cannot be loaded as SegformerForSem") as caught:
        load(segformer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_an_absent_file_is_named(name, segformer):
    (segformer / name).unlink()
    with pytest.raises(WeightsError, match=f"no .*{name}"):
        load(segformer)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "config.json",
            {"model_type": "dpt"},
            "model type dpt is not one of segformer, mask2former, upernet",
        ),
        ("config.json", {"model_type": None}, "model type None is not one of"),
        (
            "config.json",
            {"id2label": dict(zip("01235", CLASSES, strict=True))},
            r"ids 0 to 4.*got \[0, 1, 2, 3, 5\]",
        ),
        ("config.json", {"id2label": dict(enumerate("abcda"))}, "names class 'a' more than once"),
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5]}, r"three numbers as image_mean, got \[0"),
        ("preprocessor_config.json", {"image_std": None}, "three numbers as image_std, got None"),
        (
            "preprocessor_config.json",
            {"rescale_factor": 1 / 127.5},
            r"by 1/255, got .*rescale_factor 0\.0078",
        ),
        ("preprocessor_config.json", {"do_rescale": False}, "got do_rescale False"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(name, changes, message, segformer):
    rewritten(segformer / name, **changes)
    with pytest.raises((ConfigError, WeightsError), match=message):
        load(segformer)


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"backbone_config": {"model_type": "beit"}}, "beit"),
        ({"backbone_config": None, "backbone": "microsoft/resnet-50"}, "microsoft/resnet-50"),
        ({"backbone_config": None}, "None"),
    ],
)
def test_a_backbone_of_fixed_size_or_that_is_only_named_is_refused(changes, got, saved, tmp_path):
    folder = shutil.copytree(saved("upernet swin"), tmp_path / "upernet")
    rewritten(folder / "config.json", **changes)
    with pytest.raises(ConfigError, match=f"backbone_config is of one of convnext, .*, got {got}"):
        load(folder)


def test_a_file_that_is_no_mapping_is_refused(segformer):
    (segformer / "config.json").write_text("[1]")
    with pytest.raises(WeightsError, match=r"config\.json must be a mapping, got list"):
        load(segformer)
    (segformer / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read"):
        load(segformer)


def test_images_are_left_alone_where_the_model_wants_no_normalisation(segformer):
    rewritten(segformer / "preprocessor_config.json", do_normalize=False)
    loaded = checkpoint.load(str(segformer), revision=None)
    assert (loaded.mean, loaded.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_code_that_a_model_brings_along_is_left_alone(segformer):
    (segformer / "modeling.py").write_text("raise SystemExit('it ran')\n")
    names = {
        "AutoConfig": "modeling.Config",
        "AutoModelForSemanticSegmentation": "modeling.Model",
    }
    rewritten(segformer / "config.json", auto_map=names)
    assert load(segformer).classes == CLASSES


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "evil/kernel"},
        {"_attn_implementation": "flash_attention_2"},
        {"_attn_implementation_internal": "evil/kernel"},
        {"attn_implementation": {"backbone_config": "evil/kernel"}},
        {"experts_implementation": "evil/kernel"},
        {"_experts_implementation": "evil/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"attribute_map": {"harmless": "_attn_implementation_internal"}, "harmless": "evil/kernel"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("inside", [None, "backbone_config", "a list"])
def test_a_model_does_not_choose_the_code_that_computes_it(changes, inside, saved, tmp_path):
    folder = shutil.copytree(saved("upernet swin"), tmp_path / "upernet")
    path = folder / "config.json"
    content = json.loads(path.read_text())
    if inside == "a list":
        changes = {"auxiliary": [1, [changes]]}
    elif inside is not None:
        changes = {inside: {**content[inside], **changes}}
    rewritten(path, **changes)
    with pytest.raises(
        ConfigError, match=r"config\.json: \w+(_implementation\w*|_config|_map) must .*, got ."
    ):
        load(folder)


@pytest.mark.parametrize("choice", [None, "eager", "sdpa"])
def test_the_librarys_own_attention_may_be_named(choice):
    named = {"attn_implementation": choice, "_experts_implementation": choice, "quantization_config": None}
    described.refuse_code({"backbone_config": named, **named}, Path("config.json"))


def test_a_model_that_names_the_librarys_attention_is_loaded(segformer):
    expected = load(segformer).segment(noisy(1, 20, 30))
    rewritten(segformer / "config.json", attn_implementation="eager", quantization_config=None)
    assert torch.equal(load(segformer).segment(noisy(1, 20, 30)), expected)


def test_no_other_file_takes_the_configurations_place(segformer):
    images = noisy(1, 20, 30)
    expected = load(segformer).segment(images)
    content = json.loads((segformer / "config.json").read_text())
    (segformer / "config.4.0.0.json").write_text(json.dumps({**content, "id2label": {"0": "other"}}))
    rewritten(segformer / "config.json", configuration_files=["config.4.0.0.json"])
    component = load(segformer)
    assert component.classes == CLASSES
    assert torch.equal(component.segment(images), expected)


def test_the_librarys_own_settings_are_as_they_were_after_loading(saved):
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    def settings():
        return logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.are_progress_bars_disabled()

    before = settings()
    load(saved("segformer"))
    assert settings() == before
    hub.disable_progress_bars()
    try:
        load(saved("segformer"))
        assert settings() == (*before[:2], True)
    finally:
        if not before[2]:
            hub.enable_progress_bars()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache of smoothseg's, and no network; returns where the hub's models lie in it."""
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SMOOTHSEG_OFFLINE", "1")
    return tmp_path / "cache/huggingface"


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(hub, folder):
    """Lay a model's folder into the cache, as huggingface-hub does it."""
    place = hub / "models--owner--name"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(COMMIT)


def test_a_model_of_the_hub_comes_from_the_cache_without_a_network(hub, segformer):
    cached(hub, segformer)
    expected = load(segformer)
    images = noisy(1, 20, 30)
    for revision in (None, "main", COMMIT):
        component = load("owner/name", revision=revision)
        assert component.digests == expected.digests
        assert torch.equal(component.segment(images), expected.segment(images))
    with pytest.raises(WeightsError, match=r"model owner/name at revision v2 is not in .*switched off"):
        load("owner/name", revision="v2")


def test_torch_files_of_the_hub_are_fetched_only_where_there_are_no_safetensors(hub, segformer, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(model, *, revision, allow_patterns, cache_dir, local_files_only):
        assert (model, cache_dir, local_files_only) == ("owner/name", hub, True)
        asked.append((revision, allow_patterns))
        return str(hub / "models--owner--name/snapshots" / COMMIT)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    state = load_file(segformer / "model.safetensors")
    cached(hub, segformer)
    load("owner/name", revision="v1")
    assert [revision for revision, _ in asked] == ["v1"]
    assert not any("bin" in pattern for pattern in asked[0][1])

    asked.clear()
    snapshot = hub / "models--owner--name/snapshots" / COMMIT
    (snapshot / "model.safetensors").unlink()
    torch.save(state, snapshot / "pytorch_model.bin")
    load("owner/name", revision="v1")
    assert [revision for revision, _ in asked] == ["v1", COMMIT]
    assert {"pytorch_model.bin", "pytorch_model-*-of-*.bin", "config.json"} <= set(asked[1][1])


def test_a_model_that_cannot_be_had_says_what_to_fetch_and_where_to_put_it(hub):
    with pytest.raises(WeightsError) as caught:
        load("owner/name")
    message = str(caught.value)
    assert "\n" not in message
    assert str(hub) in message
    for part in ("model.safetensors", "https://huggingface.co/owner/name", "model=FOLDER"):
        assert part in message


def test_what_is_neither_a_folder_nor_an_id_is_refused(segformer, tmp_path):
    for name in (tmp_path / "absent", "./absent", "absent"):
        with pytest.raises(WeightsError, match="absent is neither a folder nor an id"):
            load(name)
    with pytest.raises(ConfigError, match="is a folder: it has no revision v1"):
        load(segformer, revision="v1")
