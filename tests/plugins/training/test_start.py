"""Training from given weights, and behind a denoiser."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from smoothseg import ConfigError, RunMismatchError, WeightsError, weights
from smoothseg.components.plugins import plugins
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_training.configuration import Running, configure
from smoothseg_training.loop import train

SIZES = "depth=3,width=4"


def running(output):
    return configure(Running, {"output": output, "device": "cpu", "workers": 1})


@pytest.fixture
def small(tmp_path):
    """A weight file of a small DnCNN."""
    torch.manual_seed(1)
    network = plugins()["denoiser"].recipe(f"dncnn:{SIZES}").network(None)
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
