"""What the denoisers `dncnn` and `ffdnet` promise, and that they train."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import smoothseg
from smoothseg import weights
from smoothseg.testing import check_denoiser, recipe
from smoothseg.weights.catalogue import catalogue
from smoothseg_kair import DnCNNRecipe, FFDNetRecipe
from smoothseg_kair.denoiser import ConvolutionalDenoiser
from smoothseg_training.configuration import DenoiserTraining, Running, configure
from smoothseg_training.events import Measured
from smoothseg_training.loop import train

RECIPES = {
    "dncnn": DnCNNRecipe(depth=4, width=8),
    "salman": DnCNNRecipe(depth=4, width=8, form="salman"),
    "ffdnet": FFDNetRecipe(depth=4, width=8),
}


def seeded(name):
    network = RECIPES[name].network(None)
    generator = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return network


def denoiser(name, precision="float32", network=None):
    return ConvolutionalDenoiser(network or seeded(name), digests={}, precision=precision, device="cpu")


def noisy_images(count, height, width, sigma=0.3):
    generator = torch.Generator().manual_seed(1000 * height + width)
    clean = torch.rand(count, 3, height, width, generator=generator)
    return clean + sigma * torch.randn(clean.shape, generator=generator)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_promises_of_a_denoiser(name, precision):
    check_denoiser(denoiser(name, precision))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_are_the_same_bits_in_any_batch(name, precision):
    component, noisy = denoiser(name, precision), noisy_images(7, 11, 18)
    together = component.denoise(noisy, 0.3, seeds=range(7))
    for size in (1, 3):
        parts = [
            component.denoise(noisy[i : i + size], 0.3, seeds=range(i, min(i + size, 7)))
            for i in range(0, 7, size)
        ]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (9, 17), (16, 16), (31, 10)])
def test_any_height_and_width(name, size):
    result = denoiser(name).denoise(noisy_images(2, *size), 0.2, seeds=[0, 1])
    assert result.shape == (2, 3, *size)
    assert result.dtype == torch.float32


@pytest.mark.parametrize("name", RECIPES)
def test_the_estimate_is_the_networks_clipped_to_the_range_of_images(name):
    network = seeded(name).eval()
    noisy = noisy_images(2, 9, 12, sigma=1.0)
    with torch.no_grad():
        expected = network(noisy, torch.full((2,), 0.25))
    assert expected.min() < 0
    assert expected.max() > 1
    result = denoiser(name, network=network).denoise(noisy, 0.25, seeds=[0, 1])
    torch.testing.assert_close(result, expected.clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", RECIPES)
def test_bfloat16_is_about_the_same(name):
    noisy = noisy_images(1, 9, 12)
    exact, coarse = (denoiser(name, p).denoise(noisy, 0.3, seeds=[0]) for p in ("float32", "bfloat16"))
    assert not torch.equal(exact, coarse)
    torch.testing.assert_close(coarse, exact, atol=0.1, rtol=0)


def test_seeds_do_not_matter_but_must_be_one_a_row():
    component, noisy = denoiser("ffdnet"), noisy_images(2, 5, 6)
    assert torch.equal(
        component.denoise(noisy, 0.3, seeds=[0, 1]), component.denoise(noisy, 0.3, seeds=[8, 9])
    )
    with pytest.raises(ValueError, match="expected 2 seeds, one a row, got 1"):
        component.denoise(noisy, 0.3, seeds=[0])


def test_a_network_that_starts_untrained_gives_back_the_image():
    clean = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    component = denoiser("dncnn", network=DnCNNRecipe(depth=3, width=4).network(None))
    assert torch.equal(component.denoise(clean, 0.25, seeds=[0]), clean)


# ---- training


@pytest.mark.parametrize(
    "spec", ["dncnn:depth=4,width=16", "dncnn:depth=4,width=16,form=salman", "ffdnet:depth=4,width=24"]
)
def test_training_beats_the_noisy_image_and_is_loaded_back(tmp_path, spec):
    training = configure(
        DenoiserTraining,
        {
            "dataset": "streets:split=train,count=4,height=48,width=96", "denoiser": spec, "steps": 60, "lr": 5e-3,
            "validation": "streets:split=val,count=2,height=48,width=96", "validation_every": 1, "ema": 0.9,
            "batch_size": 4, "crop": "24x32", "sigma_range": (0.2, 0.6), "warmup": 5,
        },
    )  # fmt: skip
    running = configure(Running, {"output": tmp_path, "device": "cpu", "workers": 1})
    figures = []
    result = train(
        training, running, listen=lambda e: figures.append(e.figures) if isinstance(e, Measured) else None
    )
    assert figures[-1]["psnr_sigma0.5"] > -20 * math.log10(0.5) + 4
    made = recipe("denoiser", {"name": spec.partition(":")[0], "weights": str(result.weights)})
    noisy = noisy_images(1, 9, 11)
    component = made.load("cpu")
    assert component.digests == {"model.safetensors": weights.digest(result.weights)}
    assert component.denoise(noisy, 0.25, seeds=[0]).shape == noisy.shape


# ---- the plugin


def test_both_are_registered_with_their_options():
    assert recipe("denoiser", "dncnn:weights=a.pth,precision=bfloat16") == DnCNNRecipe("a.pth", "bfloat16")
    assert recipe("denoiser", "ffdnet:depth=5,width=8") == FFDNetRecipe(depth=5, width=8)
    for made in (DnCNNRecipe, FFDNetRecipe):
        assert all(field.metadata["help"] for field in dataclasses.fields(made))
    with pytest.raises(smoothseg.ConfigError, match="form"):
        recipe("denoiser", "dncnn:form=round")


@pytest.mark.parametrize(
    ("component", "recipe", "file"),
    [("dncnn", DnCNNRecipe(), "dncnn_color_blind.pth"), ("ffdnet", FFDNetRecipe(), "ffdnet_color.pth")],
)
def test_auto_is_the_published_file_of_the_component(component, recipe, file):
    chosen = weights.pinned(recipe, component=component, dataset="cityscapes")
    entry = catalogue("smoothseg_kair")[chosen.weights]
    assert entry.download.url == f"https://github.com/cszn/KAIR/releases/download/v1.0/{file}"
    assert (entry.component, entry.licence, entry.options) == (component, "MIT", {})
    place, found = weights.locate("auto", package="smoothseg_kair", component=component)
    assert (place, found) == (entry.download, entry)
