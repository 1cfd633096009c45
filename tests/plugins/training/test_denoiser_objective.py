"""The loss and the figures of a denoiser against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smoothseg import networks
from smoothseg_training.data import Batch, Cache
from smoothseg_training.denoiser_objective import DenoiserObjective


@pytest.mark.parametrize(("loss", "power"), [("epsilon", 2), ("x0", 1)])
def test_denoiser_loss_divides_the_squared_error_by_a_power_of_sigma(denoiser_training, loss, power):
    objective = DenoiserObjective(denoiser_training(loss=loss, sigma_range=(0.4, 0.4)), None)
    batch = Batch(np.full((2, 12, 16, 3), 102, np.uint8), None, 1.0)
    value = objective.loss(lambda noisy, sigma: torch.full_like(noisy, 0.5), batch, torch.Generator())
    assert float(value) == pytest.approx(0.1**2 / 0.4**power, rel=1e-4)


def test_epsilon_loss_of_the_noisy_image_itself_is_the_power_of_unit_noise(denoiser_training):
    objective = DenoiserObjective(denoiser_training(loss="epsilon", sigma_range=(0.01, 2.0)), None)
    batch = Batch(np.full((8, 32, 48, 3), 77, np.uint8), None, 1.0)
    value = objective.loss(lambda noisy, sigma: noisy, batch, torch.Generator().manual_seed(0))
    assert float(value) == pytest.approx(1.0, rel=0.02)


def test_sigma_is_log_uniform_and_is_what_the_network_is_told(denoiser_training):
    told, measured = [], []

    def network(noisy, sigma):
        told.append(sigma)
        measured.append((noisy - 0.4).flatten(1).std(1))
        return noisy

    objective = DenoiserObjective(
        denoiser_training(sigma_range=(0.01, 1.0), image_scale=0.5, noise="resized"), None
    )
    batch = Batch(np.full((300, 16, 24, 3), 102, np.uint8), None, 0.5)
    objective.loss(network, batch, torch.Generator().manual_seed(0))
    ratio = measured[0] / told[0]
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(ratio.std()) < 0.05
    quartiles = torch.quantile(told[0].log10(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert quartiles.tolist() == pytest.approx([-2, -1.5, -1, -0.5, 0], abs=0.15)


@pytest.mark.parametrize("noise", ["white", "resized"])
def test_sigma_stated_on_the_image_is_what_resizing_leaves_at_the_network(denoiser_training, noise):
    told, measured = [], []

    def network(noisy, sigma):
        told.append(sigma)
        measured.append((noisy - 0.4).flatten(1).std(1))
        return noisy

    training = denoiser_training(
        sigma_range=(0.5, 0.5), sigma_at="image", image_scales=(0.5, 1.0), noise=noise
    )
    objective = DenoiserObjective(training, None)
    for scale, left in ((0.5, networks.sigma_left(0.5, (64, 96), (32, 48))), (1.0, 0.5)):
        batch = Batch(np.full((4, 32, 48, 3), 102, np.uint8), None, scale)
        objective.loss(network, batch, torch.Generator().manual_seed(0))
        assert told[-1].tolist() == pytest.approx([left] * 4)
        assert measured[-1].tolist() == pytest.approx([left] * 4, rel=0.05)


def test_several_image_scales_are_all_measured(labelled, denoiser_training):
    training = denoiser_training(
        validation="blocks", sigma_range=(0.1, 0.1), sigma_at="image", image_scales=(0.5, 1.0),
        noise="resized", crop="32x48",
    )  # fmt: skip
    figures = DenoiserObjective(training, Cache(labelled(np.zeros((64, 96))), limit=0)).measure(
        lambda noisy, sigma: noisy, torch.device("cpu")
    )
    left = networks.sigma_left(0.1, (64, 96), (32, 48))
    assert figures.keys() == {"psnr_scale0.5_sigma0.1", "psnr_scale1_sigma0.1"}
    assert figures["psnr_scale1_sigma0.1"] == pytest.approx(20, abs=0.3)
    assert figures["psnr_scale0.5_sigma0.1"] == pytest.approx(-20 * np.log10(left), abs=0.5)


def test_psnr_of_a_denoiser_that_does_nothing_is_that_of_the_noise(labelled, denoiser_training):
    training = denoiser_training(validation="blocks", sigma_range=(0.04, 0.3), crop="64x96")
    grey = labelled(np.zeros((64, 96)))
    figures = DenoiserObjective(training, Cache(grey, limit=0)).measure(
        lambda noisy, sigma: noisy, torch.device("cpu")
    )
    assert figures.keys() == {"psnr_sigma0.05", "psnr_sigma0.1", "psnr_sigma0.25"}
    assert figures["psnr_sigma0.05"] == pytest.approx(26.02, abs=0.15)
    assert figures["psnr_sigma0.1"] == pytest.approx(20.0, abs=0.15)
