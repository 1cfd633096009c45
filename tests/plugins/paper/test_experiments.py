"""Experiments: what a file may say, published rows, one table over several runs, and taking up a killed grid."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from smoothseg import ConfigError, UnknownNameError
from smoothseg.report.formats import FORMATS
from smoothseg.report.rows import rows as rows_of
from smoothseg.runs import estimates
from smoothseg_paper import experiments

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def grid(tmp_path):
    """A grid of two runs on tiny street scenes; returns its file."""
    content = {
        "title": "A small grid",
        "common": {
            "dataset": "streets:count=2,height=48,width=64",
            "sigma": [0.05, 0.1],
            "certifier": "holm:n0=4,n=60,alpha=0.05",
            "device": "cpu",
        },
        "runs": [
            {"name": "half", "scale": 0.5, "denoiser": "identity"},
            {
                "name": "whole",
                "scale": 1.0,
                "convention": "paper",
                "denoiser": "identity",
            },
        ],
        "published": "table1-cityscapes",
    }
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def changed(path, **changes):
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "plugins/smoothseg_paper/tables").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_table_of_the_paper_is_an_experiment(path):
    table, _, dataset = path.stem.partition("-")
    assert experiments.find(table, dataset) == path
    if dataset not in ("streets", "camvid"):
        pytest.importorskip(f"smoothseg_{dataset.replace('-', '_')}")
    experiment = experiments.read(path)
    assert all(part.plan.sigma == (0.25, 0.5, 1.0) for part in experiment.parts)
    assert {part.geometry for part in experiment.parts} == {"ours", "paper"}
    scales = [part.plan.scale for part in experiment.parts]
    assert table != "table2" or scales == [0.25, 0.5, 1.0] * 2
    for part in experiment.parts:
        for method in part.plan.methods:
            assert (method.certifier.n0, method.certifier.n) == (10, 100)
            assert (method.certifier.alpha, method.certifier.tau) == (0.001, 0.75)


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(UnknownNameError, match=r"unknown table 'tabel1'; .*table1.*Did you mean 'table1'"):
        experiments.find("tabel1", "streets")
    with pytest.raises(
        UnknownNameError, match=r"dataset of table2 'street'; .*camvid.*Did you mean 'streets'"
    ):
        experiments.find("table2", "street")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"runs": []}, ConfigError, "runs must be a list"),
        ({"extra": 1}, UnknownNameError, "unknown key of .* 'extra'"),
        ({"runs": [{"name": "a b"}]}, ConfigError, "needs a name of its own"),
        ({"runs": [{"name": "a"}, {"name": "a"}]}, ConfigError, "needs a name of its own"),
        ({"runs": [{"name": "a", "convention": "papers"}]}, UnknownNameError, "Did you mean 'paper'"),
        ({"runs": ["a"]}, ConfigError, "must be a mapping of options"),
        ({"common": 5}, ConfigError, "must be a mapping of options"),
        ({"published": ["x"]}, UnknownNameError, "unknown published table"),
        ({"runs": [{"name": "a", "sigm": 1}]}, UnknownNameError, "Did you mean 'sigma'"),
        ({"published": "table1-cityscape"}, UnknownNameError, "Did you mean 'table1-cityscapes'"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(grid, changes, error, message):
    with pytest.raises(error, match=message):
        experiments.read(changed(grid, **changes))


def test_overrides_win_over_the_file_and_root_goes_into_the_dataset(grid, tmp_path):
    experiment = experiments.read(grid, overrides={"images": 1, "seed": 7, "every": None})
    assert {(part.plan.images, part.plan.seed, part.plan.every) for part in experiment.parts} == {(1, 7, 1)}
    file = changed(grid, common={"dataset": "camvid:split=train"})
    experiment = experiments.read(file, root=str(tmp_path))
    assert experiment.parts[0].plan.dataset.root == str(tmp_path)
    assert experiment.parts[0].plan.dataset.split == "train"


def test_published_rows_are_those_of_the_paper():
    rows = experiments.published("table1-cityscapes")
    found = {(row.method, row.sigma): row for row in rows}
    row = found["DenoiseCertify, published", 0.5]
    assert (row.certified.accuracy, row.certified.mean_iou, row.certified.abstained) == (0.65, 0.28, 0.36)
    assert (row.clean.accuracy, row.clean.mean_iou, row.seconds, row.images) == (0.94, 0.67, 131.42, 100)
    assert found["SegCertify, published", 0.5].clean is None
    assert {each.noise for each in rows} == {"gaussian"}
    assert {each.sigma: each.radius for each in rows} == {0.25: 0.1686, 0.5: 0.3372, 1.0: 0.6744}
    assert experiments.published(None) == ()


def test_cost_counts_samples_and_calls_of_the_chain():
    experiment = experiments.read(experiments.find("table3", "streets"))
    part = experiment.parts[0]
    single, multi = (estimates.cost(part.plan, method, 6) for method in part.plan.methods)
    assert (single.certificates, single.samples, single.denoiser_passes) == (18, 1980, 1980)
    assert (multi.samples, multi.denoiser_passes) == (1980, 4 * 1980)


def test_a_dry_run_shows_the_grid_and_runs_nothing(invoke, grid, tmp_path):
    result = invoke("reproduce", grid, "--geometry", "both", "--dry-run", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "half: 2 images, scale 0.5, sigma 0.05, 0.1 " in text
    assert "whole: 2 images, scale 1, sigma 0.05, 0.1, geometry of the paper's code" in text
    assert "512 noise samples in all" in text
    assert "about" not in text
    measured = invoke(
        "reproduce", grid, "--dry-run", "--measure", "--threads", 1, "--output", tmp_path / "out"
    )
    assert re.search(
        r"256 noise samples in all, about \d+ (s|min) on this machine", " ".join(measured.stdout.split())
    )
    assert not (tmp_path / "out").exists()


def test_one_table_holds_all_runs_and_the_published_rows(invoke, grid, tmp_path):
    output = tmp_path / "out"
    first = invoke("reproduce", grid, "--output", output, "--format", "csv")
    assert first.exit_code == 0, first.stderr
    assert (output / "half" / "run.json").exists()
    assert not (output / "whole").exists()
    both = invoke("reproduce", grid, "--output", output, "--geometry", "paper", "--format", "csv")
    assert both.exit_code == 0, both.stderr
    methods = [line.partition(",")[0] for line in both.stdout.splitlines()[1:]]
    assert len(methods) == 2 + 2 + 6
    assert (output / "metrics.csv").read_text() == both.stdout
    experiment = experiments.read(grid)
    rows = experiments.rows(experiment, output)
    assert [row.method for row in rows][:4] == ["identity"] * 2 + ["identity, paper's geometry"] * 2
    assert rows[:2] == rows_of(output / "half")
    for name in ("table.md", "table.tex", "metrics.json", "per_class.csv"):
        assert (output / name).stat().st_size > 300


def test_a_table_can_be_made_with_gaussian_noise(invoke, grid, tmp_path):
    result = invoke("reproduce", grid, "--output", tmp_path, "--noise", "gaussian", "--format", "csv")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "half" / "run.json").read_text())["noise"] == "philox-numpy-float32"
    assert result.stdout.count(",gaussian,") == 2 + 6


def test_runs_can_be_done_apart(invoke, grid, tmp_path):
    experiment = experiments.read(grid)
    chosen = experiments.select(experiment, geometries=("ours",), only=("whole",))
    assert [part.name for part in chosen] == ["whole"]
    assert [part.name for part in experiments.select(experiment, geometries=("ours",))] == ["half"]
    result = invoke("reproduce", grid, "--only", "hole", "--output", tmp_path / "out")
    assert "unknown run 'hole'; there are: half, whole. Did you mean 'whole'?" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_rows_of_two_runs_that_look_alike_have_the_run_behind_them(invoke, grid, tmp_path):
    runs = [{"name": f"seed-{seed}", "scale": 0.5, "denoiser": "identity", "seed": seed} for seed in (0, 1)]
    changed(grid, runs=runs, published=None)
    result = invoke("reproduce", grid, "--output", tmp_path / "out", "--images", 1, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    methods = [line.partition(",")[0].strip('"') for line in result.stdout.splitlines()[1:]]
    assert {line.split('"')[1] for line in result.stdout.splitlines()[1:]} == {
        "identity, seed-0",
        "identity, seed-1",
    }
    assert len(methods) == 4


def test_what_is_wrong_with_a_later_run_is_told_before_the_first(invoke, grid, tmp_path):
    content = yaml.safe_load(grid.read_text())
    content["runs"][1]["segmenter"] = "hrnet:weights=street"
    grid.write_text(yaml.safe_dump(content))
    result = invoke("reproduce", grid, "--geometry", "both", "--output", tmp_path / "out")
    assert "street" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_geometry_that_no_run_has_is_refused(invoke, grid):
    changed(grid, runs=yaml.safe_load(grid.read_text())["runs"][:1])
    result = invoke("reproduce", grid, "--geometry", "paper")
    assert "none of its runs has the geometry paper" in str(result.exception)
    assert "leave --dataset out" in str(invoke("reproduce", grid, "--dataset", "streets").exception)


def test_latex_is_a_booktabs_tabular_with_letters_escaped(grid):
    rows = experiments.published("table1-cityscapes")
    text = FORMATS["latex"](rows)
    assert text.startswith(r"\begin{tabular}{l")
    assert r"\toprule" in text
    assert r"$\sigma$ 0.25" in text
    lines = [line for line in text.splitlines() if line.startswith(("SegCertify", "DenoiseCertify"))]
    assert len(lines) == 2
    assert all(line.endswith(r"\\") for line in lines)
    assert r"\textbf{88.0}" in lines[0]
    columns = text.splitlines()[0].count("r") - "\\begin{tabular}".count("r")
    assert all(line.count("&") == columns for line in lines)
    import dataclasses

    hostile = [dataclasses.replace(row, method=r"a_b & 50% \x{y} #1 $z^2~") for row in rows[:1]]
    assert r"a\_b \& 50\% \textbackslash{}x\{y\} \#1 \$z\textasciicircum{}2\textasciitilde{}" in FORMATS[
        "latex"
    ](hostile)


@pytest.mark.slow
def test_a_grid_killed_outright_is_finished_with_the_same_tables(grid, tmp_path):
    def start(output):
        command = ["reproduce", str(grid), "--geometry", "both", "--output", str(output)]
        code = "import sys; from smoothseg.cli import main; main(sys.argv[1:])"
        return subprocess.Popen(
            [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed" / "whole").rglob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = len(list((tmp_path / "killed").rglob("*.npz")))
    assert start(tmp_path / "killed").wait() == 0
    assert 4 < made <= 8
    names = ("table.md", "table.tex", "metrics.csv", "metrics.json", "per_class.csv")
    for name in (*names, *(f"{run}/{name}" for run in ("half", "whole") for name in names)):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
