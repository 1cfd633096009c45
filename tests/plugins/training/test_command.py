"""`smoothseg train`: options, YAML recipes, signals, and what is told."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from smoothseg import weights
from smoothseg.components.functions import Function
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import parse
from smoothseg.files import read_yaml
from smoothseg_training import train
from smoothseg_training.command import _stoppable
from smoothseg_training.configuration import DenoiserTraining, Running, SegmenterTraining, configure, describe

_RECIPES = sorted((Path(__file__).resolve().parents[3] / "examples" / "train").glob("*.yaml"))


def _invoke(*arguments):
    return CliRunner().invoke(train, [str(argument) for argument in arguments])


def test_the_command_line_wins_over_the_file(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "segmenter: toy\ncrop: 12x16\nbatch-size: 2\nsteps: 9\nflip: true\nscale_range: [1, 1.2]\n"
    )
    result = _invoke(
        "segmenter", "--config", recipe, "--dataset", "blocks", "--steps", 2, "--no-flip", "--lr", "0.01",
        "--output", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    card = weights.load(str(tmp_path / "out" / "model.safetensors"), package="smoothseg").card
    told = card["recipe"]
    assert (told["steps"], told["batch_size"], told["crop"], told["lr"]) == (2, 2, [12, 16], 0.01)
    assert (told["flip"], told["scale_range"]) == (False, [1.0, 1.2])
    assert "step 1 " in result.output
    assert "2 (100.0%)" in result.output
    again = _invoke(
        "segmenter", "--config", recipe, "--dataset", "blocks", "--steps", 2, "--no-flip", "--lr", "0.01",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert "already trained" in again.output


def test_a_denoiser_trains_from_the_command_line(tmp_path):
    result = _invoke(
        "denoiser", "--dataset", "blocks", "--validation", "blocks:count=2", "--denoiser", "toy", "--steps", 2,
        "--crop", "8x12", "--sigma-range", 0.1, 0.6, "--loss", "epsilon", "--output", tmp_path / "toy.safetensors",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "psnr_sigma0.5" in result.output
    assert (tmp_path / "toy.card.md").is_file()


def test_image_scales_are_repeated_on_the_command_line_and_a_list_in_a_recipe(tmp_path):
    common = (
        "denoiser", "--dataset", "blocks", "--denoiser", "toy", "--steps", 2, "--crop", "8x12", "--device", "cpu",
    )  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("image_scales: [0.5, 1.0]\nsigma_at: image\n")
    for name, options in (
        ("file", ("--config", recipe)),
        ("line", ("--image-scales", 0.5, "--image-scales", 1, "--sigma-at", "image")),
    ):
        result = _invoke(*common, *options, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
        told = weights.load(str(tmp_path / name / "model.safetensors"), package="smoothseg").card["recipe"]
        assert (told["image_scales"], told["sigma_at"], told["image_scale"]) == ([0.5, 1.0], "image", 1.0)


def test_a_terminal_gets_a_progress_bar(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = _invoke(
        "denoiser", "--dataset", "blocks", "--validation", "blocks", "--denoiser", "toy", "--steps", 2,
        "--crop", "8x12", "--output", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "100.0%" in result.output
    assert "step 2: validation" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_steps_and_a_second_one_at_once(number):
    before = signal.signal(number, lambda *_: (_ for _ in ()).throw(InterruptedError))
    try:
        with _stoppable() as asked:
            assert asked == []
            signal.raise_signal(number)
            assert asked == [number]
            with pytest.raises(InterruptedError):
                signal.raise_signal(number)
        with pytest.raises(InterruptedError):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_says_how_to_go_on_and_does(tmp_path, monkeypatch, number, code):
    arguments = (
        "denoiser", "--dataset", "blocks", "--denoiser", "toy", "--steps", 3, "--crop", "8x12", "--output", tmp_path,
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr("smoothseg_training.command._stoppable", lambda: contextlib.nullcontext([number]))
        stopped = _invoke(*arguments)
    assert stopped.exit_code == code
    assert "stopped after 1 steps; the same command goes on" in stopped.output
    resumed = _invoke(*arguments)
    assert "resuming after step 1" in resumed.output
    assert resumed.exit_code == 0


def test_every_option_has_help_and_the_file_takes_the_same_keys():
    for name, kind in (("segmenter", SegmenterTraining), ("denoiser", DenoiserTraining)):
        fields = {field.name for field in (*dataclasses.fields(kind), *dataclasses.fields(Running))}
        options = {option.name: option for option in train.get_command(None, name).params}
        assert options.keys() == fields | {"config", "print_config"}
        assert all(option.help for option in options.values())


def test_a_training_run_keeps_a_log_and_can_be_quiet_or_verbose(tmp_path):
    arguments = (
        "denoiser", "--dataset", "blocks", "--validation", "blocks:count=2", "--denoiser", "toy", "--steps", 2,
        "--crop", "8x12", "--output",
    )  # fmt: skip
    quiet = _invoke(*arguments, tmp_path / "folder", "--quiet")
    assert quiet.exit_code == 0, quiet.output
    assert quiet.stderr == ""
    assert quiet.stdout.startswith("wrote: ")
    told = (tmp_path / "folder" / "log.txt").read_text()
    for part in (
        "command: ",
        "torch ",
        "output model.safetensors",
        "step 2: validation psnr",
        "step 2 (100.0%)",
    ):
        assert part in told
    assert told.rstrip().endswith("finished")
    verbose = _invoke(*arguments, tmp_path / "toy.safetensors", "-v")
    assert "step 2 (100.0%): loss" in verbose.stderr
    assert (tmp_path / "toy.log.txt").is_file()
    both = _invoke(*arguments, tmp_path / "both", "-v", "-q")
    assert str(both.exception) == "give verbose or quiet, not both"


def test_a_training_is_tracked(tmp_path, monkeypatch):
    told = []

    class Tracker:
        def __init__(self, directory, name, config):
            told.append((directory, name, config["task"]))

        def figures(self, values, step):
            told.append((sorted(values), step))

        def close(self, *, failed):
            told.append(failed)

    registry = plugins().functions["tracker"]
    monkeypatch.setattr(registry, "_entries", {"wandb": Function("wandb", Tracker, "tests")})
    arguments = (
        "denoiser", "--dataset", "blocks", "--validation", "blocks:count=2", "--denoiser", "toy", "--steps", 1,
        "--crop", "8x12", "--output", tmp_path / "toy.safetensors", "--track", "wandb",
    )  # fmt: skip
    result = _invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert told[0] == (tmp_path, "toy", "denoiser")
    assert (["loss", "lr"], 1) in told
    assert any(
        isinstance(each, tuple) and each[0] and str(each[0][0]).startswith("validation/psnr")
        for each in told[1:-1]
    )
    assert told[-1] is False


@pytest.mark.parametrize("recipe", _RECIPES, ids=lambda path: path.stem)
def test_a_printed_configuration_is_the_same_training(recipe, tmp_path):
    kind = "segmenter" if "segmenter" in read_yaml(recipe) else "denoiser"
    more = ("--output", tmp_path / "out", "--seed", 7, "--fresh", "--track", "wandb", "--dataset", "blocks")
    printed = _invoke(kind, "--config", recipe, *more, "--print-config")
    assert printed.exit_code == 0, printed.output
    values = yaml.safe_load(printed.stdout)
    assert "fresh" not in values
    assert (values["seed"], values["track"], values[kind]["name"]) == (
        7,
        ["wandb"],
        parse(read_yaml(recipe)[kind], kind)[0],
    )
    file = tmp_path / "printed.yaml"
    file.write_text(printed.stdout, encoding="utf-8")
    assert _invoke(kind, "--config", file, "--print-config").stdout == printed.stdout
    known = SegmenterTraining if kind == "segmenter" else DenoiserTraining
    names = {field.name for field in dataclasses.fields(Running)}

    def described(options):
        return describe(configure(known, {key: value for key, value in options.items() if key not in names}))

    written = {key.replace("-", "_"): value for key, value in read_yaml(recipe).items()}
    assert described(values) == described({**written, "seed": 7, "dataset": "blocks"})
    without = _invoke(kind, "--config", file, "--track", "none", "--print-config")
    assert yaml.safe_load(without.stdout)["track"] == []
    assert not (tmp_path / "out").exists()
