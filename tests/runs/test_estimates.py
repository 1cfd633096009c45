"""What a run will take: measured, shared by `certify --dry-run` and `reproduce`, and said at the start of a run."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest

from smoothseg.cli.estimates import show_estimate
from smoothseg.components.plugins import plugins
from smoothseg.errors import RunMismatchError
from smoothseg.report import running
from smoothseg.report.illustrating import most_bytes
from smoothseg.runs import estimates, preparing, resuming
from smoothseg.runs.plan import Plan
from smoothseg.terminal.console import Plain
from smoothseg.testing import ThresholdSegmenter

pytestmark = pytest.mark.usefixtures("toys")

PIXELS = {"a": 14 * 18, "b": 11 * 21, "c": 14 * 18}


def plan(photos, **changes):
    return Plan.of(
        {
            "dataset": f"folder:root={photos},images=images",
            "denoiser": ["identity", "toy-blur"],
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=40,alpha=0.05",
            "sigma": [0.2, 0.4],
            "scale": 1.0,
            "device": "cpu",
            **changes,
        }
    )


def test_time_is_samples_times_pace_and_smaller_images_count_less(photos, monkeypatch):
    prepared = preparing.prepare(plan(photos))
    monkeypatch.setattr(estimates, "pace", lambda prepared, batch_size: {"identity": 0.5, "toy-blur": 2.0})
    found = estimates.measure(prepared, prepared.jobs)
    share = sum(PIXELS.values()) / PIXELS["a"]
    assert found.seconds == {
        "identity": pytest.approx(0.5 * 44 * 2 * share),
        "toy-blur": pytest.approx(2.0 * 44 * 2 * share),
    }
    assert found.total == pytest.approx(2.5 * 44 * 2 * share)
    assert found.costs["identity"] == estimates.Cost(6, 264, 0, 264)
    half = estimates.measure(prepared, [job for job in prepared.jobs if job.sigma == 0.2])
    assert half.total == pytest.approx(found.total / 2)
    assert 0 < half.disk < found.disk
    assert found.memory is None or found.memory > 50e6


def test_a_certifier_that_may_stop_has_a_range(photos, monkeypatch, capsys):
    certifier = "anytime:n0=4,max_n=40,block=5,alpha=0.5,tau=0.6,gain=0.01"
    prepared = preparing.prepare(plan(photos, denoiser="identity", certifier=certifier))
    monkeypatch.setattr(estimates, "pace", lambda prepared, batch_size: {"identity": 0.5})
    found = estimates.measure(prepared, prepared.jobs)
    cost = found.costs["identity"]
    assert cost.samples == 6 * 44
    assert cost.fewest == 6 * next(iter(prepared.certifiers.values())).fewest < cost.samples
    assert found.least == pytest.approx(found.total * cost.fewest / cost.samples)
    drawn = {job.path: 24 for job in prepared.jobs}
    further = estimates.measure(prepared, prepared.jobs, drawn=drawn)
    assert further.costs["identity"].samples == 6 * 20
    assert further.total == pytest.approx(found.total * 20 / 44)
    show_estimate(Plain(), found, prepared, photos, 0)
    said = " ".join(capsys.readouterr().out.split())
    assert f"{cost.fewest} to {cost.samples} noise samples in all" in said
    assert "depending on when images stop" in said


def test_disk_is_enough_for_what_a_run_writes(photos, tmp_path):
    prepared = preparing.prepare(plan(photos))
    disk = estimates.measure(prepared, prepared.jobs, pictures=most_bytes).disk
    running.run(prepared, tmp_path / "run")
    used = sum(
        path.stat().st_size
        for folder in ("certificates", "pictures", "previews")
        for path in (tmp_path / "run" / folder).rglob("*")
        if path.is_file()
    )
    assert used < disk < 100 * used


class Slow(ThresholdSegmenter):
    """Sleeps a centisecond an image, and remembers what it saw."""

    def __init__(self):
        super().__init__(0.5)
        self.seen = []

    def segment(self, images):
        self.seen.append(tuple(images.shape))
        time.sleep(0.01 * len(images))
        return super().segment(images)


def slow(photos, monkeypatch, **changes):
    segmenter = Slow()
    monkeypatch.setattr(
        plugins()["segmenter"].entry("toy-threshold").recipe, "load", lambda self, device: segmenter
    )
    return segmenter, preparing.prepare(plan(photos, denoiser="identity", **changes))


def test_the_pace_is_that_of_the_largest_image_in_batches(photos, monkeypatch):
    segmenter, prepared = slow(photos, monkeypatch, every=1)
    pace = estimates.pace(prepared, batch_size=3)
    assert segmenter.seen == [(3, 3, 14, 18)] * 2
    assert 0.01 <= pace["identity"] < 0.1


def test_measuring_unasked_takes_a_fiftieth_of_the_run_at_most(photos):
    prepared = preparing.prepare(plan(photos))
    jobs = prepared.jobs
    assert len(jobs) * 44 // 2 == 264  # samples a method
    assert estimates.batch_to_measure(prepared, jobs, 1) == 1
    assert estimates.batch_to_measure(prepared, jobs, 100) == 2
    assert estimates.batch_to_measure(prepared, jobs[:4], 100) == 0
    assert estimates.batch_to_measure(prepared, [], 100) == 0


def test_a_dry_run_tells_time_memory_and_disk_and_runs_nothing(certify, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output = tmp_path / "run"
    result = certify("--dry-run", "--output", output, "--sigma", 0.2, "--sigma", 0.4)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "3 images, sigma 0.2, 0.4; 6 certificates to make" in told
    assert re.search(r"identity 6 264 0 \d+ s", told)
    assert re.search(r"264 noise samples in all, about \d+ s on this machine", told)
    assert re.search(r"memory about [\d.]+ (MB|GB); disk at most \d+ MB of [\d.]+ [MG]B free", told)
    assert not output.exists()


def test_a_dry_run_counts_what_is_left(certify, tmp_path):
    output = tmp_path / "run"
    assert certify("--output", output).exit_code == 0
    left = next(output.rglob("b.npz"))
    left.unlink()
    assert "1 certificate to make, 2 are there already" in " ".join(
        certify("--output", output, "--dry-run").stdout.split()
    )
    fresh = certify("--output", output, "--dry-run", "--fresh")
    assert "3 certificates to make" in " ".join(fresh.stdout.split())
    assert not left.exists()
    assert len(list(output.rglob("*.npz"))) == 2
    assert certify("--output", output).exit_code == 0
    assert "nothing is left to do" in certify("--output", output, "--dry-run").stdout


def test_a_run_begins_with_an_estimate_in_one_line(certify, tmp_path):
    result = certify("--output", tmp_path / "run")
    lines = [line for line in result.stderr.splitlines() if line.startswith("about ")]
    assert len(lines) == 1
    assert re.fullmatch(r"about \d+ s; memory about [\d.]+ [MG]B; disk at most \d+ MB", lines[0])
    again = certify("--output", tmp_path / "run")
    assert "\nabout " not in again.stderr


def test_a_disk_that_is_too_small_is_told_first(certify, tmp_path, monkeypatch):
    from smoothseg.machine import resources as machine

    monkeypatch.setattr(machine, "free_disk", lambda path: 1000)
    assert "only 1 MB are free on the disk" in " ".join(certify("--output", tmp_path / "run").stderr.split())


def test_another_run_in_the_directory_is_refused_before_anything_is_measured(
    certify, photos, tmp_path, monkeypatch
):
    segmenter, prepared = slow(photos, monkeypatch)
    running.run(prepared, tmp_path / "run")
    count = len(segmenter.seen)
    with pytest.raises(RunMismatchError, match=r"plan\.seed is 0 there and 1 here"):
        resuming.remaining(
            dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, seed=1)), tmp_path / "run"
        )
    result = certify("--output", tmp_path / "run", "--seed", 1, "--sigma", 0.2, "--sigma", 0.4)
    assert isinstance(result.exception, RunMismatchError)
    assert len(segmenter.seen) == count
