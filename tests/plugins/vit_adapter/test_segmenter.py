"""What the ViT-Adapter segmenter and its trainable network promise, whatever the weights."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from smoothseg import ConfigError, WeightsError, networks, weights
from smoothseg.testing import check_segmenter
from smoothseg_vit_adapter import VitAdapterRecipe
from smoothseg_vit_adapter.architecture import PRESETS, Architecture, Mask2Former
from smoothseg_vit_adapter.network import ViTAdapterNetwork
from smoothseg_vit_adapter.segmenter import VitAdapterSegmenter

CLASSES = ("sky", "road", "car")
MINI = dataclasses.replace(
    PRESETS["small"],
    backbone=dataclasses.replace(
        PRESETS["small"].backbone, native=(32, 64), width=32, blocks=(1, 1, 1, 1), stem=8
    ),
    head=dataclasses.replace(PRESETS["small"].head, width=16),
    classes=3,
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
RULE = dataclasses.replace(MINI.pipeline, mode="slide", crop=48, stride=32, short=56, long=160, multiple=32)


def randomised(sizes=MINI, seed=3):
    """A small network whose batch norms have seen something and whose injectors speak."""
    torch.manual_seed(seed)
    network = ViTAdapterNetwork(sizes).start_training()
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "relative_position_bias_table")):
            nn.init.normal_(parameter, std=0.5)
        if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
            nn.init.normal_(parameter, std=0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.4, 0.8)
    return network.eval()


def segmenter(sizes=MINI, network=None, **options):
    return VitAdapterSegmenter(
        network or randomised(sizes), VitAdapterRecipe(**options), classes=CLASSES, digests={}, device="cpu"
    )


def noisy(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.5 * torch.randn((batch, 3, height, width), generator=generator)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        (MINI, {}),
        (MINI, {"precision": "bfloat16"}),
        (MINI, {"mode": "slide", "crop": 32, "stride": 9}),
        (QUERIES, {}),
        (QUERIES, {"precision": "bfloat16"}),
        (dataclasses.replace(MINI, pipeline=RULE), {"resize": "published"}),
    ],
)
def test_the_segmenter_keeps_its_protocols_promises(sizes, options):
    check_segmenter(segmenter(sizes, **options))


@pytest.mark.parametrize("options", [{}, {"mode": "slide", "crop": 40, "stride": 20}])
def test_batch_size_does_not_change_a_bit_of_the_scores(options):
    component = segmenter(**options)
    images = noisy(5, 45, 60)
    whole = component.segment(images)
    assert whole.dtype == torch.float32
    parts = [component.segment(images[start : start + 2]) for start in range(0, 5, 2)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("size", [(32, 64), (36, 44), (33, 47), (101, 5), (1, 1)])
@pytest.mark.parametrize("sizes", [MINI, QUERIES], ids=["upernet", "mask2former"])
def test_any_height_and_width_have_scores_that_end_where_the_image_does(sizes, size):
    scores = segmenter(sizes).segment(noisy(1, *size))
    assert scores.shape == (1, 3, -(-size[0] // 4), -(-size[1] // 4))
    assert torch.isfinite(scores).all()


@torch.no_grad()
def test_scores_lie_where_the_padded_images_scores_do():
    network = randomised()
    for size, padded in (((62, 94), (64, 96)), ((60, 92), (64, 96))):
        images = noisy(1, *size)
        whole = network.scores(networks.pad(images, 32))
        assert torch.equal(network.scores(images), networks.cropped(whole, padded, size))


def test_the_segmenter_scores_as_its_network_does():
    network = randomised()
    images = noisy(2, 52, 72)
    with torch.no_grad():
        expected = network(images)
    found = segmenter(network=network).segment(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    left = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == [f"backbone.norm{i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("sizes", [MINI, QUERIES], ids=["upernet", "mask2former"])
def test_half_the_precision_changes_scores_little(sizes):
    images = noisy(2, 64, 64)
    full = segmenter(sizes).segment(images)
    half = segmenter(sizes, precision="bfloat16").segment(images)
    assert half.dtype == torch.float32
    assert 0 < (full - half).std() < 0.1 * full.std()


def test_mode_and_windows_are_the_architectures_unless_given():
    images = noisy(1, 64, 96)
    whole = segmenter().segment(images)
    assert whole.shape == (1, 3, 16, 24)
    windows = dataclasses.replace(MINI.pipeline, mode="slide", crop=48, stride=32)
    sliding = dataclasses.replace(MINI, pipeline=windows)
    assert segmenter(sliding).segment(images).shape == (1, 3, 64, 96)
    assert torch.equal(segmenter(sliding, mode="whole").segment(images), whole)
    one = segmenter(mode="slide", crop=96, stride=7).segment(images)
    torch.testing.assert_close(
        one, functional.interpolate(whole, size=(64, 96), mode="bilinear", align_corners=False)
    )


def test_published_sizes_are_those_of_the_architecture_or_refused():
    sizes = dataclasses.replace(MINI, pipeline=RULE)
    assert segmenter(sizes, resize="published").segment(noisy(1, 28, 40)).shape == (1, 3, 64, 96)
    assert segmenter(sizes).segment(noisy(1, 28, 40)).shape == (1, 3, 28, 40)
    with pytest.raises(ConfigError, match="resize=published: no rule was published"):
        segmenter(resize="published")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 0}, "crop=0 must be at least 1 pixel"),
        ({"stride": -3}, "stride=-3 must be at least 1 pixel"),
        ({"mode": "whole", "crop": 64}, "crop=64 has no use with mode=whole"),
        ({"crop": 64, "stride": 65}, "crop=64 every stride=65 pixels do not see all of them"),
    ],
)
def test_windows_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        VitAdapterRecipe(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 32}, "crop=32 every stride=128"),
        ({"stride": 193}, "crop=192 every stride=193"),
    ],
)
def test_windows_that_leave_pixels_unseen_with_the_architectures_other_number_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"{message} pixels do not see all of them: stride must be at most"):
        segmenter(mode="slide", **options)


@pytest.mark.parametrize("options", [{"crop": 64}, {"stride": 32}, {"crop": 64, "stride": 32}])
def test_windows_are_refused_where_the_architecture_takes_the_image_whole(options):
    with pytest.raises(ConfigError, match=r"(crop=64|stride=32) has no use: mode=auto is .* say mode=slide"):
        segmenter(**options)


@pytest.mark.parametrize("sizes", [MINI, QUERIES, *PRESETS.values()])
def test_the_config_is_json_that_rebuilds_the_architecture(sizes):
    assert Architecture.from_config(json.loads(json.dumps(sizes.config())), origin="here") == sizes


def test_the_small_network_fits_its_file():
    network = VitAdapterRecipe().network([f"class {i}" for i in range(11)])
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2_100_000
    assert sum(tensor.numel() for tensor in network.state_dict().values()) * 2 < 4_400_000


def test_a_network_without_classes_cannot_be_trained():
    with pytest.raises(ConfigError, match="class names"):
        VitAdapterRecipe().network(None)


def test_every_parameter_learns():
    network = randomised().train()
    network(noisy(2, 32, 64)).square().sum().backward()
    still = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert still == []


def test_a_network_learns_and_comes_back_as_a_segmenter(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "mini.json").write_text(json.dumps(MINI.config()))
    network = VitAdapterRecipe(architecture=str(tmp_path / "mini.json")).network(("dark", "bright"))
    labels = torch.zeros((4, 32, 64), dtype=torch.long)
    for row, edge in enumerate((12, 28, 40, 52)):
        labels[row, :, edge:] = 1
    generator = torch.Generator().manual_seed(1)
    images = 0.3 + 0.4 * labels[:, None] + 0.05 * torch.randn((4, 3, 32, 64), generator=generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(30):
        scores = functional.interpolate(network(images), size=(32, 64), mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0]

    path = tmp_path / "learnt.safetensors"
    weights.save(
        path, network.state_dict(), network="vit-adapter", config=network.config, classes=("dark", "bright")
    )
    learnt = VitAdapterRecipe(weights=str(path)).load("cpu")
    scores = functional.interpolate(
        learnt.segment(images), size=(32, 64), mode="bilinear", align_corners=False
    )
    assert learnt.classes == ("dark", "bright")
    assert (scores.argmax(dim=1) == labels).float().mean() > 0.95


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("backbone", {"native": [32, 50]}, r"native=\(32, 50\) must be multiples of 32"),
        ("backbone", {"heads": 5}, "heads=5 must divide width=32"),
        ("backbone", {"deformable_heads": 3}, "deformable_heads=3 must divide deformable_ratio x width = 16"),
        ("backbone", {"blocks": [1, 1, 1, 0]}, r"blocks must be at least 1, got \(1, 1, 1, 0\)"),
        ("backbone", {"blocks": [1, 1, 1]}, "at 'backbone.blocks.3': Field required"),
        ("backbone", {"depth": 4}, "at 'backbone.depth': Unexpected keyword argument"),
        ("backbone", {"feed_forward": 0.01}, "must leave hidden channels"),
        ("head", {"kind": "fcn"}, "at 'head': .*'fcn'"),
        ("head", {"pools": []}, r"pools must be at least 1, got \(\)"),
        ("pipeline", {"short": 520}, "short=520 and long=None go together"),
        ("pipeline", {"mode": "tile"}, "at 'pipeline.mode'"),
        ("pipeline", {"crop": 100}, "windows of crop=100 every stride=128 pixels do not see all of them"),
    ],
)
def test_a_config_that_is_no_vit_adapter_says_why(part, change, message):
    config = MINI.config()
    with pytest.raises(WeightsError, match=rf"the ViT-Adapter config of here.*{message}"):
        Architecture.from_config({**config, part: {**config[part], **change}}, origin="here")
