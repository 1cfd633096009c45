"""HRNetV2 against the published implementation's numbers."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file
from torch.nn import functional

from smoothseg import networks
from smoothseg.weights import Weights, load_state
from smoothseg_hrnet import HRNetRecipe
from smoothseg_hrnet.config import named
from smoothseg_hrnet.layouts import renamed
from smoothseg_hrnet.network import HRNet

ROOT = Path(__file__).resolve().parents[3]
PACKAGED = ROOT / "tests/golden/hrnet"
SHARED = ROOT.parent / "shared/golden/hrnet"
TINY = {"tiny_b": PACKAGED, **{name: SHARED for name in ("tiny_a", "tiny_b") if SHARED.exists()}}
CASES = [(name, image) for name in sorted(TINY) for image in "ab"]

pytestmark = pytest.mark.golden


def stored(name):
    """The state dict of a tiny network, packed or not."""
    packed = TINY[name] / f"{name}.safetensors.xz"
    if packed.exists():
        return load(lzma.decompress(packed.read_bytes()))
    return load_file(TINY[name] / f"{name}.safetensors")


def tiny(name):
    """The network in eval mode and its golden arrays."""
    folder = TINY[name]
    network = HRNet(json.loads((folder / f"{name}.config.json").read_text()))
    network.load_state_dict(stored(name), strict=True)
    with np.load(folder / f"{name}.io.npz") as arrays:
        return network.eval(), {key: torch.from_numpy(arrays[key]) for key in arrays}


def seeded(classes):
    """A W48 whose weights follow from the names of their keys alone."""
    network = HRNet(named("w48", classes))
    state = network.state_dict()
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        seed = (303 * 1000003 + sum(ord(letter) * i for i, letter in enumerate(key, start=1))) % 2**31
        draw = np.random.RandomState(seed)
        shape = tuple(tensor.shape)
        if key.endswith("running_mean"):
            values = draw.normal(0, 0.25, shape)
        elif key.endswith("running_var"):
            values = draw.uniform(0.5, 1.8, shape)
        elif tensor.ndim == 4:
            values = draw.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif key.endswith("weight"):
            values = draw.uniform(0.6, 1.3, shape)
        else:
            values = draw.normal(0, 0.2, shape)
        values = values.astype(np.float32)
        if key.endswith("bn3.weight") or (".branches." in key and key.endswith("bn2.weight")):
            values *= np.float32(0.3)
        if key == "last_layer.3.weight":
            values /= np.float32(200)
        tensor.copy_(torch.from_numpy(values))
    return network.eval()


@pytest.mark.parametrize(("name", "image"), CASES)
@torch.inference_mode()
def test_scores_are_the_published_ones_at_round_and_odd_sizes(name, image):
    network, golden = tiny(name)
    scores = network.scores(golden[f"{image}_input"])
    torch.testing.assert_close(scores, golden[f"{image}_logits"], atol=1e-4, rtol=0)
    for wrong in ("align_true", "nearest_fuse"):
        assert (scores - golden[f"{image}_logits_wrong_{wrong}"]).abs().max() > 0.1


@pytest.mark.parametrize(("name", "image"), CASES)
def test_the_trainable_module_takes_images_in_0_1(name, image):
    network, golden = tiny(name)
    images = golden[f"{image}_image_uint8"].float() / 255
    normalised = networks.normalised(images, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
    torch.testing.assert_close(normalised, golden[f"{image}_input"], atol=1e-5, rtol=0)
    with torch.no_grad():
        if image == "a":  # 64 x 96; others are padded first
            torch.testing.assert_close(network(images), golden["a_logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "image"), CASES)
def test_the_loaded_segmenter_labels_pixels_as_published(name, image, tmp_path):
    folder = TINY[name]
    golden = tiny(name)[1]
    save_file(stored(name), tmp_path / "published.safetensors")
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    segmenter = HRNetRecipe(
        weights=str(tmp_path / "published.safetensors"),
        width=str(folder / f"{name}.config.json"),
        classes=str(tmp_path / "classes.txt"),
        fit="none",
    ).load("cpu")
    images = golden[f"{image}_image_uint8"].float() / 255
    scores = segmenter.segment(images)
    torch.testing.assert_close(scores, golden[f"{image}_logits"], atol=1e-4, rtol=0)
    full = functional.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
    best, second = full.topk(2, dim=1).values.unbind(dim=1)
    clear = best - second > 1e-3
    assert clear.float().mean() > 0.99
    assert torch.equal(full.argmax(dim=1)[clear], golden[f"{image}_argmax_full"].long()[clear])


@pytest.mark.parametrize("name", sorted(TINY))
@torch.inference_mode()
def test_every_stage_hands_on_the_published_activations(name):
    network, golden = tiny(name)
    seen = {"layer1": [], "stage2": [], "stage3": [], "stage4": []}
    network.layer1.register_forward_hook(lambda _module, _inputs, output: seen["layer1"].append(output))
    for number in (2, 3, 4):
        activation = getattr(network, f"stage{number}")[-1].fuse_act
        activation.register_forward_hook(
            lambda _module, _inputs, output, outputs=seen[f"stage{number}"]: outputs.append(output)
        )
    network.scores(golden["a_input"][:1])
    assert [len(outputs) for outputs in seen.values()] == [1, 2, 3, 4]
    expected = {"layer1": [golden["a_act_layer1"]]}
    for stage in ("stage2", "stage3", "stage4"):
        expected[stage] = [golden[f"a_act_{stage}_{i}"] for i in range(len(seen[stage]))]
    for stage, outputs in seen.items():
        for output, activation in zip(outputs, expected[stage], strict=True):
            # Float32 rounds by at most 1.4e-6 of the largest activation, whatever the processor's instructions.
            atol = 5e-6 * float(activation.abs().max())
            torch.testing.assert_close(output, activation, atol=atol, rtol=0)


@pytest.mark.parametrize(("name", "classes"), [("cityscapes", 19), ("pascal_context", 59)])
def test_the_published_checkpoints_keys_are_a_w48s_and_all_of_them(name, classes):
    packed = PACKAGED / f"hrnetv2_w48_{name}.checkpoint_manifest.json.gz"
    manifest = json.loads(gzip.decompress(packed.read_bytes()))
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in manifest["keys"].items()}
        network = HRNet(named("w48", classes))
    own = renamed(state, origin=packed.name)
    assert len(own) == 1839
    assert set(state) - {f"model.{key}" for key in own} <= {"std", "loss.criterion.weight"}
    load_state(network, Weights(own, packed, "0" * 64))
    trainable = sum(parameter.numel() for parameter in network.parameters())
    assert trainable == manifest["trainable_parameters"]
    assert trainable == {19: 65_859_379, 59: 65_888_219}[classes]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [19, 59])
def test_a_whole_w48_scores_as_published(classes):
    folder = SHARED if SHARED.exists() else PACKAGED
    with np.load(folder / "w48_seeded.io.npz") as arrays:
        golden = {key: torch.from_numpy(arrays[key]) for key in arrays}
    network = seeded(classes)
    state = network.state_dict()
    for key, probe in (
        ("conv1.weight", "probe_conv1_weight_first8"),
        ("stage4.2.fuse_layers.3.0.2.1.running_var", "probe_stage4.2.fuse_layers.3.0.2.1.running_var_first8"),
    ):
        assert torch.equal(state[key].flatten()[:8], golden[probe])
    if classes == 19:
        total = sum(tensor.double().abs().sum() for tensor in state.values() if tensor.is_floating_point())
        torch.testing.assert_close(total, golden["sum_abs_all_float_tensors"], rtol=1e-9, atol=0)
    for image in "ab":
        if f"{image}_input" in golden:
            with torch.inference_mode():
                scores = network.scores(golden[f"{image}_input"])
            torch.testing.assert_close(scores, golden[f"{image}_logits_{classes}"], atol=1e-4, rtol=0)
