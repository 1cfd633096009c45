"""`smoothseg bounds` on a small run."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from smoothseg.certificates import file

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def run(invoke, photos, once, tmp_path, monkeypatch):
    """A run of two methods and two sigmas on three labelled images, made once and copied.

    The root of its images is relative, so that each copy has its own.
    """
    monkeypatch.chdir(tmp_path)

    def make(output):
        result = invoke(
            *("certify", "--dataset", "folder:root=photos,images=images,labels=labels,classes=classes.txt"),
            *("--segmenter", "toy-threshold", "--denoiser", "identity", "--denoiser", "toy-blur"),
            *("--certifier", "holm:n0=4,n=40,alpha=0.05,taus=0.6,0.75", "--sigma", 0.2, "--sigma", 0.4),
            *("--scale", 1, "--device", "cpu", "--output", output),
        )
        assert result.exit_code == 0, result.stderr

    once("bounds", make, tmp_path / "run")
    return tmp_path / "run"


def test_an_overview_has_a_line_an_image_method_and_sigma(invoke, run):
    result = invoke("bounds", run)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["image", "method", "sigma", "R", "accuracy", "mIoU", "abstained"]
    assert len([line for line in lines if line.startswith(("a ", "b ", "c "))]) == 12
    assert "1 - alpha" in " ".join(result.stdout.split())


def test_json_holds_what_the_certificates_say(invoke, run):
    result = invoke("bounds", run, "--format", "json", "--method", "identity", "--sigma", 0.4, "--image", "b")
    (one,) = json.loads(result.stdout)
    made = file.load(run / "certificates/identity/sigma-0.4/b.npz")
    kept = np.ones((11, 21), dtype=bool)
    kept[0, :3] = False
    assert (one["key"], one["method"], one["sigma"]) == ("b", "identity", 0.4)
    assert one["bounds"]["radius"] == made.radius
    assert one["bounds"]["pixels"] == 228
    assert one["bounds"]["abstained"] == int((~made.certified)[kept].sum())
    held = [int((made.certified & kept & (made.prediction == c)).sum()) for c in range(2)]
    assert [c["pixels_at_least"] for c in one["bounds"]["classes"]] == held


def test_a_larger_radius_bounds_less_where_there_is_a_radius_map(invoke, run):
    chosen = ("--format", "json", "--method", "identity", "--sigma", 0.2, "--image", "a")
    (near,), (far,) = (
        json.loads(invoke("bounds", run, *chosen, *more).stdout) for more in ((), ("--radius", 0.13))
    )
    made = file.load(run / "certificates/identity/sigma-0.2/a.npz")
    assert (made.verdict.radii >= 0.13).sum() < made.certified.sum()
    assert far["bounds"]["radius"] == 0.13
    assert far["bounds"]["accuracy"] < near["bounds"]["accuracy"]


def test_one_image_shows_its_classes_and_regions_and_a_mask_narrows_them(invoke, run, tmp_path):
    mask = np.zeros((14, 18), dtype=np.uint8)
    mask[:, :4] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    chosen = ("--method", "identity", "--sigma", 0.2, "--image", "a", "--least", 5)
    whole = invoke("bounds", run, *chosen).stdout
    part = invoke("bounds", run, *chosen, "--region", tmp_path / "mask.png").stdout
    for text in (whole, part):
        assert "bright" in text
        assert "region" in text
    assert "of 249 pixels" in " ".join(whole.split())
    assert "of 53 pixels" in " ".join(part.split())
    assert "0-3" in part
    assert "dark" not in part


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "identiy"), "unknown method 'identiy'; the run has: identity, toy-blur. Did you mean"),
        (("--sigma", "0.3"), "unknown sigma '0.3'; the run has: 0.2, 0.4"),
        (("--image", "z"), "unknown image 'z'; the run has: a, b, c"),
        (("--region", __file__), "--region is a mask of one image"),
    ],
)
def test_what_the_run_does_not_have_is_refused(invoke, run, arguments, message):
    result = invoke("bounds", run, *arguments)
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_a_radius_beyond_the_certificate_and_a_changed_file_are_refused(invoke, photos, tmp_path):
    output = tmp_path / "fixed"
    invoke(
        *("certify", "--dataset", f"folder:root={photos},images=images,labels=labels,classes=classes.txt"),
        *("--segmenter", "toy-threshold", "--denoiser", "identity", "--scale", 1, "--device", "cpu"),
        *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--sigma", 0.2, "--output", output),
    )
    assert "beyond the certificate's radius" in str(invoke("bounds", output, "--radius", 0.5).exception)
    made = file.load(output / "certificates/identity/sigma-0.2/a.npz")
    above = made.radius * (1 + 1e-9)
    told = str(invoke("bounds", output, "--radius", above).exception)
    assert told == f"--radius {above} is beyond the certificate's radius of {made.radius}"
    printed = re.search(r"R ([\d.]+)", (output / "table.md").read_text())[1]
    for given in (printed, made.radius, 0.2 * 0.6744897501960817, 0):
        assert invoke("bounds", output, "--radius", given).exit_code == 0
    for none in ("nan", "inf", "-1"):
        refused = invoke("bounds", output, "--radius", none)
        assert "--radius must be a number of at least 0" in str(refused.exception)
    path = output / "certificates/identity/sigma-0.2/a.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "ledger records another certificate of 'a'" in str(invoke("bounds", output).exception)


def test_labels_that_changed_since_the_run_are_refused(invoke, run, photos):
    labels = np.array(Image.open(photos / "labels" / "a.png"))
    labels[5, 5] ^= 1
    Image.fromarray(labels).save(photos / "labels" / "a.png")
    assert "labels 'a' are not those of the run" in str(invoke("bounds", run).exception)


def test_a_radius_copied_from_the_table_can_be_given(invoke, run):
    chosen = ("--method", "identity", "--sigma", 0.2, "--image", "a")
    made = file.load(run / "certificates/identity/sigma-0.2/a.npz")
    shown = next(
        line for line in invoke("bounds", run, "--method", "identity").stdout.splitlines() if line[:2] == "a "
    )
    assert float(shown.split()[3]) <= made.radius
    exact = 0.2 * 0.6744897501960817  # of tau 0.75, which is stored rounded down
    result = json.loads(invoke("bounds", run, *chosen, "--format", "json", "--radius", exact).stdout)
    assert 0 < exact - result[0]["bounds"]["radius"] < 1e-8
    assert result[0]["bounds"]["abstained"] < result[0]["bounds"]["pixels"]
    above = json.loads(invoke("bounds", run, *chosen, "--format", "json", "--radius", exact + 1e-6).stdout)
    assert above[0]["bounds"]["abstained"] == above[0]["bounds"]["pixels"]


def test_images_without_a_radius_are_bounded_trivially(invoke, photos, tmp_path):
    output = tmp_path / "pattern"
    invoke(
        *("certify", "--dataset", f"folder:root={photos},images=images,labels=labels,classes=classes.txt"),
        *("--segmenter", "toy-threshold", "--denoiser", "identity", "--scale", 1, "--device", "cpu"),
        *("--certifier", "naive-pattern:n0=4,n=40,alpha=0.05", "--sigma", 0.4, "--output", output),
    )
    table = invoke("bounds", output)
    assert table.exit_code == 0, table.exception
    assert "nan" not in table.stdout
    found = json.loads(invoke("bounds", output, "--format", "json", "--radius", 0.1).stdout)
    assert {one["bounds"]["accuracy"] for one in found} == {0.0}
    assert json.loads(invoke("bounds", output, "--format", "json").stdout)[0]["bounds"]["radius"] is None
