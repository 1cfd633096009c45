"""`smoothseg datasets check` and the library function behind it: what a dataset holds, and which files are no good."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from smoothseg import DataError, Sample
from smoothseg import cli as command_line
from smoothseg.data.inspection import inspect
from smoothseg.testing import label_map, plain_image, recipe, write_image

Check = Callable[..., Result]


@pytest.fixture
def check(invoke: Check) -> Check:
    """Return a function that runs `smoothseg datasets check WORDS`."""
    return functools.partial(invoke, "datasets", "check")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A CamVid of three images: two of 4 x 6, one of 2 x 3."""
    for name, (height, width), values in (
        ("a", (4, 6), [0, 3, 11]),
        ("b", (4, 6), [3]),
        ("c", (2, 3), [3, 11]),
    ):
        write_image(tmp_path / f"val/{name}.png", plain_image(size=(height, width)))
        write_image(tmp_path / f"valannot/{name}.png", label_map(*values, size=(height, width)))
    return tmp_path


def spoil(root: Path) -> None:
    """Damage `a`, take away the annotation of `b`, and add an annotation without an image."""
    content = (root / "val/a.png").read_bytes()
    (root / "val/a.png").write_bytes(content[:-20])
    (root / "valannot/b.png").unlink()
    write_image(root / "valannot/z.png", label_map(0, size=(2, 3)))


def test_sizes_pixels_and_shares_are_counted(root: Path) -> None:
    found = inspect(recipe("dataset", f"camvid:root={root}"))
    assert (found.images, found.labelled) == (3, 3)
    assert found.sizes == (((4, 6), 2), ((2, 3), 1))
    # a: 8 each of sky, road, void; b: 24 road; c: 3 each of road and void.
    pixels = {share.name: (share.pixels, share.images) for share in found.classes if share.pixels}
    assert pixels == {"sky": (8, 1), "road": (35, 3)}
    assert {share.name: share.share for share in found.classes}["road"] == 35 / 43
    assert found.ignored == (11, 11 / 54)
    assert len(found.classes) == 11
    assert found.problems == ()


def test_every_fault_is_named_and_the_rest_is_counted(root: Path) -> None:
    spoil(root)
    found = inspect(recipe("dataset", f"camvid:root={root}"))
    assert found.sizes == (((2, 3), 1),)
    starts = (
        f"no annotation {root}/valannot/b.png",
        f"no image {root}/val/z.png",
        f"{root}/val/a.png: damaged",
    )
    assert len(found.problems) == 3
    for problem, start in zip(found.problems, starts, strict=True):
        assert problem.startswith(start)
        assert "\n" not in problem


def test_a_label_without_a_meaning_is_a_fault() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wrong:
        classes = ("dark", "bright")
        palette = ((0, 0, 0), (9, 9, 9))
        ignore = 255
        keys = ("good", "bad")

        def load(self) -> Wrong:
            return self

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            labels = np.array([[0, 1, 255], [2 * index, 0, 0]], dtype=np.uint8)
            return Sample(self.keys[index], np.zeros((2, 3, 3), dtype=np.uint8), labels)

    found = inspect(Wrong())
    assert found.problems == ("bad: label 2 is neither a class nor ignored (255)",)
    assert found.images == 1


def test_images_without_labels_have_sizes_only(check: Check, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    images = recipe("dataset", f"folder:root={root},images=val")
    found = inspect(images, on_image=lambda done, total: seen.append((done, total)))
    assert (found.images, found.labelled, found.classes) == (3, 0, ())
    assert found.ignored == (0, 0.0)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert "3 images, 0 with labels" in check(f"folder:root={root},images=val").stdout


def test_a_folder_names_every_missing_label_map(root: Path) -> None:
    (root / "classes.txt").write_text("\n".join(f"class{index}" for index in range(12)))
    for name in "ab":
        (root / f"valannot/{name}.png").unlink()
    spec = f"folder:root={root},images=val,labels=valannot,classes=classes.txt"
    found = inspect(recipe("dataset", spec))
    assert [problem.split(":")[0] for problem in found.problems] == [
        f"no label map for the image {root}/val/{name}.png" for name in "ab"
    ]
    assert found.images == 1


def test_the_table_shows_what_was_counted(check: Check, root: Path) -> None:
    result = check(f"camvid:root={root}")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["3", "images,", "3", "with", "labels"]
    assert ["4", "x", "6", "2"] in rows
    assert ["road", "35", "81.395%", "3"] in rows
    assert "ignored: 11 pixels, 20.370% of all; shares are of the others" in result.stdout
    assert "reading images  3/3" in result.stderr


def test_of_many_sizes_the_rarest_are_summed_up(check: Check, tmp_path: Path) -> None:
    for width in range(1, 14):
        write_image(tmp_path / f"{width}.png", plain_image(size=(2, width)))
    result = check(f"folder:root={tmp_path}")
    assert "2 x 10" in result.stdout
    assert "2 x 11" not in result.stdout
    assert "3 other sizes       3" in result.stdout


def test_json_holds_the_same_and_nothing_else_is_on_standard_output(check: Check, root: Path) -> None:
    spoil(root)
    result = check(f"camvid:root={root}", "--format", "json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found == inspect(recipe("dataset", f"camvid:root={root}")).to_json()
    assert found["sizes"] == [{"height": 2, "width": 3, "images": 1}]
    assert found["classes"][3] == {"name": "road", "pixels": 3, "images": 1, "share": 1.0}
    assert found["ignored"] == {"pixels": 3, "share": 0.5}
    assert len(found["problems"]) == 3


def test_faults_are_named_on_standard_error_with_exit_code_1(check: Check, root: Path) -> None:
    spoil(root)
    result = check(f"camvid:root={root}")
    assert result.exit_code == 1
    assert "1 image, 1 with labels" in result.stdout
    wrong = [line for line in result.stderr.splitlines() if line.startswith("WRONG  ")]
    assert len(wrong) == 3
    assert f"Error: 3 faults in camvid:root={root}" in result.stderr


def test_what_cannot_be_loaded_at_all_is_the_user_s_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["datasets", "check", f"camvid:root={tmp_path}/nowhere"])
    assert stopped.value.code == DataError.exit_code == 2
    assert f"Error: no CamVid folder {tmp_path}/nowhere" in capsys.readouterr().err


def test_inspecting_imports_no_torch(root: Path) -> None:
    code = (
        "import sys; from smoothseg.cli import cli; "
        f"cli.main(['datasets', 'check', 'camvid:root={root}'], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
