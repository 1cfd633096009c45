"""A training run: what it learns, what it writes, and how it resumes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from smoothseg import ConfigError, WeightsError, weights
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_training.configuration import Running, configure
from smoothseg_training.events import Measured, Stepped, Stopped
from smoothseg_training.loop import train


def _running(output, **changes):
    return configure(Running, {"output": output, "device": "cpu", "workers": 1, **changes})


def _interrupted(training, output, *, after, **changes):
    """Train until `after` steps of this process are done."""
    seen = []
    return train(training, _running(output, **changes), listen=seen.append,
                 stop=lambda: sum(isinstance(event, Stepped) for event in seen) >= after)  # fmt: skip


def _state(path):
    return weights.load(str(path), package="smoothseg").state


@pytest.mark.parametrize("kind", ["segmenter", "denoiser"])
def test_an_interrupted_and_resumed_run_gives_the_same_weights_bit_for_bit(
    kind, segmenter_training, denoiser_training, tmp_path
):
    training = segmenter_training(noise_sigma=0.2) if kind == "segmenter" else denoiser_training()
    whole = train(training, _running(tmp_path / "whole"))
    first = _interrupted(training, tmp_path / "parts", after=2)
    second = _interrupted(training, tmp_path / "parts", after=1, workers=3, cache_gb=0)
    last = train(training, _running(tmp_path / "parts"))
    assert (first.step, second.step) == (2, 3)
    assert whole.weights.read_bytes() != b""
    one, other = _state(whole.weights), _state(last.weights)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not (tmp_path / "parts" / "checkpoint").exists()


def test_a_crash_is_resumed_from_the_last_checkpoint(segmenter_training, tmp_path):
    def crash(event):
        if isinstance(event, Stepped) and event.step == 4:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(segmenter_training(), _running(tmp_path / "run", checkpoint_seconds=0), listen=crash)
    assert Checkpoint.load(tmp_path / "run" / "checkpoint").step == 3
    resumed = train(segmenter_training(), _running(tmp_path / "run"))
    whole = train(segmenter_training(), _running(tmp_path / "whole"))
    one, other = _state(resumed.weights), _state(whole.weights)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_seed_decides_the_weights_and_the_callers_generator_does_not(segmenter_training, tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(results))
        before = torch.random.get_rng_state()
        results.append(_state(train(segmenter_training(seed=seed), _running(tmp_path / name)).weights))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(results[0]["last.weight"], results[1]["last.weight"])
    assert not torch.equal(results[0]["last.weight"], results[2]["last.weight"])


def test_a_segmenter_learns_the_colours(segmenter_training, tmp_path):
    figures = []
    training = segmenter_training(
        steps=60, lr=0.05, ema=0.8, jitter=0, validation="blocks:count=2", validation_every=1
    )
    train(
        training,
        _running(tmp_path),
        listen=lambda e: figures.append(e.figures) if isinstance(e, Measured) else None,
    )
    assert len(figures) == 1
    assert figures[0]["accuracy"] > 0.9
    assert figures[0]["miou"] > 0.8


def test_a_denoiser_learns_to_be_better_than_the_noisy_image(denoiser_training, tmp_path):
    figures = []
    training = denoiser_training(
        steps=120, lr=0.03, ema=0.9, sigma_range=(0.2, 0.6), validation="blocks:count=2", validation_every=1
    )
    train(
        training,
        _running(tmp_path),
        listen=lambda e: figures.append(e.figures) if isinstance(e, Measured) else None,
    )
    assert figures[-1].keys() == {"psnr_sigma0.25", "psnr_sigma0.5"}
    assert figures[-1]["psnr_sigma0.5"] > -20 * math.log10(0.5) + 2


def test_the_weight_file_holds_network_config_classes_and_card(segmenter_training, tmp_path):
    result = train(
        segmenter_training(validation="blocks:count=3", dataset="blocks:root=/home/someone/blocks"),
        _running(tmp_path / "net.safetensors"),
    )
    stored = weights.load(str(result.weights), package="smoothseg")
    assert (stored.network, stored.config, stored.classes) == (
        "toy",
        {"classes": 3},
        ("red", "green", "blue"),
    )
    assert (stored.card["steps"], stored.card["images_seen"], stored.card["data"]["licence"]) == (
        6,
        18,
        "CC0-1.0",
    )
    assert [entry["step"] for entry in stored.card["validation"]] == [1, 2, 3, 4, 5, 6]
    assert result.card == tmp_path / "net.card.md"
    page = result.card.read_text()
    assert "CC0-1.0" in page
    assert "dataset: {name: blocks, count: 5" in page
    assert "/home" not in page
    assert str(tmp_path) not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.card.md",
        "net.log.txt",
        "net.safetensors",
    ]


def test_a_finished_run_is_not_trained_again_unless_fresh(segmenter_training, tmp_path):
    train(segmenter_training(), _running(tmp_path))
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again = train(segmenter_training(), _running(tmp_path))
    assert again.already
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert not train(segmenter_training(steps=2), _running(tmp_path, fresh=True)).already


def test_a_fresh_run_that_is_killed_at_once_is_not_taken_for_the_old_result(segmenter_training, tmp_path):
    train(segmenter_training(), _running(tmp_path))

    def killed(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(segmenter_training(), _running(tmp_path, fresh=True), listen=killed)
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    again = train(segmenter_training(), _running(tmp_path))
    assert not again.already


def test_a_damaged_checkpoint_is_named(segmenter_training, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"checkpoint is no training checkpoint.*--fresh"):
        train(segmenter_training(), _running(tmp_path))


def test_a_loss_that_explodes_says_what_to_change(segmenter_training, tmp_path):
    with pytest.raises(ConfigError, match="lower --lr"):
        train(segmenter_training(lr=1e30, warmup=0, steps=20), _running(tmp_path))


def test_a_time_budget_ends_a_run_with_its_rate_at_zero(segmenter_training, tmp_path):
    rates = []
    train(
        segmenter_training(steps=None, minutes=0.02, warmup=0),
        _running(tmp_path),
        listen=lambda event: rates.append(event.lr) if isinstance(event, Stepped) else None,
    )
    assert rates[0] > 0.9e-3
    assert rates[-1] < 0.1e-3
    assert rates == sorted(rates, reverse=True)


def test_time_before_an_interruption_counts(segmenter_training, tmp_path):
    training = segmenter_training(steps=None, minutes=0.02)
    assert isinstance(_interrupted(training, tmp_path, after=1), Stopped)
    found = Checkpoint.load(tmp_path / "checkpoint")
    dataclasses.replace(found, elapsed=1.19).save(tmp_path / "checkpoint")
    resumed = train(training, _running(tmp_path))
    assert weights.load(str(resumed.weights), package="smoothseg").card["steps"] < 30
