"""The dataset `cityscapes`: its layout, its two forms of annotation, and the images of the papers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, IncompleteError
from smoothseg.data.class_names import CITYSCAPES, CITYSCAPES_IDS
from smoothseg.testing import (
    check_dataset,
    check_imports,
    check_missing,
    label_map,
    plain_image,
    recipe,
    write_image,
)
from smoothseg_cityscapes import CityscapesRecipe

NAMES = ["frankfurt_000000_000294", "lindau_000000_000019", "munster_000173_000019"]


def place(root: Path, name: str, split: str = "val") -> tuple[Path, Path]:
    """Return the image file and the beginning of the annotation file of an image."""
    city = name.split("_")[0]
    return (
        root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png",
        root / f"gtFine/{split}/{city}/{name}_gtFine",
    )


def annotation(name: str, form: str, root: Path) -> Path:
    begin = place(root, name)[1]
    return begin.with_name(f"{begin.name}_{form}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three validation images of 4 x 6 in three cities, with label ids and the files that come along."""
    for index, name in enumerate(NAMES):
        write_image(place(tmp_path, name)[0], plain_image(index))
        write_image(annotation(name, "labelIds", tmp_path), label_map(7, 33, 0, index + 11))
        write_image(annotation(name, "instanceIds", tmp_path), label_map(0))
        write_image(annotation(name, "color", tmp_path), plain_image(0))
    return tmp_path


def test_classes_and_colours_are_the_authors(root: Path) -> None:
    dataset = CityscapesRecipe(root=str(root)).load()
    assert dataset.classes == CITYSCAPES
    colours = dict(zip(dataset.classes, dataset.palette, strict=True))
    assert len(set(colours.values())) == len(colours) == 19
    assert colours["road"] == (128, 64, 128)
    assert colours["person"] == (220, 20, 60)
    assert colours["train"] == (0, 80, 100)
    assert colours["bicycle"] == (119, 11, 32)
    check_dataset(dataset)


def test_keys_are_the_names_of_the_images_by_city(root: Path) -> None:
    dataset = CityscapesRecipe(root=str(root)).load()
    assert dataset.keys == tuple(NAMES)
    np.testing.assert_array_equal(dataset[2].image, plain_image(2))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (7, "road"), (8, "sidewalk"), (11, "building"), (12, "wall"), (13, "fence"), (17, "pole"),
        (19, "traffic light"), (20, "traffic sign"), (21, "vegetation"), (22, "terrain"), (23, "sky"),
        (24, "person"), (25, "rider"), (26, "car"), (27, "truck"), (28, "bus"), (31, "train"),
        (32, "motorcycle"), (33, "bicycle"),
    ],
)  # fmt: skip
def test_each_class_has_its_label_id(root: Path, value: int, name: str) -> None:
    write_image(annotation(NAMES[0], "labelIds", root), label_map(value))
    found = CityscapesRecipe(root=str(root)).load()[0].labels
    assert found is not None
    assert {CITYSCAPES[label] for label in np.unique(found)} == {name}


def test_every_other_id_is_ignored() -> None:
    void = {0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255}
    assert {value for value, label in CITYSCAPES_IDS.items() if label == 255} == void
    assert set(CITYSCAPES_IDS) == {*range(34), 255}


def test_train_ids_are_taken_where_there_are_no_others_or_when_asked(root: Path) -> None:
    for name in NAMES:
        write_image(annotation(name, "labelTrainIds", root), label_map(18, 255))
    asked = CityscapesRecipe(root=str(root), labels="train-ids").load()
    np.testing.assert_array_equal(asked[0].labels, label_map(18, 255))
    auto = CityscapesRecipe(root=str(root)).load()
    np.testing.assert_array_equal(auto[0].labels, label_map(0, 18, 255, 2))
    for name in NAMES:
        annotation(name, "labelIds", root).unlink()
    auto = CityscapesRecipe(root=str(root)).load()
    np.testing.assert_array_equal(auto[0].labels, label_map(18, 255))
    with pytest.raises(IncompleteError, match=r"no annotation .*_gtFine_labelIds\.png for the image"):
        CityscapesRecipe(root=str(root), labels="ids").load()


@pytest.mark.parametrize(("form", "value"), [("labelIds", 34), ("labelTrainIds", 19)])
def test_an_unknown_id_is_refused_with_the_file(root: Path, form: str, value: int) -> None:
    for name in NAMES:
        write_image(annotation(name, form, root), label_map(value))
    choice = {"labelIds": "ids", "labelTrainIds": "train-ids"}[form]
    dataset = CityscapesRecipe(root=str(root), labels=choice).load()  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"{NAMES[0]}_gtFine_{form}\.png: .* got 24 pixels of label {value}"):
        dataset[0]


def test_the_test_split_comes_without_labels(root: Path) -> None:
    for name in ("berlin_000000_000019", "bonn_000001_000019"):
        write_image(place(root, name, "test")[0], plain_image(9))
        begin = place(root, name, "test")[1]
        write_image(begin.with_name(f"{begin.name}_labelIds.png"), label_map(0))
    dataset = CityscapesRecipe(root=str(root), split="test").load()
    assert dataset.keys == ("berlin_000000_000019", "bonn_000001_000019")
    assert dataset[0].labels is None
    check_dataset(dataset)


def test_a_missing_annotation_and_a_missing_image_are_named(root: Path) -> None:
    annotation(NAMES[0], "labelIds", root).unlink()
    place(root, NAMES[2])[0].unlink()
    with pytest.raises(IncompleteError) as caught:
        CityscapesRecipe(root=str(root)).load()
    first, second = caught.value.problems
    assert first.startswith(f"no annotation {annotation(NAMES[0], 'labelIds', root)}")
    assert second.startswith(f"no image {place(root, NAMES[2])[0]}")
    assert caught.value.rest.keys == (NAMES[1],)


def test_the_same_name_in_two_cities_is_refused(root: Path) -> None:
    source, target = place(root, NAMES[0])[0], root / f"leftImg8bit/val/ulm/{NAMES[0]}_leftImg8bit.png"
    write_image(target, plain_image(0))
    write_image(root / f"gtFine/val/ulm/{NAMES[0]}_gtFine_labelIds.png", label_map(7))
    with pytest.raises(IncompleteError) as caught:
        CityscapesRecipe(root=str(root)).load()
    assert f"two images have the name '{NAMES[0]}': {source} and {target}" in str(caught.value)


@pytest.mark.parametrize(
    ("remove", "what"),
    [
        ("", "no Cityscapes folder"),
        ("leftImg8bit", r"no Cityscapes split 'val' in .*, leftImg8bit/val/ is missing"),
        ("gtFine", r"no Cityscapes split 'val' in .*, gtFine/val/ is missing"),
    ],
)
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, remove: str, what: str) -> None:
    parts = (
        "https://www.cityscapes-dataset.com",
        "registration",
        "*_gtFine_labelIds.png",
        "leftImg8bit/{split}",
    )
    check_missing(CityscapesRecipe(root=str(root)), what, *parts, without=root / remove)


def test_folders_without_files_are_told_too(root: Path) -> None:
    for name in NAMES:
        place(root, name)[0].unlink()
        annotation(name, "labelIds", root).unlink()
    with pytest.raises(DataError, match=r"no annotations in .*gtFine/val, expected files \*_gtFine_labelIds"):
        CityscapesRecipe(root=str(root)).load()
    with pytest.raises(DataError, match=r"no images in the Cityscapes split 'val'"):
        CityscapesRecipe(root=str(root), labels="ids").load()
    with pytest.raises(DataError, match=r"needs root=FOLDER"):
        CityscapesRecipe().load()


def test_the_images_of_the_papers_are_every_fifth_of_all_500(tmp_path: Path) -> None:
    names = [f"{city}_{index:06d}_000019" for city in ("frankfurt", "lindau") for index in range(250)]
    for name in names:
        for path in (place(tmp_path, name)[0], annotation(name, "labelIds", tmp_path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    dataset = CityscapesRecipe(root=str(tmp_path), subset="paper").load()
    assert dataset.keys == tuple(names[::5])
    assert len(dataset) == 100


def test_a_part_of_the_papers_images_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="subset=paper is a part of 500 images, but there are 3"):
        CityscapesRecipe(root=str(root), subset="paper").load()
    with pytest.raises(ValueError, match="subset=paper is a part of split=val, got split=train"):
        CityscapesRecipe(root=str(root), split="train", subset="paper")


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"cityscapes:root={root},subset=paper,labels=ids")
    assert made == CityscapesRecipe(root=str(root), subset="paper", labels="ids")
    for wrong in ("split=valid", "subset=some", "labels=colours", "subset=paper,split=test"):
        with pytest.raises(ConfigError, match=wrong.split(",")[0]):
            recipe("dataset", f"cityscapes:{wrong}")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(CityscapesRecipe(root=str(root)))
