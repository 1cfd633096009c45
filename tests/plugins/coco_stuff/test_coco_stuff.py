"""The dataset `coco-stuff`: its layout, its classes, and its two forms of annotation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, IncompleteError
from smoothseg.testing import (
    check_dataset,
    check_imports,
    check_missing,
    label_map,
    plain_image,
    recipe,
    write_image,
)
from smoothseg_coco_stuff import CocoStuffRecipe

NAMES = ["000000000139", "000000000285"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two validation images of 4 x 6 with the published pixel maps."""
    for index, name in enumerate(NAMES):
        write_image(tmp_path / f"images/val2017/{name}.jpg", plain_image(index))
        write_image(tmp_path / f"annotations/val2017/{name}.png", label_map(0, 181, 255))
    return tmp_path


def converted(root: Path, *values: int) -> None:
    """Write train ids beside the pixel maps, as mmsegmentation does."""
    for name in NAMES:
        write_image(root / f"annotations/val2017/{name}_labelTrainIds.png", label_map(*values))


def test_there_are_171_classes_each_with_a_colour_of_its_own(root: Path) -> None:
    dataset = CocoStuffRecipe(root=str(root)).load()
    assert len(dataset.classes) == len(set(dataset.classes)) == len(set(dataset.palette)) == 171
    assert dataset.keys == tuple(NAMES)
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("number", "name"),  # from labels.txt of the authors
    [
        (1, "person"), (11, "fire hydrant"), (13, "stop sign"), (25, "giraffe"), (27, "backpack"),
        (31, "handbag"), (44, "bottle"), (46, "wine glass"), (67, "dining table"), (70, "toilet"), (72, "tv"),
        (84, "book"), (90, "toothbrush"), (92, "banner"), (124, "grass"), (169, "tree"), (182, "wood"),
    ],
)  # fmt: skip
def test_a_value_is_the_number_in_the_authors_list_less_one(root: Path, number: int, name: str) -> None:
    write_image(root / f"annotations/val2017/{NAMES[0]}.png", label_map(number - 1))
    dataset = CocoStuffRecipe(root=str(root)).load()
    found = dataset[0].labels
    assert found is not None
    assert {dataset.classes[label] for label in np.unique(found)} == {name}


@pytest.mark.parametrize("number", [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91, 183])
def test_what_was_never_annotated_is_refused(root: Path, number: int) -> None:
    write_image(root / f"annotations/val2017/{NAMES[0]}.png", label_map(number - 1))
    with pytest.raises(DataError, match=rf"{NAMES[0]}\.png: expected ids .* of label {number - 1}"):
        CocoStuffRecipe(root=str(root)).load()[0]


def test_both_forms_may_lie_side_by_side(root: Path) -> None:
    converted(root, 3, 170, 255)
    np.testing.assert_array_equal(CocoStuffRecipe(root=str(root)).load()[0].labels, label_map(0, 170, 255))
    asked = CocoStuffRecipe(root=str(root), labels="train-ids").load()
    np.testing.assert_array_equal(asked[0].labels, label_map(3, 170, 255))


def test_train_ids_alone_are_found(root: Path) -> None:
    converted(root, 3, 170, 255)
    for name in NAMES:
        (root / f"annotations/val2017/{name}.png").unlink()
    np.testing.assert_array_equal(CocoStuffRecipe(root=str(root)).load()[0].labels, label_map(3, 170, 255))
    converted(root, 171)
    with pytest.raises(DataError, match=r"_labelTrainIds\.png: expected labels 0\.\.170 or 255"):
        CocoStuffRecipe(root=str(root)).load()[0]


def test_a_missing_annotation_and_a_missing_image_are_named(root: Path) -> None:
    (root / f"annotations/val2017/{NAMES[0]}.png").unlink()
    (root / f"images/val2017/{NAMES[1]}.jpg").unlink()
    with pytest.raises(IncompleteError) as caught:
        CocoStuffRecipe(root=str(root)).load()
    assert [problem.split(" for ")[0] for problem in caught.value.problems] == [
        f"no annotation {root}/annotations/val2017/{NAMES[0]}.png",
        f"no image {root}/images/val2017/{NAMES[1]}.jpg",
    ]


@pytest.mark.parametrize("name", ["", "images", "annotations"])
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, name: str) -> None:
    what = f"{name}/val2017/ is missing" if name else "no COCO-Stuff folder"
    parts = (
        "https://cocodataset.org",
        "https://github.com/nightrome/cocostuff",
        "CC BY 4.0",
        "*_labelTrainIds.png",
    )
    check_missing(CocoStuffRecipe(root=str(root)), what, *parts, without=root / name)


def test_no_root_and_no_files_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset 'coco-stuff' needs root=FOLDER"):
        CocoStuffRecipe().load()
    for name in ("images", "annotations"):
        (tmp_path / name / "train2017").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no annotations in .*annotations/train2017"):
        CocoStuffRecipe(root=str(tmp_path), split="train").load()
    with pytest.raises(DataError, match="no images in the COCO-Stuff split 'train'"):
        CocoStuffRecipe(root=str(tmp_path), split="train", labels="ids").load()


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"coco-stuff:root={root},split=train,labels=train-ids")
    assert made == CocoStuffRecipe(root=str(root), split="train", labels="train-ids")
    with pytest.raises(ConfigError, match="split=test"):
        recipe("dataset", "coco-stuff:split=test")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(CocoStuffRecipe(root=str(root)))
