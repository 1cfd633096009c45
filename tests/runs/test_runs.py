import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smoothseg.certificates import file
from smoothseg.components.plugins import plugins
from smoothseg.errors import (
    ConfigError,
    DataError,
    NothingCertifiableError,
    PluginError,
    RunMismatchError,
    UnknownNameError,
)
from smoothseg.protocols import Sample
from smoothseg.report import running
from smoothseg.report.rows import rows as rows_of
from smoothseg.runs import preparing, results, resuming
from smoothseg.runs.configuration import configure
from smoothseg.runs.listener import Listener
from smoothseg.runs.plan import Plan
from smoothseg.smoothing.kinds import ALGORITHMS
from smoothseg.testing import ImageDataset

pytestmark = pytest.mark.usefixtures("toys")


def options(photos, **changes):
    return {
        "dataset": {
            "name": "folder",
            "root": str(photos),
            "images": "images",
            "labels": "labels",
            "classes": "classes.txt",
        },
        "denoiser": ["identity", "toy-blur"],
        "segmenter": "toy-threshold",
        "certifier": "holm:n0=4,n=40,alpha=0.05",
        "sigma": [0.2, 0.4],
        "scale": 1.0,
        "device": "cpu",
        **changes,
    }


def run(photos, directory, *, batch_size=16, fresh=False, skip_bad=False, stop_after=None, **changes):
    prepared = preparing.prepare(Plan.of(options(photos, **changes)), skip_bad=skip_bad)
    made = []

    class Stop(Listener):
        def certified(self, job, entry, before):
            if not before:
                made.append(job.path)
            if stop_after is not None and len(made) >= stop_after:
                raise KeyboardInterrupt

    rows = running.run(prepared, directory, batch_size=batch_size, fresh=fresh, listener=Stop())
    return rows, made


@pytest.fixture
def whole(album, once, tmp_path):
    """Return a finished run of `album`, made once and copied."""
    once("runs", lambda folder: run(album, folder), tmp_path / "whole")
    return tmp_path / "whole"


def contents(directory):
    """Every result file of a run by path; ledger and log hold times, and the manifest the ledger's digest."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("ledger.jsonl", "log.txt", "manifest.json")
    }


def test_a_run_leaves_everything_it_promises(photos, tmp_path):
    rows, made = run(photos, tmp_path / "run")
    assert len(made) == 3 * 2 * 2
    names = set(contents(tmp_path / "run"))
    for expected in (
        "config.yaml",
        "run.json",
        "metrics.json",
        "metrics.csv",
        "per_class.csv",
        "table.md",
        "certificates/identity/sigma-0.2/a.npz",
        "certificates/toy-blur/sigma-0.4/c.npz",
        "pictures/toy-blur/b.png",
        "previews/b/image.jpg",
        "previews/b/labels.png",
        "previews/b/noisy/sigma-0.4.jpg",
        "previews/b/denoised/toy-blur/sigma-0.4.jpg",
        "legend.json",
        "report.html",
    ):
        assert expected in names
    assert [(row.method, row.sigma, row.images) for row in rows] == [
        ("identity", 0.2, 3),
        ("identity", 0.4, 3),
        ("toy-blur", 0.2, 3),
        ("toy-blur", 0.4, 3),
    ]
    assert all(row.clean is not None and row.clean.accuracy == 1.0 for row in rows)
    accuracies = [row.certified.accuracy for row in rows if row.certified is not None]
    assert accuracies[0] > accuracies[1]
    assert accuracies[2] > 0
    assert rows[0].radius == pytest.approx(0.2 * 0.6744897501960817)


def test_batch_size_does_not_change_a_byte(whole, album, tmp_path):
    run(album, tmp_path / "one", batch_size=1)
    run(album, tmp_path / "many", batch_size=7)
    assert contents(tmp_path / "one") == contents(tmp_path / "many") == contents(whole)


def test_an_interrupted_run_is_finished_with_the_same_bytes(whole, album, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(album, tmp_path / "cut", stop_after=5)
    _, made = run(album, tmp_path / "cut")
    assert len(made) == 12 - 5
    assert contents(whole) == contents(tmp_path / "cut")
    _, made = run(album, tmp_path / "cut")
    assert made == []


def test_a_torn_ledger_and_a_damaged_certificate_are_made_good(whole, album, tmp_path):
    shutil.copytree(whole, tmp_path / "torn")
    ledger = tmp_path / "torn" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-40])
    (tmp_path / "torn" / "certificates/identity/sigma-0.2/a.npz").write_bytes(b"damaged")
    (tmp_path / "torn" / "pictures/identity/a.png").unlink()
    (tmp_path / "torn" / "previews/b/noisy/sigma-0.2.jpg").unlink()
    _, made = run(album, tmp_path / "torn")
    assert sorted(made) == ["certificates/identity/sigma-0.2/a.npz", "certificates/toy-blur/sigma-0.4/c.npz"]
    assert contents(whole) == contents(tmp_path / "torn")


def test_fresh_starts_anew(whole, album):
    _, made = run(album, whole, fresh=True, seed=1, sigma=[0.2])
    assert len(made) == 6
    assert not (whole / "certificates/identity/sigma-0.4").exists()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 7}, "plan.seed is 0 there and 7 here"),
        ({"sigma": [0.2, 0.5]}, r"plan.sigma\[1\] is 0.4 there and 0.5 here"),
        ({"certifier": "holm:n0=4,n=40,alpha=0.01"}, "certifier.alpha is 0.05 there and 0.01 here"),
        ({"images": 2}, "plan.images is null there and 2 here"),
    ],
)
def test_a_directory_of_another_configuration_is_refused_with_the_difference(
    whole, album, change, difference
):
    before = contents(whole)
    with pytest.raises(RunMismatchError, match=difference):
        run(album, whole, **change)
    assert contents(whole) == before


def test_an_image_that_changed_is_noticed(photos, tmp_path):
    run(photos, tmp_path / "run", denoiser="identity", sigma=[0.2])
    Image.fromarray(np.zeros((14, 18, 3), dtype=np.uint8)).save(photos / "images" / "a.png")
    with pytest.raises(RunMismatchError, match=r"images\.a\.image is"):
        run(photos, tmp_path / "run", denoiser="identity", sigma=[0.2])


def test_labels_that_changed_are_noticed(photos, tmp_path):
    run(photos, tmp_path / "run", denoiser="identity", sigma=[0.2])
    Image.fromarray(np.zeros((14, 18), dtype=np.uint8)).save(photos / "labels" / "a.png")
    with pytest.raises(RunMismatchError, match=r"images\.a\.labels is"):
        run(photos, tmp_path / "run", denoiser="identity", sigma=[0.2])


def test_weights_of_the_denoiser_that_changed_are_noticed(photos, tmp_path, monkeypatch):
    run(photos, tmp_path / "run", denoiser="toy-blur", sigma=[0.2])
    monkeypatch.setattr(
        type(plugins()["denoiser"].recipe("toy-blur").load(None)), "digests", {"blur.bin": "1" * 64}
    )
    with pytest.raises(RunMismatchError, match=r"weights\.toy-blur\.denoiser"):
        run(photos, tmp_path / "run", denoiser="toy-blur", sigma=[0.2])


def test_another_version_of_what_computes_is_noticed(whole, album, monkeypatch):
    monkeypatch.setattr(preparing, "ALGORITHMS", {"lattice": "another"})
    with pytest.raises(RunMismatchError, match="noise is"):
        run(album, whole)


def test_a_run_made_before_lattice_noise_is_continued_with_its_own(photos, tmp_path):
    """Its run.json names the algorithm, but its plan has no noise: there was only one kind."""
    old = {"sigma": [0.2]}
    whole, _ = run(photos, tmp_path / "whole", noise="gaussian", **old)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "old", noise="gaussian", stop_after=3, **old)
    stored = results.read_identity(tmp_path / "old")
    del stored["plan"]["noise"]
    results.write_identity(tmp_path / "old", stored)

    message = (
        'noise is "gaussian" there and "lattice" here; continue it with --noise gaussian, choose another'
    )
    with pytest.raises(RunMismatchError, match=message):
        run(photos, tmp_path / "old", **old)
    with pytest.raises(RunMismatchError) as more:
        run(photos, tmp_path / "old", seed=3, **old)
    assert "--noise" not in str(more.value)
    rows, made = run(photos, tmp_path / "old", noise="gaussian", **old)

    assert len(made) == len(list((tmp_path / "whole").rglob("*.npz"))) - 3
    assert {row.noise for row in rows} == {"gaussian"}
    assert [row.certified for row in rows] == [row.certified for row in whole]
    for path in (tmp_path / "whole").rglob("*.npz"):
        assert (tmp_path / "old" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("noise", ["lattice", "gaussian"])
def test_the_kind_of_noise_stands_in_everything_a_run_writes(photos, tmp_path, noise):
    run(photos, tmp_path / "run", noise=noise, sigma=[0.2])
    made = tmp_path / "run"
    algorithm = ALGORITHMS[noise]
    for path in made.rglob("*.npz"):
        assert file.load(path).provenance["noise"] == algorithm
    assert json.loads((made / "run.json").read_text())["noise"] == algorithm
    assert f"noise: {noise}\n" in (made / "config.yaml").read_text()
    assert f"Noise: {noise}." in (made / "table.md").read_text()
    assert f"% Noise: {noise}." in (made / "table.tex").read_text()
    assert all(row["noise"] == noise for row in json.loads((made / "metrics.json").read_text())["rows"])
    for name in ("metrics.csv", "per_class.csv"):
        with (made / name).open(newline="") as stream:
            assert {row["noise"] for row in csv.DictReader(stream)} == {noise}
    assert f"{noise} ({algorithm}), seed 0" in (made / "report.html").read_text()


class Wrong(ImageDataset):
    """A dataset with one promise broken."""

    def __init__(self, **broken):
        images = [np.zeros((3, 4, 3), dtype=np.uint8)] * 2
        super().__init__(images, [np.zeros((3, 4), dtype=np.uint8)] * 2)
        for name, value in broken.items():
            object.__setattr__(self, f"_{name}", value)

    def _broken(self, name, right):
        return getattr(self, f"_{name}", right)

    keys = property(lambda self: self._broken("keys", ("a", "b")))
    palette = property(lambda self: self._broken("palette", ((0, 0, 0), (9, 9, 9))))

    def __getitem__(self, index):
        return self._broken("sample", Sample(self.keys[index], self.images[index], self.labels[index]))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"keys": ("a", "a")}, "name the same file"),
        ({"keys": ("a", "A")}, "name the same file"),
        ({"keys": ("a", "../b")}, "not fit for a file name"),
        ({"keys": ("a",)}, "2 samples and 1 keys"),
        ({"palette": ((0, 0, 0),)}, "1 colours for 2 classes"),
        ({"sample": Sample("z", np.zeros((3, 4, 3), dtype=np.uint8))}, "says its key is 'z'"),
    ],
)
def test_a_dataset_that_breaks_its_promises_is_named(photos, monkeypatch, broken, message):
    plan = Plan.of(options(photos))
    monkeypatch.setattr(type(plan.dataset), "load", lambda self: Wrong(**broken))
    with pytest.raises(PluginError, match=message):
        preparing.prepare(plan)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        resuming.check_directory(tmp_path / "file" / "run")
    resuming.check_directory(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_else_is_left_alone(photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("chapter 1")
    for fresh in (False, True):
        with pytest.raises(RunMismatchError, match="not empty and holds no run"):
            run(photos, tmp_path / "mine", fresh=fresh)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "chapter 1"


def test_a_run_killed_before_it_began_is_no_obstacle(photos, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.123.tmp").write_text("{")
    _, made = run(photos, tmp_path / "run", images=1)
    assert made


def test_a_resumed_run_keeps_the_number_of_threads_it_was_started_with(photos, tmp_path):
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", stop_after=1)
    stored = results.read_identity(tmp_path / "run")
    results.write_identity(tmp_path / "run", {**stored, "threads": before + 1})
    seen = []
    prepared = preparing.prepare(Plan.of(options(photos)))

    class Threads(Listener):
        def sampled(self, count):
            seen.append(torch.get_num_threads())

    running.run(prepared, tmp_path / "run", listener=Threads())
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_a_package_that_was_installed_since_is_no_other_run_but_another_version_is(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", stop_after=1)
    stored = results.read_identity(tmp_path / "run")
    absent = {name: version for name, version in stored["versions"].items() if name != "timm"}
    results.write_identity(tmp_path / "run", {**stored, "versions": absent})
    _, made = run(photos, tmp_path / "run")
    assert made
    results.write_identity(tmp_path / "run", {**stored, "versions": {**absent, "gone": "1.0"}})
    with pytest.raises(RunMismatchError, match=r"versions\.gone is"):
        run(photos, tmp_path / "run")
    results.write_identity(tmp_path / "run", {**stored, "versions": {**absent, "torch": "0.1"}})
    with pytest.raises(RunMismatchError, match=r"versions\.torch is"):
        run(photos, tmp_path / "run")


GAIN = """
import csv
import dataclasses
import smoothseg

class Gain:
    digests = {{}}

    def denoise(self, noisy, sigma, *, seeds):
        return {gain} * noisy

@dataclasses.dataclass(frozen=True)
class GainRecipe:
    def load(self, device):
        return Gain()

@smoothseg.hookimpl
def register_denoisers(register):
    register("toy-gain", GainRecipe)
"""


def gain_project(folder, version, gain, name="smoothseg-gain"):
    """Write a project whose denoiser `toy-gain` multiplies by `gain`; return its folder."""
    folder.mkdir()
    (folder / "smoothseg_gain.py").write_text(GAIN.format(gain=gain))
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        '[project.entry-points.smoothseg]\nsmoothseg_gain = "smoothseg_gain"\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["smoothseg_gain.py"]\n'
    )
    return folder


@pytest.fixture
def run_gain(photos, toys):
    """Return a function that runs the denoiser `toy-gain`; the toys are registered anew after each installation."""
    threshold = plugins()["segmenter"].entry("toy-threshold")

    def go(directory):
        plugins()["segmenter"].register(threshold.name, threshold.recipe, threshold.owner)
        run(photos, directory, denoiser="toy-gain", sigma=[0.2])

    return go


@pytest.mark.parametrize(("name", "version"), [("smoothseg-gain", "0.2.0"), ("gain-by-others", "0.1.0")])
def test_another_version_or_owner_of_a_plugin_is_another_run(install, run_gain, tmp_path, name, version):
    site = install(gain_project(tmp_path / "old", "0.1.0", 1.0))
    run_gain(tmp_path / "run")
    (tmp_path / "run/certificates/toy-gain/sigma-0.2/a.npz").unlink()
    before = contents(tmp_path / "run")

    shutil.rmtree(site / "smoothseg_gain-0.1.0.dist-info")
    del sys.modules["smoothseg_gain"]
    install(gain_project(tmp_path / "new", version, 0.1, name))
    with pytest.raises(RunMismatchError) as refused:
        run_gain(tmp_path / "run")
    assert (
        'plugins.toy-gain.denoiser is "smoothseg_gain (smoothseg-gain 0.1.0)" there and '
        f'"smoothseg_gain ({name} {version})" here'
    ) in str(refused.value)
    assert contents(tmp_path / "run") == before


def test_a_run_that_does_not_know_its_plugins_is_taken_up_again(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", stop_after=1)
    stored = results.read_identity(tmp_path / "run")
    assert set(stored.pop("plugins")) == {"identity", "toy-blur"}
    results.write_identity(tmp_path / "run", stored)
    _, made = run(photos, tmp_path / "run")
    assert len(made) == 11


def test_certificates_hold_their_provenance_and_verify(whole):
    made = file.load(whole / "certificates/toy-blur/sigma-0.4/b.npz")
    provenance = made.provenance
    assert provenance["image"]["key"] == "b"
    assert (provenance["image"]["height"], provenance["image"]["width"]) == (11, 21)
    assert provenance["denoiser"] == {"name": "toy-blur"}
    assert provenance["segmenter"] == {"name": "toy-threshold", "threshold": 0.5}
    assert provenance["certifier"]["alpha"] == 0.05
    assert provenance["weights"] == {"denoiser": {"blur.bin": "0" * 64}, "segmenter": {}}
    assert (provenance["sigma"], provenance["seed"], provenance["samples"]) == (0.4, 0, 44)
    assert provenance["noise"]
    assert provenance["versions"]["torch"]


def test_subset_options_choose_images_and_keep_their_noise(whole, album, tmp_path):
    _, made = run(album, tmp_path / "some", every=2, images=2, denoiser="identity", sigma=0.2)
    assert made == [f"certificates/identity/sigma-0.2/{key}.npz" for key in "ac"]
    of_all, of_some = (
        file.load(made / "certificates/identity/sigma-0.2/c.npz") for made in (whole, tmp_path / "some")
    )
    assert (of_all.hits == of_some.hits).all()


def test_bad_images_stop_the_run_before_it_starts_or_are_left_out(photos, tmp_path):
    (photos / "images" / "b.png").write_bytes((photos / "images" / "b.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"1 of 3 samples cannot be used .*b\.png.*--skip-bad"):
        run(photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    rows, _ = run(photos, tmp_path / "run", skip_bad=True)
    assert {row.images for row in rows} == {2}


def test_too_few_samples_are_refused_before_anything_runs(photos, tmp_path):
    with pytest.raises(NothingCertifiableError, match=r"smallest n|at least"):
        run(photos, tmp_path / "run", certifier="holm:n0=4,n=10")
    assert not (tmp_path / "run").exists()


def test_classes_must_agree(photos, tmp_path):
    (photos / "classes.txt").write_text("night\nday\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"'identity' knows the classes dark, bright \(2\), the dataset has night, day"
    ):
        run(photos, tmp_path / "run")


def test_images_without_labels_are_certified_too(photos, tmp_path):
    rows, made = run(photos, tmp_path / "run", dataset=f"folder:root={photos},images=images")
    assert len(made) == 12
    assert rows[0].certified is not None
    assert rows[0].certified.accuracy is None
    assert rows[0].certified.abstained is not None


def test_rows_can_be_read_while_the_run_is_unfinished(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", stop_after=3)
    assert [row.images for row in rows_of(tmp_path / "run")] == [1, 1, 1]
    with pytest.raises(DataError, match="holds no run"):
        rows_of(tmp_path)


def test_metrics_json_has_what_the_rows_have(whole, album):
    rows, made = run(album, whole)
    assert not made
    stored = json.loads((whole / "metrics.json").read_text())
    assert [row["certified"]["accuracy"] for row in stored["rows"]] == [
        row.certified.accuracy for row in rows if row.certified is not None
    ]


def test_a_config_runs_again_as_it_was(whole, album):
    from smoothseg.files import read_yaml

    plan = Plan.of(options(album))
    again, _ = configure(read_yaml(whole / "config.yaml"))
    assert again == plan


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sigm": 1}, UnknownNameError, r"unknown option 'sigm'.*Did you mean 'sigma'"),
        ({"sigma": 0}, ConfigError, "sigma must be positive"),
        ({"sigma": [0.25, 0.25]}, ConfigError, "twice"),
        ({"sigma": "much"}, ConfigError, "sigma must be a number"),
        ({"images": 0}, ConfigError, "images must be a whole number of at least 1"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"convention": "papers"}, ConfigError, r"Did you mean 'paper'"),
        ({"denoiser": ["identity", "identity"]}, ConfigError, "same folder name"),
        ({"methods": [{"denoiser": "identity"}]}, ConfigError, "needs a name"),
        ({"methods": [{"name": "x", "denoizer": "identity"}]}, ConfigError, "Did you mean 'denoiser'"),
        ({"methods": []}, ConfigError, "methods is empty"),
        ({"device": "gpu"}, ConfigError, "device must be auto"),
    ],
)
def test_impossible_options_are_explained(photos, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        preparing.prepare(Plan.of(options(photos, **change)))


@pytest.mark.slow
def test_a_run_killed_outright_is_finished_with_the_same_bytes(photos, tmp_path):
    config = {
        **options(photos),
        "segmenter": "hrnet",
        "denoiser": "identity",
        "dataset": "streets:count=2,height=48,width=64",
        "certifier": "holm:n0=4,n=60,alpha=0.05",
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    code = (
        "import json,sys; from pathlib import Path; from smoothseg.report import running; "
        "from smoothseg.runs import preparing; from smoothseg.runs.plan import Plan; "
        "running.run(preparing.prepare(Plan.of(json.loads(Path(sys.argv[1]).read_text()))), Path(sys.argv[2]))"
    )

    def start(directory):
        return subprocess.Popen([sys.executable, "-c", code, str(file), str(directory)])

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").rglob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() != 0
    assert len(list((tmp_path / "killed").rglob("*.npz"))) < 4
    assert start(tmp_path / "killed").wait() == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    assert Path(tmp_path / "killed" / "table.md").exists()


def test_a_component_that_lacks_a_part_of_its_protocol_is_blamed(toys):
    class Half:
        def denoise(self, noisy, sigma, *, seeds):
            return noisy

    @dataclasses.dataclass(frozen=True)
    class HalfRecipe:
        def load(self, device):
            return Half()

    plugins()["denoiser"].register("half", HalfRecipe, "someone 1.0")
    plan = Plan.of({"dataset": "streets:count=1,height=24,width=32", "denoiser": "half"})
    with pytest.raises(
        PluginError, match=r"denoiser 'half' of someone 1\.0 is no smoothseg\.Denoiser: Half has no digests"
    ):
        preparing.prepare(plan)
