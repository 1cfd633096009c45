"""The dataset `ade20k`: its layout, its classes, and what the values in its label maps mean."""

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
from smoothseg_ade20k import Ade20kRecipe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two validation images and one training image of 4 x 6."""
    for index, name in enumerate(
        ("validation/ADE_val_00000001", "validation/ADE_val_00000002", "training/ADE_train_00000001")
    ):
        write_image(tmp_path / f"images/{name}.jpg", plain_image(index))
        write_image(tmp_path / f"annotations/{name}.png", label_map(0, 1, 150, index + 2))
    return tmp_path


def test_there_are_150_classes_with_the_benchmark_s_names_and_colours(root: Path) -> None:
    dataset = Ade20kRecipe(root=str(root)).load()
    assert len(dataset.classes) == len(set(dataset.classes)) == len(dataset.palette) == 150
    # Positions and names from objectInfo150, colours from color150, both of the development kit.
    for number, name in ((1, "wall"), (8, "bed"), (13, "person"), (21, "car"), (72, "stove"), (150, "flag")):
        assert dataset.classes[number - 1] == name
    assert dataset.palette[:3] == ((120, 120, 120), (180, 120, 120), (6, 230, 230))
    assert dataset.palette[149] == (92, 0, 255)
    assert dataset.ignore == 255
    check_dataset(dataset)


def test_zero_is_ignored_and_classes_count_from_one(root: Path) -> None:
    dataset = Ade20kRecipe(root=str(root)).load()
    assert dataset.keys == ("ADE_val_00000001", "ADE_val_00000002")
    np.testing.assert_array_equal(dataset[0].labels, label_map(255, 0, 149, 1))
    np.testing.assert_array_equal(dataset[1].labels, label_map(255, 0, 149, 2))
    assert Ade20kRecipe(root=str(root), split="train").load().keys == ("ADE_train_00000001",)


@pytest.mark.parametrize("value", [151, 255])
def test_a_value_beyond_150_is_refused(root: Path, value: int) -> None:
    write_image(root / "annotations/validation/ADE_val_00000001.png", label_map(value))
    with pytest.raises(
        DataError, match=rf"00001\.png: expected ids 0\.\.150, got 24 pixels of label {value}"
    ):
        Ade20kRecipe(root=str(root)).load()[0]


def test_a_missing_annotation_and_a_missing_image_are_named(root: Path) -> None:
    (root / "annotations/validation/ADE_val_00000001.png").unlink()
    (root / "images/validation/ADE_val_00000002.jpg").unlink()
    with pytest.raises(IncompleteError) as caught:
        Ade20kRecipe(root=str(root)).load()
    first, second = caught.value.problems
    assert first.startswith(f"no annotation {root}/annotations/validation/ADE_val_00000001.png for")
    assert second.startswith(f"no image {root}/images/validation/ADE_val_00000002.jpg for")


@pytest.mark.parametrize("name", ["", "images", "annotations"])
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, name: str) -> None:
    parts = (
        "http://sceneparsing.csail.mit.edu",
        "no commercial use",
        "annotations/{training,validation}/*.png",
    )
    check_missing(
        Ade20kRecipe(root=str(root)),
        f"{name}/validation/ is missing" if name else "no ADE20K folder",
        *parts,
        without=root / name,
    )


def test_no_root_and_no_images_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset 'ade20k' needs root=FOLDER"):
        Ade20kRecipe().load()
    for name in ("images", "annotations"):
        (tmp_path / name / "training").mkdir(parents=True)
    with pytest.raises(DataError, match="no images in the ADE20K split 'train'"):
        Ade20kRecipe(root=str(tmp_path), split="train").load()


def test_the_recipe_is_made_from_text(root: Path) -> None:
    assert recipe("dataset", f"ade20k:root={root},split=train") == Ade20kRecipe(root=str(root), split="train")
    with pytest.raises(ConfigError, match="split=validation"):
        recipe("dataset", "ade20k:split=validation")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(Ade20kRecipe(root=str(root)))
