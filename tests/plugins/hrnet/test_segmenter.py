"""What the HRNet segmenter and its trainable network promise, whatever the weights."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from smoothseg import ConfigError, networks, weights
from smoothseg.testing import check_segmenter
from smoothseg_hrnet import HRNetRecipe
from smoothseg_hrnet.network import HRNet
from smoothseg_hrnet.segmenter import HRNetSegmenter

CLASSES = ("sky", "road", "car")
MINI = {
    f"STAGE{branches}": {
        "NUM_MODULES": 1,
        "NUM_BRANCHES": branches,
        "BLOCK": "BASIC",
        "NUM_BLOCKS": [1] * branches,
        "NUM_CHANNELS": [8] * branches,
        "FUSE_METHOD": "SUM",
    }
    for branches in (1, 2, 3, 4)
}


def randomised(seed=3):
    """A small HRNet whose batch norms have seen something."""
    torch.manual_seed(seed)
    network = HRNetRecipe(width="w18-small").network(CLASSES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.4, 0.8)
    return network.eval()


def segmenter(precision="float32", network=None):
    return HRNetSegmenter(
        network or randomised(), classes=CLASSES, digests={}, precision=precision, device="cpu"
    )


def noisy(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.5 * torch.randn((batch, 3, height, width), generator=generator)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_segmenter_keeps_its_protocols_promises(precision):
    check_segmenter(segmenter(precision))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_batch_size_does_not_change_a_bit_of_the_scores(precision):
    component = segmenter(precision)
    images = noisy(7, 45, 60)
    whole = component.segment(images)
    assert whole.dtype == torch.float32
    for size in (1, 3):
        parts = [component.segment(images[start : start + size]) for start in range(0, 7, size)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("size", [(32, 64), (33, 47), (101, 5), (1, 1)])
def test_any_height_and_width_give_scores_at_a_quarter(size):
    scores = segmenter().segment(noisy(1, *size))
    assert scores.shape == (1, 3, -(-size[0] // 4), -(-size[1] // 4))
    assert torch.isfinite(scores).all()


def test_the_segmenter_scores_as_its_network_does():
    network = randomised()
    images = noisy(2, 50, 70)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(segmenter(network=network).segment(images), expected, atol=1e-4, rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_padding_keeps_the_branches_of_odd_sizes_where_those_of_the_whole_image_are():
    """Cutting an image off at 180 x 240 must not move what is left of it; without padding it does."""
    network = randomised().eval()
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(192, 256), mode="bilinear", align_corners=False)
    moved = {}
    with torch.no_grad():
        whole = network(image)[..., :24, :32]
        for fit in ("pad", "none"):
            component = HRNetSegmenter(
                randomised(), classes=CLASSES, digests={}, precision="float32", device="cpu", fit=fit
            )
            part = component.segment(image[..., :180, :240].contiguous())
            assert part.shape[-2:] == (45, 60)
            moved[fit] = float((part[..., :24, :32] - whole).square().mean().sqrt() / whole.std())
    assert moved["pad"] < 0.3 * moved["none"]


def test_half_the_precision_changes_scores_little():
    images = noisy(2, 50, 70)
    full = segmenter("float32").segment(images)
    half = segmenter("bfloat16").segment(images)
    assert 0 < (full - half).std() < 0.03 * full.std()


def test_the_network_takes_out_imagenets_mean_and_standard_deviation():
    network = randomised()
    images = noisy(1, 32, 64)
    normalised = networks.normalised(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with torch.no_grad():
        assert torch.equal(network(images), network.scores(normalised))


def test_the_config_is_json_that_rebuilds_the_network():
    network = HRNetRecipe(width="w18-small").network(CLASSES)
    again = HRNet(json.loads(json.dumps(network.config)))
    assert again.config == network.config
    again.load_state_dict(network.state_dict(), strict=True)


def test_a_network_without_classes_cannot_be_trained():
    with pytest.raises(ConfigError, match="class names"):
        HRNetRecipe().network(None)


def test_a_network_learns_and_comes_back_as_a_segmenter(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "mini.json").write_text(json.dumps(MINI))
    network = HRNetRecipe(width=str(tmp_path / "mini.json")).network(("dark", "bright"))
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros((4, 32, 64), dtype=torch.long)
    for row, edge in enumerate((12, 28, 40, 52)):
        labels[row, :, edge:] = 1
    images = 0.3 + 0.4 * labels[:, None] + 0.05 * torch.randn((4, 3, 32, 64), generator=generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        scores = functional.interpolate(network(images), size=(32, 64), mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0]
    # Batch norms remember slowly (momentum 0.01); let them see the images before they are frozen.
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        network(images)

    path = tmp_path / "learnt.safetensors"
    weights.save(
        path, network.state_dict(), network="hrnet", config=network.config, classes=("dark", "bright")
    )
    learnt = HRNetRecipe(weights=str(path)).load("cpu")
    scores = functional.interpolate(
        learnt.segment(images), size=(32, 64), mode="bilinear", align_corners=False
    )
    assert learnt.classes == ("dark", "bright")
    assert (scores.argmax(dim=1) == labels).float().mean() > 0.95
