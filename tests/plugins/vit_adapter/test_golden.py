"""ViT-Adapter against the published implementation's numbers: backbone, UPerNet, windows, keys of the checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import lzma
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch.nn import functional

from smoothseg import networks
from smoothseg.weights import Weights, load_state
from smoothseg_vit_adapter import VitAdapterRecipe, checkpoint, pipeline
from smoothseg_vit_adapter.architecture import (
    PRESETS,
    Architecture,
    Backbone,
    Mask2Former,
    Pipeline,
    UPerNet,
    named,
)
from smoothseg_vit_adapter.beit import offsets, position_bias, position_index
from smoothseg_vit_adapter.network import ViTAdapterNetwork

ROOT = Path(__file__).resolve().parents[3]
PACKAGED = ROOT / "tests/golden/vit_adapter"
SHARED = ROOT.parent / "shared/golden/vit_adapter"
FOLDERS = [PACKAGED, *([SHARED] if SHARED.exists() else [])]

WINDOWS = Pipeline(mode="slide", crop=64, stride=40)
BACKBONE = Backbone(native=(64, 64), width=64, heads=4, blocks=(2, 2, 2, 2), stem=16, deformable_heads=4)
TINY = {
    "mask2former": Architecture(
        backbone=BACKBONE,
        head=Mask2Former(
            width=64,
            queries=10,
            pixel_layers=2,
            pixel_heads=4,
            pixel_ffn=256,
            decoder_layers=4,
            decoder_heads=4,
            decoder_ffn=256,
        ),
        pipeline=WINDOWS,
        classes=5,
    ),
    "upernet": Architecture(
        backbone=BACKBONE, head=UPerNet(width=48, auxiliary=32), pipeline=WINDOWS, classes=5
    ),
}

pytestmark = pytest.mark.golden


UNPACKED = {"": bytes, ".gz": gzip.decompress, ".xz": lzma.decompress}


def there(folder, name):
    return any((folder / f"{name}{suffix}").exists() for suffix in UNPACKED)


def content(folder, name):
    """The bytes of a golden file, packed or not."""
    suffix = next(suffix for suffix in UNPACKED if (folder / f"{name}{suffix}").exists())
    return UNPACKED[suffix]((folder / f"{name}{suffix}").read_bytes())


@functools.cache
def tensors(folder, name):
    return load(content(folder, f"{name}.safetensors"))


def state(folder, head, *, tables=None):
    """The tiny network's state dict under the published keys; tables: file of those of another window."""
    everything = tensors(folder, "mask2former_tiny")
    if head == "upernet":
        everything = {key: value for key, value in everything.items() if key.startswith("backbone.")}
        everything |= tensors(folder, "upernet_tiny_heads")
    return everything | ({} if tables is None else tensors(folder, tables))


def tiny(folder, head, *, native=(64, 64), tables=None):
    """The tiny network in eval mode."""
    sizes = TINY[head]
    sizes = dataclasses.replace(sizes, backbone=dataclasses.replace(sizes.backbone, native=native))
    network = ViTAdapterNetwork(sizes).eval().requires_grad_(False)
    own = checkpoint.own(state(folder, head, tables=tables), sizes, origin="golden")
    network.load_state_dict(own, strict=True)
    return network


def cases():
    """(folder, case, head) of everything that can be compared."""
    found = []
    for folder in FOLDERS:
        keys = set(tensors(folder, "mask2former_tiny_io"))
        found += [
            (folder, case, "mask2former")
            for case in ("native", "nonsquare", "interp")
            if f"{case}.input" in keys
        ]
        if there(folder, "upernet_tiny_io.safetensors"):
            found += [(folder, case, "upernet") for case in ("native", "nonsquare")]
    return found


def test_every_kind_of_window_has_a_case():
    assert {case for folder, case, _ in cases() if folder == PACKAGED} == {"native", "nonsquare", "interp"}


@pytest.fixture(params=cases(), ids=lambda case: f"{case[0].parents[1].name}-{case[1]}-{case[2]}")
def golden(request):
    """A tiny network and what it must give for a case, by name."""
    folder, case, head = request.param
    network = (
        tiny(folder, head, native=(64, 96), tables="rel_pos_tables_64x96")
        if case == "nonsquare"
        else tiny(folder, head)
    )
    arrays = dict(tensors(folder, "mask2former_tiny_io"))
    if head == "upernet":
        published = tensors(folder, "upernet_tiny_io")
        arrays |= {f"{case}.scores": published[f"{case}.head_logits"]}
        arrays |= {key: value for key, value in published.items() if key.startswith(f"{case}.")}
    return network, {
        key.removeprefix(f"{case}."): value for key, value in arrays.items() if key.startswith(f"{case}.")
    }


def near(found, expected, atol=None):
    """Compare within `atol`; by default within the rounding of a whole network.

    Float32 rounds by up to 4.2e-6 of the largest value, which depends on the processor's vector instructions.
    """
    if atol is None:
        atol = 2e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_maps_and_scores_are_the_published_ones(golden):
    network, arrays = golden
    maps = network.backbone(arrays["input"])
    given = [i for i in range(4) if f"feat{i}" in arrays]
    assert given[-2:] == [2, 3]
    for i in given:
        near(maps[i], arrays[f"feat{i}"])
    scores = network.scores(arrays["input"])
    near(scores, arrays["scores"])
    if "logits" in arrays:
        size = arrays["input"].shape[-2:]
        full = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        near(full, arrays["logits"])
    if "aux_logits" in arrays:
        near(network.auxiliary_head(maps), arrays["aux_logits"])


def sliding():
    """(folder, head, io file) of every network whose windows can be compared."""
    sources = {"mask2former": "mask2former_tiny_io", "upernet": "upernet_tiny_io"}
    return [
        (folder, head, source)
        for folder in FOLDERS
        for head, source in sources.items()
        if there(folder, f"{source}.safetensors")
    ]


@pytest.mark.parametrize("case", sliding(), ids=lambda case: f"{case[0].parents[1].name}-{case[1]}")
def test_windows_give_the_published_scores_and_labels(case, tmp_path):
    folder, head, source = case
    images = tensors(folder, "mask2former_tiny_io")["slide.input"]
    expected = tensors(folder, source)
    near(pipeline.slide(tiny(folder, head).scores, images, crop=64, stride=40), expected["slide.logits"])

    # the same through the recipe: file, architecture, class names, normalisation
    save_file(state(folder, head), tmp_path / "published.safetensors")
    (tmp_path / "tiny.json").write_text(json.dumps(TINY[head].config()))
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    segmenter = VitAdapterRecipe(
        weights=str(tmp_path / "published.safetensors"),
        architecture=str(tmp_path / "tiny.json"),
        classes=str(tmp_path / "names.txt"),
    ).load("cpu")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scores = segmenter.segment(images * std[:, None, None] + mean[:, None, None])
    near(scores, expected["slide.logits"])
    small = functional.interpolate(scores, size=(75, 101), mode="bilinear", align_corners=False)
    wrong = small.argmax(dim=1)[0] != expected["slide.seg"]
    assert wrong.sum() <= 5


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parents[1].name)
def test_tables_of_larger_windows_are_the_published_ones(folder):
    published = tensors(folder, "rel_pos_interpolation")
    table = published["window14"]
    for key in sorted(set(published) - {"window14"}):
        side = int(key.removeprefix("window"))
        places = offsets((14, 14), (side, side))
        pairs = table[:-3].T.reshape(-1, 27, 27)
        larger = (places.rows @ pairs @ places.columns.T).flatten(1).T
        near(larger, published[key][:-3], atol=1e-5)
        near(table[-3:], published[key][-3:], atol=0)
        if side <= 20:
            native = offsets((side, side), (side, side))
            near(
                position_bias(table, (14, 14), places),
                position_bias(published[key], (side, side), native),
                atol=1e-5,
            )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parents[1].name)
def test_pairs_of_tokens_have_the_published_rows_of_the_table(folder):
    key = "backbone.blocks.0.attn.relative_position_index"
    assert torch.equal(position_index((4, 4)), tensors(folder, "mask2former_tiny")[key])
    if there(folder, "rel_pos_tables_64x96.safetensors"):
        assert torch.equal(position_index((4, 6)), tensors(folder, "rel_pos_tables_64x96")[key])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parents[1].name)
def test_image_sizes_and_windows_are_the_published_ones(folder):
    presets = {"pascal_context": "large-480-mask2former", "cityscapes": "large-896-mask2former"}
    for case in json.loads(content(folder, "slide_geometry.json")):
        rule = PRESETS[presets[case["config"]]].pipeline
        assert (rule.mode, rule.crop, rule.stride) == ("slide", case["crop"], case["stride"])
        assert pipeline.sizes(tuple(case["input_hw"]), rule)[-1] == tuple(case["network_hw"])
        found = pipeline.windows(tuple(case["network_hw"]), crop=rule.crop, stride=rule.stride)
        assert [list(window[:2]) for window in found] == case["window_top_left_yx"]
        assert {(bottom - top, right - left) for top, left, bottom, right in found} == {
            (rule.crop, rule.crop)
        }


# the rule of Pascal-Context, with a short side of 64 instead of 520
PREPROCESS = Pipeline(mode="slide", crop=64, stride=40, short=64, long=4096, multiple=32)


def normalised(images):
    return networks.normalised(images, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)


def preprocessed():
    """[(name, uint8 BGR image, what the published pipeline makes of it)]."""
    found = []
    for folder in FOLDERS:
        arrays = tensors(folder, "preprocess")
        names = sorted(key.split(".")[0] for key in arrays if key.endswith(".bgr_uint8_hwc"))
        found += [
            (
                f"{folder.parents[1].name}-{name}",
                arrays[f"{name}.bgr_uint8_hwc"],
                arrays[f"{name}.image_rgb_chw"],
            )
            for name in names
        ]
    return found


@pytest.mark.parametrize("case", preprocessed(), ids=lambda case: case[0])
def test_images_are_scaled_as_published_but_for_whole_grey_levels(case):
    _, image, expected = case
    grey = image.flip(-1).permute(2, 0, 1)[None].float()
    found = normalised(pipeline.fitted(grey / 255, PREPROCESS))[0]
    assert found.shape == expected.shape
    levels = torch.tensor([0.229, 0.224, 0.225])[:, None, None] * 255
    away = ((found - expected) * levels).abs()
    # half a level for each of two roundings, and what OpenCV's weights of 1/2048 leave of 255
    assert away.max() < 1.5
    assert away.mean() < 0.4


@pytest.mark.parametrize("case", preprocessed(), ids=lambda case: case[0])
def test_with_opencvs_interpolation_the_sizes_and_values_are_exactly_the_published_ones(case):
    cv2 = pytest.importorskip("cv2")
    _, image, expected = case
    scaled = image.numpy()
    for height, width in pipeline.sizes(scaled.shape[:2], PREPROCESS):
        scaled = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = torch.from_numpy(scaled).flip(-1).permute(2, 0, 1)[None].float() / 255
    near(normalised(rgb)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("manifest", "preset", "parameters"),
    [
        ("upernet_beit_adapter_large_480_pascal_context_59", "large-480-upernet", 450_743_350),
        ("mask2former_beit_adapter_large_480_pascal_context_59", "large-480-mask2former", 567_051_772),
        ("mask2former_beit_adapter_large_896_cityscapes", "large-896-mask2former", 570_405_332),
    ],
)
def test_the_published_checkpoints_keys_are_the_networks_and_all_of_them(manifest, preset, parameters):
    listed = json.loads(content(PACKAGED, f"manifest_{manifest}.json"))
    assert listed["parameters"] == parameters
    with torch.device("meta"):
        published = {key: torch.empty(shape) for key, shape in listed["shapes"].items()}
        sizes = named(preset, checkpoint.classes(published, origin=manifest))
        network = ViTAdapterNetwork(sizes)
        own = checkpoint.own(published, sizes, origin=manifest)
        load_state(network, Weights(own, PACKAGED / manifest, "0" * 64))
    assert sizes == PRESETS[preset]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
