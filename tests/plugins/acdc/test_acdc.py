"""The dataset `acdc`: its layout, its conditions, and its two forms of annotation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, IncompleteError
from smoothseg.data.class_names import CITYSCAPES
from smoothseg.testing import (
    check_dataset,
    check_imports,
    check_missing,
    label_map,
    plain_image,
    recipe,
    write_image,
)
from smoothseg_acdc import AcdcRecipe

CONDITIONS = ("fog", "night", "rain", "snow")
NAME = "GOPR0475/GOPR0475_frame_000041"


def place(root: Path, condition: str, split: str = "val", form: str = "labelTrainIds") -> tuple[Path, Path]:
    return (
        root / f"rgb_anon/{condition}/{split}/{NAME}_rgb_anon.png",
        root / f"gt/{condition}/{split}/{NAME}_gt_{form}.png",
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image of 4 x 6 in each condition, all of one name, with train ids; and one in good weather."""
    for index, condition in enumerate(CONDITIONS):
        picture, annotation = place(tmp_path, condition)
        write_image(picture, plain_image(index))
        write_image(annotation, label_map(index, 18, 255))
        write_image(tmp_path / f"rgb_anon/{condition}/val_ref/{NAME}_rgb_ref_anon.png", plain_image(99))
    return tmp_path


def test_all_conditions_are_taken_in_order_and_told_apart(root: Path) -> None:
    dataset = AcdcRecipe(root=str(root)).load()
    assert dataset.keys == tuple(f"{condition}__GOPR0475_frame_000041" for condition in CONDITIONS)
    assert dataset.classes == CITYSCAPES
    assert dataset.palette[0] == (128, 64, 128)
    for index in range(4):
        np.testing.assert_array_equal(dataset[index].image, plain_image(index))
        np.testing.assert_array_equal(dataset[index].labels, label_map(index, 18, 255))
    check_dataset(dataset)


def test_a_condition_has_the_same_keys_alone(root: Path) -> None:
    dataset = AcdcRecipe(root=str(root), condition="rain").load()
    assert dataset.keys == ("rain__GOPR0475_frame_000041",)
    np.testing.assert_array_equal(dataset[0].image, plain_image(2))


def test_label_ids_are_mapped_where_there_are_no_train_ids_or_when_asked(root: Path) -> None:
    for condition in CONDITIONS:
        write_image(place(root, condition, form="labelIds")[1], label_map(7, 33, 0))
    asked = AcdcRecipe(root=str(root), labels="ids").load()
    np.testing.assert_array_equal(asked[3].labels, label_map(0, 18, 255))
    np.testing.assert_array_equal(AcdcRecipe(root=str(root)).load()[3].labels, label_map(3, 18, 255))
    for condition in CONDITIONS:
        place(root, condition)[1].unlink()
    np.testing.assert_array_equal(AcdcRecipe(root=str(root)).load()[3].labels, label_map(0, 18, 255))


def test_forms_are_never_mixed(root: Path) -> None:
    place(root, "snow")[1].rename(place(root, "snow", form="labelIds")[1])
    with pytest.raises(IncompleteError, match=r"no annotation .*snow/.*_gt_labelTrainIds\.png for the image"):
        AcdcRecipe(root=str(root)).load()


def test_the_test_split_comes_without_labels(root: Path) -> None:
    for condition in CONDITIONS:
        write_image(place(root, condition, "test")[0], plain_image(5))
    dataset = AcdcRecipe(root=str(root), split="test").load()
    assert len(dataset) == 4
    assert dataset[0].labels is None
    check_dataset(dataset)


def test_an_unknown_id_is_refused_with_the_file(root: Path) -> None:
    write_image(place(root, "fog")[1], label_map(19))
    with pytest.raises(DataError, match=r"000041_gt_labelTrainIds\.png: expected labels 0\.\.18 or 255"):
        AcdcRecipe(root=str(root)).load()[0]


@pytest.mark.parametrize(
    ("remove", "what"),
    [
        ("", "no ACDC folder"),
        ("rgb_anon/night", r"no ACDC split 'val' in .*, rgb_anon/night/val/ is missing"),
        ("gt", r"no ACDC split 'val' in .*, gt/fog/val/ is missing"),
    ],
)
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, remove: str, what: str) -> None:
    parts = ("https://acdc.vision.ee.ethz.ch", "registration", "rgb_anon/{condition}/{split}/{sequence}")
    check_missing(AcdcRecipe(root=str(root)), what, *parts, without=root / remove)


def test_no_root_and_no_files_are_told_too(root: Path) -> None:
    with pytest.raises(DataError, match="dataset 'acdc' needs root=FOLDER"):
        AcdcRecipe().load()
    for path in place(root, "fog"):
        path.unlink()
    with pytest.raises(DataError, match=r"no annotations in .*gt/fog/val"):
        AcdcRecipe(root=str(root), condition="fog").load()
    with pytest.raises(DataError, match="no images in the ACDC split 'val'"):
        AcdcRecipe(root=str(root), condition="fog", labels="ids").load()


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"acdc:root={root},condition=night,split=train")
    assert made == AcdcRecipe(root=str(root), condition="night", split="train")
    with pytest.raises(ConfigError, match="condition=dusk"):
        recipe("dataset", "acdc:condition=dusk")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(AcdcRecipe(root=str(root)))
