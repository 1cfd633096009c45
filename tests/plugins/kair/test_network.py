"""What DnCNN and FFDNet compute, against a forward pass written again over the bare tensors."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from smoothseg import ConfigError, WeightsError, networks
from smoothseg_kair import DnCNNRecipe, FFDNetRecipe
from smoothseg_kair.network import DnCNN, FFDNet
from smoothseg_kair.sizes import DnCNNSizes, FFDNetSizes, read

SIZES = [(1, 1), (1, 6), (2, 3), (7, 10), (9, 4)]


def seeded(network):
    """The network with random numbers everywhere, running statistics included."""
    generator = torch.Generator().manual_seed(4)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            spread = 0.15 if tensor.ndim > 1 else 0.3
            tensor.normal_(0, spread, generator=generator)
            if key.endswith("running_var"):
                tensor.square_().add_(0.2)
    return network.eval()


def noisy_images(count, height, width):
    generator = torch.Generator().manual_seed(1000 * height + width)
    return 0.5 + 0.6 * torch.randn(count, 3, height, width, generator=generator)


def convolved(image, state, key):
    return F.conv2d(image, state[f"{key}.weight"], state.get(f"{key}.bias"), padding=1)


def dncnn_reference(state, noisy, *, depth, form):
    """KAIR's layers are convolution, ReLU, ...; denoised smoothing's convolution, batch norm, ReLU, ..."""
    if form == "kair":
        hidden = noisy
        for i in range(depth - 1):
            hidden = convolved(hidden, state, f"model.{2 * i}").clamp(min=0)
        return noisy - convolved(hidden, state, f"model.{2 * depth - 2}")
    hidden = convolved(noisy, state, "dncnn.0").clamp(min=0)
    for i in range(depth - 2):
        at = 2 + 3 * i
        hidden = convolved(hidden, state, f"dncnn.{at}")
        norm = [state[f"dncnn.{at + 1}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, scale, shift = (value.view(-1, 1, 1) for value in norm)
        hidden = ((hidden - mean) / (variance + 1e-4).sqrt() * scale + shift).clamp(min=0)
    return noisy - convolved(hidden, state, f"dncnn.{3 * depth - 4}")


def unshuffled(image):
    """Channel 4c + 2i + j is pixel (i, j) of each 2x2 block of channel c: the order of the published FFDNet."""
    count, channels, height, width = image.shape
    result = image.new_zeros(count, 4 * channels, height // 2, width // 2)
    for channel in range(channels):
        for i in range(2):
            for j in range(2):
                result[:, 4 * channel + 2 * i + j] = image[:, channel, i::2, j::2]
    return result


def ffdnet_reference(state, noisy, sigma, *, depth):
    height, width = noisy.shape[-2:]
    if height % 2:
        noisy = torch.cat([noisy, noisy[..., -1:, :]], dim=-2)
    if width % 2:
        noisy = torch.cat([noisy, noisy[..., -1:]], dim=-1)
    small = unshuffled(noisy)
    hidden = torch.cat([small, torch.ones_like(small[:, :1]) * sigma.view(-1, 1, 1, 1)], dim=1)
    for i in range(depth):
        hidden = convolved(hidden, state, f"model.{2 * i}")
        hidden = hidden.clamp(min=0) if i < depth - 1 else hidden
    result = torch.zeros_like(noisy)
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                result[:, channel, i::2, j::2] = hidden[:, 4 * channel + 2 * i + j]
    return result[..., :height, :width]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["kair", "salman"])
def test_dncnn_is_the_noisy_image_less_its_layers(form, size):
    network = seeded(DnCNN(DnCNNSizes(depth=5, width=6, form=form)))
    noisy = noisy_images(2, *size)
    expected = dncnn_reference(network.state_dict(), noisy, depth=5, form=form)
    with torch.no_grad():
        torch.testing.assert_close(network(noisy, torch.tensor([0.1, 0.4])), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_ffdnet_sees_blocks_of_pixels_and_a_map_of_sigma(size):
    network = seeded(FFDNet(FFDNetSizes(depth=4, width=7)))
    noisy, sigma = noisy_images(2, *size), torch.tensor([0.1, 0.4])
    expected = ffdnet_reference(network.state_dict(), noisy, sigma, depth=4)
    with torch.no_grad():
        torch.testing.assert_close(network(noisy, sigma), expected, atol=1e-5, rtol=1e-5)


def test_the_published_order_of_blocks_is_that_of_torch():
    image = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    assert torch.equal(F.pixel_unshuffle(image, 2), unshuffled(image))


@pytest.mark.parametrize("form", ["kair", "salman"])
def test_folding_batch_norms_changes_nothing(form):
    network = seeded(DnCNN(DnCNNSizes(depth=4, width=6, form=form)))
    noisy, sigma = noisy_images(1, 6, 9), torch.tensor([0.2])
    with torch.no_grad():
        before = network(noisy, sigma)
        networks.fold_batch_norms(network)
        torch.testing.assert_close(network(noisy, sigma), before, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("form", ["kair", "salman"])
def test_a_dncnn_of_zeros_returns_its_input(form):
    network = DnCNN(DnCNNSizes(depth=4, width=5, form=form))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    noisy = noisy_images(2, 5, 8)
    assert torch.equal(network(noisy, torch.tensor([0.3, 0.3])), noisy)


def test_only_ffdnet_is_told_sigma():
    noisy = noisy_images(1, 6, 8)
    weak, strong = torch.tensor([0.1]), torch.tensor([0.4])
    dncnn = seeded(DnCNN(DnCNNSizes(depth=3, width=5)))
    ffdnet = seeded(FFDNet(FFDNetSizes(depth=3, width=5)))
    assert torch.equal(dncnn(noisy, weak), dncnn(noisy, strong))
    assert not torch.equal(ffdnet(noisy, weak), ffdnet(noisy, strong))


def reach(network, side):
    """How far from the middle of a noisy image the estimate there looks: the gradient's extent, in pixels."""
    noisy = noisy_images(1, side, side).requires_grad_()
    middle = side // 2
    network(noisy, torch.tensor([0.2]))[0, :, middle, middle].sum().backward()
    rows, columns = noisy.grad[0].abs().sum(0).nonzero().T
    return middle - int(rows.min()), int(columns.max()) - middle


def positive(network):
    """Weights above zero, so that no ReLU closes and no path cancels another."""
    for tensor in network.parameters():
        torch.nn.init.constant_(tensor, 0.01)
    return network


def test_receptive_fields_are_those_of_the_papers_formulas():
    assert reach(positive(DnCNN(DnCNNSizes(depth=5, width=2))), 23) == (5, 5)
    # at half the resolution each convolution reaches two pixels; pixel 12 is the upper left one of its block
    assert reach(positive(FFDNet(FFDNetSizes(depth=4, width=2))), 24) == (8, 9)


@pytest.mark.parametrize("recipe", [DnCNNRecipe(), FFDNetRecipe()], ids=["dncnn", "ffdnet"])
def test_defaults_are_the_published_sizes(recipe):
    network = recipe.network(None)
    expected = {DnCNNRecipe: 668_227, FFDNetRecipe: 852_108}[type(recipe)]
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(
    "recipe",
    [DnCNNRecipe(depth=3, width=4), DnCNNRecipe(depth=3, width=4, form="salman"), FFDNetRecipe(depth=3, width=4)],
)  # fmt: skip
def test_a_network_to_train_has_a_config_and_a_defined_start(recipe):
    network = recipe.network(None)
    kind = {DnCNN: DnCNNSizes, FFDNet: FFDNetSizes}[type(network)]
    assert read(kind, json.loads(json.dumps(network.config)), origin="x") == network.sizes
    noisy = noisy_images(2, 6, 7)
    estimate = network(noisy, torch.tensor([0.1, 0.2]))
    assert torch.equal(estimate, noisy if isinstance(network, DnCNN) else torch.zeros_like(noisy))
    assert (estimate - 0.5).square().mean().requires_grad


@pytest.mark.parametrize("recipe", [DnCNNRecipe(), FFDNetRecipe()], ids=["dncnn", "ffdnet"])
def test_the_start_keeps_the_variance_through_the_layers(recipe):
    torch.manual_seed(0)
    network = recipe.network(None)
    layers = network.layers if isinstance(network, DnCNN) else network.model
    channels = layers[0].in_channels
    image = torch.randn(1, channels, 24, 24)
    with torch.no_grad():
        first, last = layers[:2](image), layers[:-1](image)
    assert 0.2 < float(last.square().mean() / first.square().mean()) < 5


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        (DnCNNRecipe, {"depth": 1}, "depth=1; expected at least 2"),
        (DnCNNRecipe, {"width": 0}, "width=0; expected at least 1"),
        (FFDNetRecipe, {"depth": 0}, "depth=0; expected at least 2"),
    ],
)
def test_impossible_sizes_are_refused(recipe, options, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"depth": 3, "width": 4}, "config of x.pt has unknown or missing keys: form"),
        ({"depth": 3, "width": 4, "form": "kair", "norm": 1}, "unknown or missing keys: norm"),
        ({"depth": "deep", "width": 4, "form": "kair"}, "has depth=deep"),
        ({"depth": 3, "width": 4, "form": "round"}, "has form=round"),
        ({"depth": 1, "width": 4, "form": "kair"}, "has depth=1; expected at least 2"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_key(config, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read(DnCNNSizes, config, origin="x.pt")
    assert "\n" not in str(caught.value)
