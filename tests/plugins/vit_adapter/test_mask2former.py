"""The Mask2Former head: the published implementation's numbers, and what must hold of any such head."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch.nn import functional

from smoothseg import ConfigError
from smoothseg_vit_adapter.mask2former import Mask2FormerHead
from smoothseg_vit_adapter.pixel_decoder import sine_positions

ROOT = Path(__file__).resolve().parents[3]
PACKAGED = ROOT / "tests/golden/vit_adapter"
SHARED = ROOT.parent / "shared/golden/vit_adapter"
HEAD = "decode_head."
TINY = {
    "in_channels": (64, 64, 64, 64),
    "width": 64,
    "out_width": 64,
    "classes": 5,
    "queries": 10,
    "pixel_layers": 2,
    "pixel_heads": 4,
    "pixel_points": 4,
    "pixel_ffn": 256,
    "decoder_layers": 4,
    "decoder_heads": 4,
    "decoder_ffn": 256,
}
LARGE = {
    "in_channels": (1024, 1024, 1024, 1024),
    "width": 1024,
    "out_width": 1024,
    "queries": 100,
    "pixel_layers": 6,
    "pixel_heads": 32,
    "pixel_points": 4,
    "pixel_ffn": 4096,
    "decoder_layers": 9,
    "decoder_heads": 32,
    "decoder_ffn": 4096,
}
PUBLISHED = {59: "large_480_pascal_context_59", 19: "large_896_cityscapes"}


UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}


def files(folder, name):
    """The golden file in a folder, packed or not, if it is there."""
    return [path for suffix in ("", *UNPACK) if (path := folder / f"{name}{suffix}").exists()]


def content(path):
    return UNPACK.get(path.suffix, bytes)(path.read_bytes())


def cases():
    """(folder, case) of every case whose maps are there."""
    found = []
    for folder in (PACKAGED, SHARED):
        for path in files(folder, "mask2former_tiny_io.safetensors"):
            keys = load(content(path))
            found += [(folder, case) for case in ("native", "nonsquare", "interp") if f"{case}.feat0" in keys]
    return found


def under(prefix, tensors):
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


@pytest.fixture(params=cases(), ids=lambda case: f"{case[0].parents[1].name}-{case[1]}")
def golden(request):
    """The published head in eval mode and the arrays of a case under their own names."""
    folder, case = request.param
    (state,) = files(folder, "mask2former_tiny.safetensors")
    (arrays,) = files(folder, "mask2former_tiny_io.safetensors")
    head = Mask2FormerHead(**TINY)
    head.load_state_dict(under(HEAD, load(content(state))), strict=True)
    return head.eval(), under(f"{case}.", load(content(arrays)))


def maps_of(arrays):
    return [arrays[f"feat{i}"] for i in range(4)]


def tiny(**sizes):
    """A head of random weights that are all but zero, in eval mode."""
    torch.manual_seed(5)
    head = Mask2FormerHead(**{**TINY, **sizes})
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return head.eval()


def random_maps(height, width, *, batch=1, seed=3, channels=(64, 64, 64, 64)):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, depth, height >> shift, width >> shift, generator=generator)
        for shift, depth in enumerate(channels, start=2)
    ]


def assert_near(found, expected, atol=4e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.golden
def test_there_are_golden_cases():
    assert cases()


@pytest.mark.golden
@torch.inference_mode()
def test_the_pixel_decoder_makes_the_published_features_and_memories(golden):
    head, arrays = golden
    features, memories = head.pixel_decoder(maps_of(arrays))
    assert [tuple(memory.shape[-2:]) for memory in memories] == [
        tuple(arrays[f"feat{i}"].shape[-2:]) for i in (3, 2, 1)
    ]
    if "mask_feature" in arrays:
        assert_near(features, arrays["mask_feature"])
        for i, memory in enumerate(memories):
            assert_near(memory, arrays[f"memory{i}"])


@pytest.mark.golden
@torch.inference_mode()
def test_the_predictions_of_every_layer_are_the_published_ones(golden):
    head, arrays = golden
    predictions = list(head.predictions(maps_of(arrays)))
    assert len(predictions) == TINY["decoder_layers"] + 1
    given = len(arrays["cls_pred"])
    for found, classes, masks in zip(
        predictions[-given:], arrays["cls_pred"], arrays["mask_pred"], strict=True
    ):
        assert_near(found[0], classes)
        assert_near(found[1], masks, atol=1.5e-4)


@pytest.mark.golden
@pytest.mark.parametrize("training", [False, True])
@torch.inference_mode()
def test_the_scores_are_the_published_ones_in_either_mode(golden, training):
    head, arrays = golden
    assert_near(head.train(training)(maps_of(arrays)), arrays["scores"])


@pytest.mark.golden
@pytest.mark.parametrize("classes", sorted(PUBLISHED))
def test_the_published_checkpoints_keys_are_this_heads_and_all_of_them(classes):
    with torch.device("meta"):
        head = Mask2FormerHead(**LARGE, classes=classes)
    assert sum(p.numel() for p in head.parameters()) == {59: 239_354_684, 19: 239_313_684}[classes]
    name = f"manifest_mask2former_beit_adapter_{PUBLISHED[classes]}.json"
    for folder in (PACKAGED, SHARED):
        for path in files(folder, name):
            shapes = under(HEAD, json.loads(content(path))["shapes"])
            assert {key: list(tensor.shape) for key, tensor in head.state_dict().items()} == shapes


def test_positions_are_sines_of_the_row_then_of_the_column():
    size, width = (3, 5), 16
    found = sine_positions(size, width, device=torch.device("cpu"), dtype=torch.float32)
    assert found.shape == (15, width)
    expected = []
    for row in range(1, 4):
        for column in range(1, 6):
            token = []
            for place, length in ((row, 3), (column, 5)):
                for pair in range(4):
                    angle = 2 * math.pi * place / (length + 1e-6) / 10000 ** (pair / 4)
                    token += [math.sin(angle), math.cos(angle)]
            expected.append(token)
    assert_near(found, torch.tensor(expected), atol=1e-6)


def test_scores_are_masks_weighted_by_class_probabilities():
    head = tiny()
    maps = random_maps(64, 96, batch=2)
    with torch.inference_mode():
        scores = head(maps)
        *_, (logits, masks) = head.predictions(maps)
    assert scores.shape == (2, 5, 16, 24)
    expected = torch.zeros_like(scores)
    for query in range(TINY["queries"]):
        chances = logits[:, query].exp() / logits[:, query].exp().sum(dim=1, keepdim=True)
        expected += chances[:, :5, None, None] / (1 + (-masks[:, query, None]).exp())
    assert_near(scores, expected, atol=1e-5)
    assert scores.min() >= 0


def test_a_query_whose_mask_is_nowhere_looks_everywhere():
    head = tiny()
    maps = random_maps(64, 96)
    with torch.inference_mode():
        head.pixel_decoder.mask_feature.weight.zero_()
        head.mask_embed[-1].weight.zero_()
        head.mask_embed[-1].bias.fill_(1.0)
        logits = []
        for sign in (-1.0, 1.0):
            head.pixel_decoder.mask_feature.bias.fill_(sign)
            *_, (classes, masks) = head.predictions(maps)
            assert torch.equal(masks.sign(), torch.full_like(masks, sign))
            logits.append(classes)
    assert torch.equal(logits[0], logits[1])


@torch.inference_mode()
def test_a_query_looks_where_its_mask_is_and_nowhere_else():
    head = tiny(decoder_layers=1, queries=40)
    among_queries = head.transformer_decoder.layers[0].attentions[1].attn.out_proj
    for parameter in among_queries.parameters():
        parameter.zero_()
    features, memories = head.pixel_decoder(random_maps(64, 96))
    before, after = head.decoded(features, memories)
    masks = torch.einsum("bqc,bchw->bqhw", head.mask_embed(before), features)
    masks = functional.interpolate(masks, size=(2, 3), mode="bilinear", align_corners=False)
    inside = (masks.sigmoid() >= 0.5).flatten(2)[0]
    inside[~inside.any(dim=1)] = True
    assert 0.1 < inside.float().mean() < 0.9
    for place in range(6):
        memory = memories[0].clone()
        memory[:, :, place // 3, place % 3] += 1
        _, changed = head.decoded(features, [memory, *memories[1:]])
        assert torch.equal((changed != after).any(dim=-1)[0], inside[:, place])


def test_the_smallest_image_and_maps_of_unlike_widths_have_scores():
    channels = (3, 5, 7, 9)
    head = tiny(in_channels=channels, out_width=48, decoder_layers=2)
    with torch.inference_mode():
        scores = head(random_maps(32, 32, channels=channels))
    assert scores.shape == (1, 5, 8, 8)
    assert scores.isfinite().all()


def test_rows_of_a_batch_do_not_see_each_other():
    head = tiny()
    maps = random_maps(64, 96, batch=3)
    with torch.inference_mode():
        together = head(maps)
        for row in range(3):
            assert_near(head([level[row : row + 1] for level in maps])[0], together[row], atol=1e-5)


def test_scores_have_a_gradient_in_every_weight_even_after_inference_at_that_size():
    head = tiny(decoder_layers=3)
    maps = random_maps(64, 96)
    with torch.inference_mode():
        head(maps)
    maps = [level.requires_grad_() for level in maps]
    head.train()(maps).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert all(level.grad.abs().max() > 0 for level in maps)


def test_the_gradient_is_that_of_the_scores():
    head = tiny(decoder_layers=1, queries=3).double()
    maps = [level.double() for level in random_maps(32, 64)]
    weight = head.cls_embed.weight
    weight.grad = None
    (scores := head(maps)).square().sum().backward()
    assert scores.dtype == torch.float32
    with torch.no_grad():
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).double()
        ends = []
        for step in (1e-2, -1e-2):
            weight.add_(direction, alpha=step)
            ends.append(head(maps).double().square().sum())
            weight.sub_(direction, alpha=step)
        slope = (ends[0] - ends[1]) / 2e-2
    torch.testing.assert_close((weight.grad * direction).sum(), slope, rtol=1e-2, atol=1e-3)


def test_bfloat16_scores_are_float32_and_close():
    head = tiny()
    maps = random_maps(64, 96)
    with torch.inference_mode():
        exact = head(maps)
        rough = head.bfloat16()([level.bfloat16() for level in maps])
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.1 * exact.mean()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"in_channels": (64, 64, 64)}, r"takes 4 maps, got in_channels=\(64, 64, 64\)"),
        ({"width": 32}, "width=32 of a Mask2Former head must be a multiple of 32 from 64 on"),
        ({"width": 80}, "width=80 of a Mask2Former head must be a multiple of 32 from 64 on"),
        ({"pixel_heads": 5}, "pixel_heads=5 of a Mask2Former head must divide its width=64"),
        ({"decoder_heads": 3}, "decoder_heads=3 of a Mask2Former head must divide its width=64"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        Mask2FormerHead(**{**TINY, **sizes})
