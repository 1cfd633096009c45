"""A run whose pixels may be certified as groups of classes: everything that reads it knows the groups."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

import smoothseg
from smoothseg.certificates.file import load
from smoothseg.testing import ThresholdSegmenter

TEXT = "classes: [bright, dark]\nlevels:\n  - either: [dark, bright]\n"


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def run(invoke, photos, toys, tree, tmp_path):
    """Return a function that runs two certifiers on the labelled images of `photos`, and returns click's result."""

    def go(*words, thresholds="0.33"):
        return invoke(
            *(
                "certify",
                "--dataset",
                f"folder:root={photos},images=images,labels=labels,classes={photos}/classes.txt",
                "--denoiser",
                "identity",
            ),
            *("--segmenter", "toy-threshold", "--scale", 1, "--device", "cpu", "--sigma", 0.15),
            *("--certifier", f"hierarchical:hierarchy={tree},thresholds={thresholds},temperature=1,n=60"),
            *("--certifier", "holm:n=60", "--output", tmp_path / "run", *words),
        )

    return go


def test_a_run_names_its_groups_in_every_file(run, tmp_path):
    result = run()
    assert result.exit_code == 0, result.output
    directory = tmp_path / "run"
    identity = json.loads((directory / "run.json").read_text())
    grouped, flat = (method["name"] for method in identity["plan"]["methods"])
    assert identity["classes"] == {grouped: ["dark", "bright", "either"], flat: ["dark", "bright"]}
    assert identity["levels"] == {grouped: [[0, 1], [2, 2]]}
    made = [load(path) for path in sorted(directory.glob("certificates/hier*/**/*.npz"))]
    assert all(each.provenance["levels"] == [[0, 1], [2, 2]] for each in made)
    assert all(each.provenance["classes"] == ["dark", "bright", "either"] for each in made)
    nodes = np.concatenate([each.prediction[each.certified] for each in made])
    assert np.unique(nodes).tolist() == [0, 1, 2]
    for path in directory.glob("certificates/holm*/**/*.npz"):
        assert "levels" not in load(path).provenance

    assert {"CIG", "cCIG"} <= set((directory / "table.md").read_text().replace("<br>", " ").split())
    rows = json.loads((directory / "metrics.json").read_text())["rows"]
    assert [row["grouped"] for row in rows] == [True, False]
    first, second = (row["certified"] for row in rows)
    assert first["accuracy"] > first["information_gain"] > 0
    assert second["accuracy"] == second["information_gain"]
    assert [each["name"] for each in first["per_class"]] == ["dark", "bright", "either"]
    assert "information_gain" in next(csv.DictReader(io.StringIO((directory / "metrics.csv").read_text())))
    page = (directory / "report.html").read_text()
    assert "the class, or the group of classes, that is shown here" in page
    assert '["either",' in page.replace("&#34;", '"')
    assert list(directory.glob("pictures/hier*/*.png"))


def test_a_run_of_classes_alone_says_nothing_of_groups(certify, toys, tmp_path):
    assert certify("--output", tmp_path / "run").exit_code == 0
    directory = tmp_path / "run"
    assert "levels" not in json.loads((directory / "run.json").read_text())
    assert "levels" not in load(next(directory.glob("certificates/**/*.npz"))).provenance
    for name in ("metrics.json", "metrics.csv", "table.md", "report.html"):
        content = (directory / name).read_text()
        assert "information_gain" not in content
        assert "CIG" not in content
        assert "grouped" not in content


def test_a_run_can_be_verified_without_its_hierarchy_file(run, invoke, tree, tmp_path):
    assert run().exit_code == 0
    tree.unlink()
    result = invoke("verify", tmp_path / "run", "--images")
    assert result.exit_code == 0, result.output


def test_changed_levels_are_found(run, invoke, tmp_path):
    assert run().exit_code == 0
    from smoothseg.runs.results import read_identity, write_identity

    directory = tmp_path / "run"
    identity = read_identity(directory)
    method = next(iter(identity["levels"]))
    identity["classes"][method][2] = "nothing"
    write_identity(directory, identity)
    result = invoke("verify", directory)
    assert "classes is ['dark', 'bright', 'either']" in result.output
    identity["levels"][method] = [[0, 1], [2, 3]]
    write_identity(directory, identity)
    assert "run.json is not as smoothseg writes it" in invoke("verify", directory).output


def test_samples_labelled_again_count_for_the_node(run, invoke, tmp_path):
    assert run().exit_code == 0
    result = invoke("verify", tmp_path / "run", "--resample", 60)
    assert result.exit_code == 0, result.output
    numbers = next(line for line in result.output.splitlines() if "of every certificate again" in line)
    assert "note" not in numbers
    hits = numbers.split("again: ")[1].split(" ")[0]
    assert numbers.endswith(f"the stored hits let expect {hits}")  # all samples were labelled again


def test_bounds_count_groups(run, invoke, tmp_path):
    assert run().exit_code == 0
    result = invoke("bounds", tmp_path / "run", "--format", "json")
    assert result.exit_code == 0, result.output
    for one in json.loads(result.output):
        sizes = {each["name"]: each for each in one["bounds"]["classes"]}
        pixels, abstained = one["bounds"]["pixels"], one["bounds"]["abstained"]
        if one["grouped"]:
            assert sizes["either"]["pixels_at_least"] == pixels - abstained
        assert sizes["dark"]["pixels_at_most"] == pixels - sizes["bright"]["pixels_at_least"]
    shown = invoke("bounds", tmp_path / "run", "--image", "a")
    assert "counts for each class in it as one that" in " ".join(shown.output.split())


def test_a_changed_hierarchy_does_not_resume(run, tree):
    assert run("--images", 1).exit_code == 0
    tree.write_text(TEXT.replace("either", "one of both"), encoding="utf-8")
    result = run("--images", 1)
    assert isinstance(result.exception, smoothseg.RunMismatchError)
    assert "holds a run of another configuration: classes." in str(result.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("dark", "dim"), "has the class 'dim', which the segmenter does not know"),
        ("classes: [dark]\nlevels: [{either: [dark, bright]}]", "lacks the class 'bright' of the segmenter"),
        (TEXT.replace("either", '"a\\tb"'), "names class 2 'a\\tb': expected 1 to 200 characters"),
    ],
)
def test_a_hierarchy_that_does_not_fit_stops_before_any_network_runs(run, tree, monkeypatch, text, said):
    tree.write_text(text, encoding="utf-8")
    monkeypatch.setattr(ThresholdSegmenter, "segment", lambda self, images: pytest.fail("a network ran"))
    result = run()
    assert isinstance(result.exception, smoothseg.ConfigError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_ignored_labels_may_have_the_number_of_a_group():
    """The first index after the classes is the first group's, and what many datasets ignore."""
    from smoothseg.report.colours import IGNORED, legend

    labels = np.array([[0, 1, 2, 2]])
    decided = [(np.array([[0, 1, 1, 0]]), np.ones((1, 4), bool))]
    entries = legend(
        decided, labels, None, classes=["dark", "bright", "either"], palette=[(1, 1, 1)] * 3, ignore=2
    )
    assert [name for name, _ in entries] == ["dark", "bright", "ignored"]
    assert entries[-1][1] == IGNORED


def test_certify_in_python_shows_groups(photos, tree):
    image = np.array(Image.open(photos / "images" / "a.png"))
    result = smoothseg.certify(
        image,
        segmenter=ThresholdSegmenter(),
        denoiser=None,
        certifier={"name": "hierarchical", "hierarchy": str(tree), "thresholds": (0.25,), "temperature": 1.0},
        sigma=0.5,
        scale=1.0,
    )
    assert result.classes == ("dark", "bright", "either")
    assert len(result.palette) == 3
    assert (result.prediction[result.certified] == 2).any()
    assert result.picture().size[0] > 0
    assert result.certificate.provenance["counted"] == "node"
    with pytest.raises(smoothseg.ConfigError, match="which the segmenter does not know"):
        smoothseg.certify(
            image, segmenter=ThresholdSegmenter(), denoiser=None, certifier="hierarchical", sigma=0.5
        )
