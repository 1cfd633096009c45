"""Trackers: what they are told, that they are optional, and that results do not depend on them."""

from __future__ import annotations

import importlib.util
import json
import sys
import types

import pytest

from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.report import running
from smoothseg.report.rows import rows
from smoothseg.runs import tracking
from smoothseg_trackers import TRACKERS

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def certify(invoke, photos):
    """Return a function (output, words) that certifies three labelled images at two noise levels."""
    dataset = f"folder:root={photos},images=images,labels=labels,classes=classes.txt"

    def run(output, *words):
        return invoke(
            *("certify", "--dataset", dataset, "--segmenter", "toy-threshold", "--denoiser", "identity"),
            *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--scale", 1, "--device", "cpu"),
            *("--sigma", 0.2, "--sigma", 0.4, "--output", output, *words),
        )

    return run


class Recorder:
    def __init__(self):
        self.calls = []
        self.broken = {}  # what a call raises, by its name

    def note(self, name):
        def call(*values, **named):
            self.calls.append((name, values, named))
            if name in self.broken:
                raise self.broken[name]
            return types.SimpleNamespace(log=self.note("log"), finish=self.note("finish"))

        return call

    def named(self, name):
        return [(values, named) for found, values, named in self.calls if found == name]


@pytest.fixture
def fake(monkeypatch):
    """Modules `wandb` and `mlflow` that remember what they are told."""
    recorder = Recorder()
    for name, functions in (
        ("wandb", ("init",)),
        ("mlflow", ("set_experiment", "start_run", "log_dict", "log_metrics", "end_run")),
    ):
        module = types.ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        for function in functions:
            setattr(module, function, recorder.note(function))
        monkeypatch.setitem(sys.modules, name, module)
    return recorder


def test_weights_and_biases_is_told_the_scores_so_far(certify, tmp_path, fake):
    result = certify(tmp_path / "run", "--track", "wandb")
    assert result.exit_code == 0, result.output
    ((_, named),) = fake.named("init")
    assert named["name"] == "run"
    assert named["config"]["sigma"] == [0.2, 0.4]
    told = [values[0] for values, _ in fake.named("log")]
    assert [each["step"] for each in told] == [1, 1, 2, 2, 3, 3]
    row = rows(tmp_path / "run")[0]
    last = told[-2]
    assert last["identity/sigma-0.2/accuracy"] == row.certified.accuracy
    assert last["identity/sigma-0.2/mean_iou"] == row.certified.mean_iou
    assert last["identity/sigma-0.2/abstained"] == row.certified.abstained
    assert last["identity/sigma-0.2/radius"] == pytest.approx(0.2 * 0.6744897501960817)
    assert fake.calls[-1] == ("finish", (), {"exit_code": 0})


def test_mlflow_is_told_the_same_and_its_run_is_ended_by_an_error_too(certify, tmp_path, fake, monkeypatch):
    assert certify(tmp_path / "run", "--track", "mlflow").exit_code == 0
    assert [named["step"] for _, named in fake.named("log_metrics")] == [1, 1, 2, 2, 3, 3]
    assert fake.calls[-1] == ("end_run", ("FINISHED",), {})

    def fail(*arguments, **named):
        raise OSError("no space")

    monkeypatch.setattr(running, "write_tables", fail)
    fake.calls.clear()
    result = certify(tmp_path / "other", "--track", "mlflow", "--track", "wandb")
    assert isinstance(result.exception, OSError)
    assert fake.calls[-2:] == [("end_run", ("FAILED",), {}), ("finish", (), {"exit_code": 1})]


def test_an_interrupted_run_is_a_failed_one_to_its_trackers(certify, tmp_path, fake):
    fake.broken["log"] = KeyboardInterrupt()
    result = certify(tmp_path / "run", "--track", "wandb", "--track", "mlflow")
    assert result.exit_code == 130
    assert fake.calls[-2:] == [("finish", (), {"exit_code": 1}), ("end_run", ("FAILED",), {})]


@pytest.mark.parametrize("verbose", [False, True])
def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(certify, tmp_path, fake, verbose):
    certify(tmp_path / "plain")
    fake.broken["log"] = ConnectionError("no route\nto host")
    more = ("--verbose",) if verbose else ()
    result = certify(tmp_path / "run", "--track", "wandb", "--track", "mlflow", *more)
    assert result.exit_code == 0, result.output
    assert len(fake.named("log")) == 1
    assert len(fake.named("log_metrics")) == 6
    said = "--track wandb failed and is told no more: ConnectionError: no route"
    assert " ".join(result.stderr.split()).count(said) == 1
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert log.count(f"WARNING  {said}\n") == 1
    assert fake.calls[-2:] == [("end_run", ("FINISHED",), {}), ("finish", (), {"exit_code": 1})]
    for path in (tmp_path / "plain").rglob("*.npz"):
        assert (tmp_path / "run" / path.relative_to(tmp_path / "plain")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "call"),
    [("wandb", "init"), ("mlflow", "set_experiment"), ("mlflow", "start_run"), ("mlflow", "log_dict")],
)
def test_a_tracker_that_cannot_begin_is_told_before_any_network_runs(
    certify, tmp_path, fake, monkeypatch, name, call
):
    def run(*arguments, **named):
        raise AssertionError("a network ran")

    monkeypatch.setattr("smoothseg.smoothing.base_model.BaseModel.predict", run)
    fake.broken[call] = ValueError("bad address")
    result = certify(tmp_path / "run", "--track", name)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"--track {name} cannot begin: ValueError: bad address"
    assert not list(tmp_path.rglob("*.npz"))
    assert (("end_run", ("FAILED",), {}) in fake.calls) == (call == "log_dict")


def test_a_tracker_that_fails_at_the_end_is_told_and_the_result_is_printed(certify, tmp_path, fake):
    fake.broken["finish"] = ConnectionError("gone")
    result = certify(tmp_path / "run", "--track", "wandb", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("method,")
    assert "Warning: --track wandb failed at the end: ConnectionError: gone" in result.stderr


def test_what_was_there_before_counts_and_is_not_told_again(certify, tmp_path, fake):
    certify(tmp_path / "run")
    for path in (tmp_path / "run").rglob("c.npz"):
        path.unlink()
    assert certify(tmp_path / "run", "--track", "wandb").exit_code == 0
    told = [values[0] for values, _ in fake.named("log")]
    assert [each["step"] for each in told] == [3, 3]
    assert told[0]["identity/sigma-0.2/accuracy"] == rows(tmp_path / "run")[0].certified.accuracy


def test_results_do_not_depend_on_trackers(certify, tmp_path, fake):
    certify(tmp_path / "plain")
    certify(tmp_path / "told", "--track", "wandb", "--track", "mlflow")
    for path in (tmp_path / "plain").rglob("*"):
        if path.is_file() and path.name not in ("ledger.jsonl", "log.txt", "manifest.json"):
            assert (
                tmp_path / "told" / path.relative_to(tmp_path / "plain")
            ).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_told_before_anything_runs(certify, tmp_path, monkeypatch, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda each: None if each == name else find(each))
    result = certify(tmp_path / "run", "--track", name)
    assert isinstance(result.exception, ConfigError)
    assert (
        str(result.exception) == f"--track {name}: {name} is not installed; pip install 'smoothseg[{name}]'"
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorboard'"):
        tracking.check(["tensorbord"])


def test_every_tracker_has_its_extra():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert set(TRACKERS) <= set(project["optional-dependencies"])


def test_tensorboard_gets_files_that_it_reads(certify, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = certify(tmp_path / "run", "--track", "tensorboard")
    assert result.exit_code == 0, result.output
    assert certify(tmp_path / "run", "--track", "tensorboard", "--fresh").exit_code == 0
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    scalars = read.Scalars("identity/sigma-0.4/accuracy")
    assert [each.step for each in scalars] == [1, 2, 3]
    assert scalars[-1].value == pytest.approx(rows(tmp_path / "run")[1].certified.accuracy)
    text = read.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text)["sigma"] == [0.2, 0.4]
