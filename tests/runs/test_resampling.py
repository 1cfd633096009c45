"""Votes drawn again: honest counts stand, and counts that the networks do not give are found."""

import dataclasses

import numpy as np
import pytest

from smoothseg.certificates import file
from smoothseg.errors import ConfigError, DataError
from smoothseg.report import running
from smoothseg.runs import preparing, resampling, results
from smoothseg.runs.plan import Plan
from smoothseg.testing import ThresholdSegmenter


def make(photos, directory, **changes):
    plan = Plan.of(
        {
            "dataset": f"folder:root={photos},images=images,labels=labels,classes=classes.txt",
            "denoiser": "toy-blur",
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=40,alpha=0.05",
            "sigma": [0.2],
            "scale": 1.0,
            "device": "cpu",
            **changes,
        }
    )
    running.run(preparing.prepare(plan), directory, batch_size=16)
    return directory


@pytest.mark.parametrize("certifier", ["holm:n0=4,n=40,alpha=0.05", "naive-pattern:n0=4,n=40"])
def test_the_networks_vote_again_as_they_did(toys, photos, tmp_path, certifier):
    run = make(photos, tmp_path / "run", certifier=certifier)
    told = []
    made = list(resampling.resample(run, 40, told=lambda done, total: told.append((done, total))))
    assert len(made) == 3
    for each in made:
        assert each.samples == tuple(range(4, 44))  # all trials, and none of the selection
        assert each.impossible == 0
        assert each.hits == each.expected
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert all(each.impossible == 0 for each in resampling.resample(run, 3))


def test_where_all_samples_are_trials_all_are_labelled_again(toys, photos, invoke, tmp_path):
    run = make(photos, tmp_path / "run", certifier="holm:n0=0,n=40,alpha=0.05")
    for each in resampling.resample(run, 40):
        assert each.samples == tuple(range(40))
        assert (each.impossible, each.hits) == (0, each.expected)
    assert invoke("verify", run, "--resample", 3).exit_code == 0
    # The counts of a run are those of its n0, and no other certifier decides them.
    stricter = invoke(
        "recertify", run, "--certifier", "bonferroni:alpha=0.01", "--output", tmp_path / "again"
    )
    assert stricter.exit_code == 0
    assert invoke("verify", tmp_path / "again").exit_code == 0
    for spec, message in (
        ("holm:n0=10", "the counts are of n0=0, the certifier has n0=10"),
        ("kfwer", "n0 must be at least 1, got 0"),
    ):
        refused = invoke("recertify", run, "--certifier", spec, "--output", tmp_path / "other")
        assert message in str(refused.exception)
    usual = make(photos, tmp_path / "usual")
    refused = invoke("recertify", usual, "--certifier", "holm:n0=0", "--output", tmp_path / "other")
    assert "the counts are of n0=4, the certifier has n0=0" in str(refused.exception)


def test_a_lie_about_the_counts_is_found(toys, photos, invoke, tmp_path):
    """Every pixel is stated to have all hits: a sample that votes otherwise shows it."""
    run = make(photos, tmp_path / "run", sigma=[0.6])
    path = run / "certificates" / "toy-blur" / "sigma-0.6" / "b.npz"
    made = file.load(path)
    assert (made.hits < made.trials).any()
    file.save(dataclasses.replace(made, hits=np.full_like(made.hits, made.trials)), path)
    found = {each.path: each for each in resampling.resample(run, 5)}
    lie = found["certificates/toy-blur/sigma-0.6/b.npz"]
    assert lie.impossible > 0
    assert lie.hits < lie.expected
    assert sum(each.impossible for each in found.values()) == lie.impossible
    assert "toy-blur/sigma-0.6/b.npz" in invoke("verify", run, "--resample", 5).stderr


@pytest.mark.parametrize(("hits", "samples"), [(36, 8), (30, 20)])
def test_a_lie_that_no_single_pixel_shows_is_found(toys, photos, invoke, tmp_path, hits, samples):
    """Every pixel is stated to be the rarer class, with fewer hits than the number of samples could rule out."""
    run = make(photos, tmp_path / "run")
    for path in sorted(run.rglob("*.npz")):
        made = file.load(path)
        lie = dataclasses.replace(
            made, prediction=1 - made.prediction.astype(np.int16), hits=np.full_like(made.hits, hits)
        )
        file.save(lie, path)
    found = list(resampling.resample(run, samples))
    assert resampling.chance(found) < resampling.CHANCE
    assert all(each.contradicts for each in found)


def test_the_bound_on_chance_is_one_and_seldom_accuses():
    """The share of agreeing pixels jumps between 0 and 1 from sample to sample: the worst case of the bound."""
    generator = np.random.default_rng(1)
    trials, count, pixels = 40, 6, 50
    for share in (0.1, 0.5, 0.9):
        whole = np.zeros(trials, dtype=int)
        whole[: round(share * trials)] = 1
        bounds = []
        for _ in range(4000):
            seen = int(generator.permutation(whole)[:count].sum())
            one = resampling.Resampled(
                "x", tuple(range(count)), pixels, 0, seen * pixels, share * count * pixels
            )
            bounds.append(resampling.chance([one]))
        bounds = np.array(bounds)
        for level in (0.2, 0.05, 0.01):
            # each direction keeps to the level
            assert (bounds <= level).mean() <= 2 * level + 3 * (2 * level / 4000) ** 0.5


def test_a_run_with_images_left_out_and_one_of_gaussian_noise_are_sampled_as_they_were(
    toys, photos, invoke, tmp_path
):
    (photos / "images" / "b.png").write_bytes(b"nothing")
    plan = {
        "dataset": f"folder:root={photos},images=images,labels=labels,classes=classes.txt",
        "denoiser": "identity",
        "segmenter": "toy-threshold",
        "certifier": "holm:n0=4,n=40,alpha=0.05",
        "scale": 1.0,
        "device": "cpu",
        "noise": "gaussian",
    }
    running.run(preparing.prepare(Plan.of(plan), skip_bad=True), tmp_path / "run")
    identity = results.read_identity(tmp_path / "run")
    del identity["plan"]["noise"]  # as it was when there was one kind
    results.write_identity(tmp_path / "run", identity)
    found = list(resampling.resample(tmp_path / "run", 40))
    assert len(found) == 2
    assert all(each.hits == each.expected and not each.impossible for each in found)


def test_a_network_that_was_not_the_one_is_found(toys, photos, tmp_path, monkeypatch):
    run = make(photos, tmp_path / "run")
    segment = ThresholdSegmenter.segment
    monkeypatch.setattr(ThresholdSegmenter, "segment", lambda self, images: -segment(self, images))
    assert all(each.impossible > 0 for each in resampling.resample(run, 3))


def test_the_command_says_what_it_saw(toys, photos, invoke, tmp_path):
    run = make(photos, tmp_path / "run")
    result = invoke("verify", run, "--resample", 2)
    assert result.exit_code == 0
    assert "labelled 2 samples of every certificate again: " in result.stderr
    assert "the stored hits let expect" in result.stderr


def test_what_cannot_be_compared_is_said(toys, photos, invoke, tmp_path):
    run = make(photos, tmp_path / "run")
    with pytest.raises(ConfigError, match="--resample must be at most 40, the trials of certificates/"):
        list(resampling.resample(run, 41))
    one = next(run.rglob("*.npz"))
    assert "--resample is about a run" in str(invoke("verify", one, "--resample", 1).exception)
    image = photos / "images" / "b.png"
    image.write_bytes((photos / "images" / "a.png").read_bytes())
    (photos / "labels" / "b.png").write_bytes((photos / "labels" / "a.png").read_bytes())
    result = invoke("verify", run, "--resample", 1)
    assert isinstance(result.exception, DataError)
    assert "the images are not those of the run" in str(result.exception)


def test_a_few_pixels_are_rounding_and_more_are_none():
    one = resampling.Resampled("x.npz", (4,), pixels=20_000, impossible=2, hits=1, expected=1.0)
    assert not one.contradicts
    assert dataclasses.replace(one, impossible=3).contradicts


def test_other_versions_are_named(toys, photos, tmp_path, monkeypatch):
    run = make(photos, tmp_path / "run")
    assert resampling.other_versions(run) == []
    monkeypatch.setattr(resampling.versions, "numerical", lambda: {"python": "3.99"})
    assert any(
        line.startswith("python ") and line.endswith("there, 3.99 here")
        for line in resampling.other_versions(run)
    )


def test_images_that_lie_elsewhere_now_are_named_by_a_dataset(toys, photos, invoke, tmp_path):
    run = make(photos, tmp_path / "run")
    photos.rename(tmp_path / "elsewhere")
    there = f"folder:root={tmp_path / 'elsewhere'},images=images,labels=labels,classes=classes.txt"
    assert invoke("verify", run, "--images").exit_code == 1
    assert invoke("verify", run, "--dataset", there, "--resample", 1).exit_code == 0
    result = invoke("verify", run, "--dataset", "streets:count=3,height=16,width=16")
    assert "run.json: images: the dataset has no a" in result.stderr


def test_a_run_is_sampled_whatever_is_wrong_with_one_whose_name_begins_alike(toys, photos, invoke, tmp_path):
    run, other = make(photos, tmp_path / "run"), make(photos, tmp_path / "run-b")
    (other / "table.md").write_text("| 100 % |\n")
    result = invoke("verify", run, other, "--resample", 1)
    assert result.exit_code == 1
    assert f"{run}: labelled 1 sample of every certificate again" in result.stderr
    assert f"{other}: labelled" not in result.stderr
