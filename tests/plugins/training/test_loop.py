"""A training run: what it writes, how it resumes, and what it refuses before the first step."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from smoothseg import ConfigError, DataError, RunMismatchError, UnknownNameError, WeightsError, weights
from smoothseg.testing import recipe
from smoothseg_training.average import Average
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_training.configuration import Running, configure
from smoothseg_training.data import Batches, Cache, content
from smoothseg_training.loop import Measured, Stepped, Stopped, Trained, rate, train


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


@pytest.mark.parametrize("finished", [True, False])
def test_another_configuration_in_the_output_is_refused_with_the_difference(
    segmenter_training, tmp_path, finished
):
    if finished:
        train(segmenter_training(), _running(tmp_path))
    else:
        assert isinstance(_interrupted(segmenter_training(), tmp_path, after=1), Stopped)
    with pytest.raises(RunMismatchError, match=r"lr is 0\.5, was 0\.001.*--fresh"):
        train(segmenter_training(lr=0.5), _running(tmp_path))
    with pytest.raises(RunMismatchError, match=r"dataset.count is 4, was 5"):
        train(segmenter_training(dataset="blocks:count=4"), _running(tmp_path))
    assert isinstance(train(segmenter_training(lr=0.5), _running(tmp_path, fresh=True)), Trained)


def test_a_fresh_run_that_is_killed_at_once_is_not_taken_for_the_old_result(segmenter_training, tmp_path):
    train(segmenter_training(), _running(tmp_path))

    def killed(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(segmenter_training(), _running(tmp_path, fresh=True), listen=killed)
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    again = train(segmenter_training(), _running(tmp_path))
    assert not again.already


@pytest.mark.parametrize("part", ["image", "labels"])
@pytest.mark.parametrize("which", [0, 2, 4])
@pytest.mark.parametrize("finished", [True, False])
def test_other_data_of_the_same_length_is_refused(segmenter_training, tmp_path, finished, which, part):
    here = segmenter_training(dataset="blocks:root=/one/place")
    if finished:
        train(here, _running(tmp_path))
    else:
        assert isinstance(_interrupted(here, tmp_path, after=1), Stopped)
    elsewhere = segmenter_training(dataset=f"blocks:root=/another/place+{part}-{which}")
    with pytest.raises(RunMismatchError, match=r"content is \w+, was \w+.*--fresh"):
        train(elsewhere, _running(tmp_path))
    moved = train(segmenter_training(dataset="blocks:root=/another/place"), _running(tmp_path))
    assert moved.already == finished


def test_the_content_of_validation_images_is_told_apart_too(segmenter_training, tmp_path):
    _interrupted(segmenter_training(validation="blocks:root=/a"), tmp_path, after=1)
    with pytest.raises(RunMismatchError, match=r"validation_content is \w+, was \w+"):
        train(segmenter_training(validation="blocks:root=/b+image-0"), _running(tmp_path))


def test_other_keys_are_other_content():
    dataset = recipe("dataset", "blocks").load()
    before = content(dataset)
    assert before == content(recipe("dataset", "blocks").load())
    dataset.keys = (*dataset.keys[:1], "renamed", *dataset.keys[2:])
    assert content(dataset) != before


def test_data_may_move_but_not_change(segmenter_training, tmp_path):
    _interrupted(segmenter_training(dataset="blocks:root=/one/place"), tmp_path, after=1)
    moved = segmenter_training(dataset="blocks:root=elsewhere")
    assert isinstance(_interrupted(moved, tmp_path, after=1), Stopped)
    found = Checkpoint.load(tmp_path / "checkpoint")
    dataclasses.replace(found, configuration=found.configuration | {"images": 4}).save(
        tmp_path / "checkpoint"
    )
    with pytest.raises(RunMismatchError, match="images is 5, was 4"):
        train(moved, _running(tmp_path))


def test_a_damaged_checkpoint_is_named(segmenter_training, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"checkpoint is no training checkpoint.*--fresh"):
        train(segmenter_training(), _running(tmp_path))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"segmenter": "untrainable"}, ConfigError, "segmenter 'untrainable' has nothing to train"),
        ({"segmenter": "tyo"}, UnknownNameError, "Did you mean 'toy'"),
        ({"dataset": "blocks:labels=false"}, DataError, "--dataset has no labels"),
        ({"validation": "blocks:labels=false"}, DataError, "--validation has no labels"),
        (
            {"validation": "blocks:last=cyan"},
            ConfigError,
            "class 2 is 'blue' in --dataset and 'cyan' in --validation",
        ),
        ({"crop": "26x16"}, ConfigError, "crop 26x16 is larger than image 'blocks-0' at its largest: 20x28"),
        ({"crop": "14x16", "image_scale": 0.5}, ConfigError, "image_scale 0.5"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    segmenter_training, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message) as caught:
        train(segmenter_training(**changes), _running(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_denoiser_needs_no_labels(denoiser_training, tmp_path):
    assert isinstance(train(denoiser_training(dataset="blocks:labels=false"), _running(tmp_path)), Trained)


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


def test_the_rate_rises_linearly_and_falls_as_a_cosine(segmenter_training):
    training = segmenter_training(lr=2.0, warmup=3)
    assert rate(training, 0, 0.0) == pytest.approx(0.5)
    assert rate(training, 1, 0.0) == pytest.approx(1.0)
    assert rate(training, 50, 0.5) == pytest.approx(1.0)
    assert rate(training, 50, 0.25) == pytest.approx(1 + math.cos(math.pi / 4))
    assert rate(training, 50, 1.0) == pytest.approx(0.0)


def test_the_average_follows_its_formula_and_copies_integers():
    network = torch.nn.BatchNorm2d(2)
    average = Average(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_var.fill_(5.0)
        network.num_batches_tracked.fill_(7)
    average.update(network, 0)  # decay is min(0.5, 1/10)
    assert average.network.weight.tolist() == pytest.approx([0.1 + 0.9 * 3.0] * 2)
    assert average.network.running_var.tolist() == pytest.approx([0.1 + 0.9 * 5.0] * 2)
    assert int(average.network.num_batches_tracked) == 7
    average.update(network, 1000)
    assert average.network.weight.tolist() == pytest.approx([0.5 * 2.8 + 0.5 * 3.0] * 2)
    assert not average.network.training


def test_every_image_is_used_once_before_any_is_used_twice(segmenter_training):
    samples = Cache(_Recording(5), limit=0)
    batches = Batches(samples, segmenter_training(batch_size=3))
    for step in range(5):
        batches[step]
    seen = samples.dataset.seen
    assert [sorted(seen[start : start + 5]) for start in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert seen[:5] != seen[5:10] or seen[5:10] != seen[10:]


class _Recording:
    def __init__(self, count):
        self._blocks = recipe("dataset", f"blocks:count={count}").load()
        self.seen = []

    def __len__(self):
        return len(self._blocks)

    def __getitem__(self, index):
        self.seen.append(index)
        return self._blocks[index]
