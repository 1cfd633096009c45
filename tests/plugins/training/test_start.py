"""Training from given weights, and behind a denoiser."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from smoothseg import ConfigError, RunMismatchError, WeightsError, networks, weights
from smoothseg.testing import CountingDenoiser, recipe
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_training.configuration import Running, configure
from smoothseg_training.data import Batch, Cache
from smoothseg_training.loop import train
from smoothseg_training.objectives import SegmenterObjective

SIZES = "depth=3,width=4"


def running(output):
    return configure(Running, {"output": output, "device": "cpu", "workers": 1})


@pytest.fixture
def small(tmp_path):
    """A weight file of a small DnCNN."""
    torch.manual_seed(1)
    network = recipe("denoiser", f"dncnn:{SIZES}").network(None)
    torch.nn.init.normal_(network.layers[-1].weight, std=0.1)
    path = tmp_path / "small.safetensors"
    weights.save(path, network.state_dict(), network="dncnn", config=network.config, half=False)
    return path


def state(path):
    return weights.load(str(path), package="smoothseg_kair").state


def test_a_run_starts_from_the_given_weights(denoiser_training, small, tmp_path):
    changes = {"denoiser": f"dncnn:{SIZES}", "steps": 1, "lr": 1e-9, "weight_decay": 0.0}
    made = train(denoiser_training(initial=str(small), **changes), running(tmp_path / "from"))
    fresh = train(denoiser_training(**changes), running(tmp_path / "fresh"))
    for key, tensor in state(small).items():
        torch.testing.assert_close(state(made.weights)[key], tensor, atol=1e-3, rtol=1e-3)
    assert any(not torch.allclose(state(fresh.weights)[k], t, atol=1e-2) for k, t in state(small).items())
    card = weights.load(str(made.weights), package="smoothseg_kair").card
    assert card["weights"] == {"initial": weights.digest(small)}
    assert (
        f"| started from | the weights with sha256 {weights.digest(small)[:12]}... |" in made.card.read_text()
    )
    assert card["recipe"]["initial"] == "PATH"


def test_other_initial_weights_are_another_training(denoiser_training, small, tmp_path):
    training = denoiser_training(denoiser=f"dncnn:{SIZES}", steps=1, initial=str(small))
    train(training, running(tmp_path / "run"))
    assert train(training, running(tmp_path / "run")).already
    changed = {key: tensor + 1 for key, tensor in state(small).items()}
    config = {"depth": 3, "width": 4, "form": "kair"}
    weights.save(small, changed, network="dncnn", config=config, half=False)
    with pytest.raises(RunMismatchError, match=r"weights\.initial is"):
        train(training, running(tmp_path / "run"))


def test_a_run_of_before_there_was_an_option_is_not_another_training(denoiser_training, tmp_path):
    train(denoiser_training(), running(tmp_path / "run"), stop=lambda: True)
    path = tmp_path / "run" / "checkpoint"
    found = Checkpoint.load(path)
    older = {key: value for key, value in found.configuration.items() if key != "initial"}
    dataclasses.replace(found, configuration=older).save(path)
    assert not train(denoiser_training(), running(tmp_path / "run")).already


def test_initial_weights_that_do_not_fit_are_refused_before_the_first_step(
    denoiser_training, segmenter_training, small, tmp_path
):
    wider = denoiser_training(denoiser="dncnn:depth=3,width=5", initial=str(small))
    with pytest.raises(WeightsError, match="of another shape"):
        train(wider, running(tmp_path / "a"))
    with pytest.raises(ConfigError, match="segmenter 'toy' cannot start from weights"):
        train(segmenter_training(initial=str(small)), running(tmp_path / "b"))
    with pytest.raises(ConfigError, match="--dataset has 3 classes, --initial has 11"):
        train(segmenter_training(segmenter="hrnet", initial="streets"), running(tmp_path / "c"))


class Recorded(CountingDenoiser):
    """Gives grey, and remembers what it was told."""

    def denoise(self, noisy, sigma, *, seeds):
        super().denoise(noisy, sigma, seeds=seeds)
        return torch.full_like(noisy, 0.5)


class Grey:
    """A dataset of one grey image."""

    classes, ignore = ("a", "b", "c"), 255

    def __len__(self):
        return 1


def test_noisy_images_are_denoised_at_the_noise_that_resizing_leaves(segmenter_training):
    training = segmenter_training(
        noise_range=(0.2, 0.6), noise_fraction=0.5, denoiser="identity", image_scale=0.5, crop="12x16"
    )
    denoiser, seen = Recorded(), []
    objective = SegmenterObjective(training, Grey(), Cache(Grey(), limit=0), None, denoiser)
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3)).astype(np.uint8)
    batch = Batch(images, np.zeros((8, 12, 16), np.uint8), 0.5)

    def network(given):
        seen.append(given)
        return torch.zeros(8, 3, 12, 16)

    objective.loss(network, batch, torch.Generator().manual_seed(0))
    left = networks.sigma_left(1.0, (24, 32), (12, 16))
    assert 0 < len(denoiser.sigmas) < 8
    assert all(0.2 * left <= sigma <= 0.6 * left for sigma in denoiser.sigmas)
    assert len(set(denoiser.sigmas)) == len(set(denoiser.seeds)) == len(denoiser.sigmas)
    grey = [bool((row == 0.5).all()) for row in seen[0]]
    assert sum(grey) == len(denoiser.sigmas)
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    for row, original, denoised in zip(seen[0], clean, grey, strict=True):
        assert denoised or torch.equal(row, original)


def test_a_segmenter_learns_behind_a_denoiser_and_its_card_says_which(segmenter_training, small, tmp_path):
    training = segmenter_training(
        denoiser=f"dncnn:weights={small}", noise_sigma=0.3, validation="blocks", steps=3
    )
    made = train(training, running(tmp_path / "run"))
    card = weights.load(str(made.weights), package="smoothseg").card
    assert card["weights"] == {"denoiser": {"small.safetensors": weights.digest(small)}}
    told = f"| denoised by | dncnn, the weights with sha256 {weights.digest(small)[:12]}... |"
    assert told in made.card.read_text()
    assert card["recipe"]["denoiser"]["weights"] == "PATH"
    assert math.isfinite(card["loss"])
    assert "accuracy_sigma0.3" in card["validation"][-1]


def test_a_denoiser_without_noise_is_refused(segmenter_training):
    with pytest.raises(ConfigError, match="needs noise to remove"):
        segmenter_training(denoiser="identity")
