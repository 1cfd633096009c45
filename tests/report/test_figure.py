"""Does a figure show the images that were asked for, the same every time, in every format?"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from smoothseg.cli import cli
from smoothseg.errors import ConfigError, DataError, UnknownNameError
from smoothseg.report.colours import ABSTAINED
from smoothseg.report.figure import figure
from smoothseg.runs import results


def words(path):
    """Return the comments that matplotlib writes beside the letters of an svg."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_a_figure_has_a_column_each_stage_and_a_row_each_method_and_sigma(make, tmp_path):
    run = make()
    figure(run, "a", tmp_path / "all.svg")
    said = words(tmp_path / "all.svg")
    columns = ["image", "ground truth", "clean prediction", "noisy", "denoised", "certified"]
    assert [word for word in said if word in columns] == columns
    assert sum("σ 0.2, R 0.134" in word for word in said) == 2
    assert {"identity", "toy-blur", "dark", "bright", "abstained"} <= set(said)
    figure(run, "a", tmp_path / "one.svg", methods=["toy-blur"], sigmas=[0.4])
    said = words(tmp_path / "one.svg")
    assert [word for word in said if word.startswith("σ")] == ["σ 0.4, R 0.269"]
    assert "toy-blur" not in said


@pytest.mark.parametrize("kind", ["pdf", "png", "svg"])
def test_a_figure_is_the_same_every_time(make, tmp_path, kind):
    run = make()
    for name in ("one", "two"):
        figure(run, "b", tmp_path / f"{name}.{kind}", sigmas=[0.2])
    content = (tmp_path / f"one.{kind}").read_bytes()
    assert content == (tmp_path / f"two.{kind}").read_bytes()
    assert str(tmp_path).encode() not in content
    assert b"CreationDate" not in content


def test_a_png_has_the_size_that_was_asked_for_and_shows_the_abstentions(make, tmp_path):
    result = CliRunner().invoke(
        cli, ["figure", str(make()), "--image", "a", "--output", str(tmp_path / "a.png"), "--dpi", "100"]
    )
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(tmp_path / "a.png")
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as picture:
        assert picture.width == 675
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert ABSTAINED in colours
    assert len(colours) > 50


def test_letters_of_a_pdf_are_vectors(make, tmp_path):
    figure(make(), "a", tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    assert content.count(b"/Subtype /Image") >= 4


def test_what_there_is_not_is_named(make, tmp_path):
    run = make()
    with pytest.raises(UnknownNameError, match="unknown image 'z'; known: a, b, c"):
        figure(run, "z", tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="Did you mean 'toy-blur'"):
        figure(run, "a", tmp_path / "a.png", methods=["toy-blu"])
    with pytest.raises(UnknownNameError, match=r"unknown sigma '0.3'"):
        figure(run, "a", tmp_path / "a.png", sigmas=[0.3])
    with pytest.raises(ConfigError, match=r"\.pdf, \.png or \.svg"):
        figure(run, "a", tmp_path / "a.gif")
    (run / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="no certificate of image a yet"):
        figure(run, "a", tmp_path / "a.png")
    assert not list(tmp_path.glob("a.*"))


def test_columns_that_an_old_run_lacks_are_left_out(make, tmp_path):
    run = make()
    shutil.rmtree(run / "previews")
    (run / "legend.json").unlink()
    figure(run, "a", tmp_path / "old.svg")
    columns = {"image", "ground truth", "clean prediction", "noisy", "denoised", "certified"}
    assert columns & set(words(tmp_path / "old.svg")) == {"clean prediction", "certified"}


def test_class_names_are_not_read_as_mathematics(make, tmp_path, monkeypatch):
    run = make()
    identity = results.read_identity(run)
    results.write_identity(run, json.loads(json.dumps(identity).replace('"dark"', '"$d_a$rk"')))
    figure(run, "a", tmp_path / "a.svg")
    assert "$d_a$rk" in words(tmp_path / "a.svg")


def test_help_does_not_import_what_draws():
    code = (
        "import sys\nfrom smoothseg.cli import cli\n"
        "try: cli.main(['figure', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'jinja2', 'PIL'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_label_maps_have_their_full_size_in_a_pdf(make, tmp_path):
    figure(make(), "a", tmp_path / "a.pdf", sigmas=[0.2], methods=["identity"])
    sizes = re.findall(rb"/Height (\d+)", (tmp_path / "a.pdf").read_bytes())
    assert np.array(sizes, dtype=int).tolist().count(14) >= 3
