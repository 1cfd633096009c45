"""That `tv` keeps the promises of a denoiser, removes noise and keeps edges."""

import pytest
import torch
from smoothseg_tv import TVRecipe

from smoothseg import ConfigError
from smoothseg.testing import check_denoiser, recipe


def test_smoothseg_finds_it():
    assert recipe("denoiser", "tv:weight=0.5") == TVRecipe(weight=0.5)


def test_it_keeps_the_promises_of_a_denoiser():
    check_denoiser(TVRecipe().load("cpu"))
    check_denoiser(TVRecipe(weight=2, steps=5).load("cpu"), sigma=1.0)


def test_it_removes_noise_and_keeps_an_edge():
    clean = torch.full((1, 3, 32, 48), 0.2)
    clean[..., 24:] = 0.8
    noisy = clean + 0.25 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    estimate = TVRecipe().load("cpu").denoise(noisy, 0.25, seeds=[0])
    assert (estimate - clean).square().mean() < 0.1 * (noisy - clean).square().mean()
    edge = estimate.mean(dim=(0, 1, 2)).diff()
    assert int(edge.argmax()) == 23
    assert float(edge.max()) > 0.3


def test_a_larger_weight_is_smoother():
    noisy = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    less, more = (TVRecipe(weight=w).load("cpu").denoise(noisy, 0.25, seeds=[0]) for w in (0.2, 1.0))
    assert more.diff().abs().mean() < less.diff().abs().mean() < noisy.diff().abs().mean()


@pytest.mark.parametrize("options", [{"weight": 0}, {"weight": 100}, {"steps": 0}])
def test_an_option_out_of_range_is_refused(options):
    with pytest.raises(ConfigError, match="denoiser 'tv'"):
        TVRecipe(**options)
