"""The dataset `folder`: which images it takes, in which order, under which keys, with which labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, Dataset
from smoothseg.data import key_of
from smoothseg.testing import check_dataset, check_imports, label_map, plain_image, recipe, write_image
from smoothseg_folder import FolderRecipe
from smoothseg_folder.dataset import order


def load(root: Path, **options: object) -> Dataset:
    return FolderRecipe(root=str(root), **options).load()  # type: ignore[arg-type]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Three images of three sizes and formats with labels 0, 1 and 2, and a list of three classes."""
    for index, (name, size) in enumerate([("a.png", (3, 5)), ("b.tif", (4, 2)), ("c.webp", (1, 6))]):
        write_image(tmp_path / "images" / name, plain_image(index, size))
        write_image(tmp_path / "labels" / f"{Path(name).stem}.png", label_map(index, size=size))
    (tmp_path / "classes.txt").write_text("road\ncar\ntraffic light\n")
    return tmp_path


LABELLED = {"images": "images", "labels": "labels", "classes": "classes.txt"}


def test_images_alone_have_no_labels_and_leave_the_classes_to_the_segmenter(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", plain_image())
    dataset = load(tmp_path)
    assert dataset.classes == ()
    assert dataset.palette == ()
    assert dataset.ignore == 255
    assert dataset[0].labels is None
    assert isinstance(dataset, Dataset)
    check_dataset(dataset)


def test_every_format_and_size_is_taken_in_upper_and_lower_case(tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "c.JPEG", "d.tif", "e.TIFF", "f.webp", "g.PNG"]
    for index, name in enumerate(names):
        write_image(tmp_path / name, plain_image(size=(1 + index, 9 - index)))
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = load(tmp_path)
    assert dataset.keys == tuple("abcdefg")
    assert len(dataset) == 7
    for index in range(7):
        sample = dataset[index]
        assert sample.key == dataset.keys[index]
        assert sample.image.shape == (1 + index, 9 - index, 3)


def test_labels_belong_to_the_image_of_the_same_name(labelled: Path) -> None:
    dataset = load(labelled, **LABELLED)
    assert dataset.classes == ("road", "car", "traffic light")
    assert len(set(dataset.palette)) == 3
    check_dataset(dataset)
    for index in range(3):
        sample = dataset[index]
        assert sample.labels is not None
        assert sample.labels.shape == sample.image.shape[:2]
        assert np.unique(sample.image[..., 0]) == np.unique(sample.labels) == index


def test_labels_may_be_tiff_and_more_than_the_images(labelled: Path) -> None:
    (labelled / "labels" / "a.png").unlink()
    write_image(labelled / "labels" / "a.TIF", label_map(2, size=(3, 5)))
    write_image(labelled / "labels" / "z.png", label_map(1, size=(3, 5)))
    sample = load(labelled, **LABELLED)[0]
    assert sample.labels is not None
    assert np.unique(sample.labels) == 2


def test_a_class_list_alone_names_the_classes(labelled: Path) -> None:
    dataset = load(labelled, images="images", classes="classes.txt")
    assert dataset.classes == ("road", "car", "traffic light")
    assert dataset[0].labels is None


def test_absolute_paths_are_taken_as_they_are(labelled: Path) -> None:
    absolute = {name: str(labelled / value) for name, value in LABELLED.items()}
    assert load(labelled / "images", **absolute).keys == ("a", "b", "c")


# Order and keys


def test_numbers_are_ordered_by_value_and_folders_part_by_part(tmp_path: Path) -> None:
    names = ["frame10", "frame2", "frame02", "b/frame1", "a2/z", "a10/a", "a2/y", "B", "frame", "2", "10"]
    for name in names:
        write_image(tmp_path / f"{name}.png", plain_image())
    dataset = load(tmp_path, recursive=True)
    expected = [
        "2",
        "10",
        "B",
        "a2__y",
        "a2__z",
        "a10__a",
        "b__frame1",
        "frame",
        "frame02",
        "frame2",
        "frame10",
    ]
    assert list(dataset.keys) == expected


def test_the_order_does_not_depend_on_the_file_system() -> None:
    paths = [Path(name) for name in ("a1b2.png", "a1b10.png", "a01b3.png", "é.png", "a.png", "٣.png")]
    backwards = paths[::-1]
    assert sorted(paths, key=order) == sorted(backwards, key=order)


def test_subfolders_are_taken_where_asked_and_join_the_key(tmp_path: Path) -> None:
    write_image(tmp_path / "top.png", plain_image())
    write_image(tmp_path / "one" / "two" / "deep.png", plain_image())
    assert load(tmp_path).keys == ("top",)
    assert load(tmp_path, recursive=True).keys == ("one__two__deep", "top")


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", plain_image())
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    write_image(tmp_path / ".thumbnails" / "a.png", plain_image())
    assert load(tmp_path, recursive=True).keys == ("a",)


def test_a_label_folder_inside_the_image_folder_holds_no_images(labelled: Path) -> None:
    (labelled / "labels").rename(labelled / "images" / "gt")
    options = {"images": "images", "labels": "images/gt", "classes": "classes.txt", "recursive": True}
    assert load(labelled, **options).keys == ("a", "b", "c")


@pytest.mark.parametrize("name", ["a b", "ä", "日本", "a+b", "a:b", "x/ä b/c", "per%cent", "'quoted'"])
def test_other_characters_give_a_key_that_fits_a_file_name(name: str) -> None:
    key = key_of(Path(f"{name}.png"))
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{12}", key)


def test_plain_names_are_their_own_keys() -> None:
    assert key_of(Path("img_01-b.left.png")) == "img_01-b.left"
    assert key_of(Path("a/b/c.jpg")) == "a__b__c"


def test_different_names_that_look_alike_have_different_keys(tmp_path: Path) -> None:
    for name in ("a b", "a+b", "a_b", "a~b"):
        write_image(tmp_path / f"{name}.png", plain_image())
    keys = load(tmp_path).keys
    assert len(set(keys)) == 4
    assert "a_b" in keys


def test_a_key_is_the_same_in_both_unicode_forms() -> None:
    assert key_of(Path("caf\u00e9.png")) == key_of(Path("cafe\u0301.png"))


def test_long_paths_are_cut_and_stay_apart() -> None:
    one, two = key_of(Path("x" * 200 + "1.png")), key_of(Path("x" * 200 + "2.png"))
    assert one != two
    assert len(one) == len(two) == 133


def test_two_suffixes_of_one_name_are_refused_with_both_files(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", plain_image())
    write_image(tmp_path / "a.jpg", plain_image())
    with pytest.raises(DataError, match=r"two images have the key 'a': .*a\.jpg and .*a\.png"):
        load(tmp_path)


def test_a_folder_and_a_file_of_one_key_are_refused_with_both_files(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "b.png", plain_image())
    write_image(tmp_path / "a__b.png", plain_image())
    with pytest.raises(DataError, match=r"two images have the key 'a__b': .*a/b\.png and .*a__b\.png"):
        load(tmp_path, recursive=True)


# What does not fit


def test_no_root_is_said() -> None:
    with pytest.raises(DataError, match="dataset 'folder' needs root=FOLDER"):
        FolderRecipe().load()


@pytest.mark.parametrize("option", ["images", "labels"])
def test_a_missing_folder_is_named(labelled: Path, option: str) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        load(labelled, **{**LABELLED, option: "nowhere"})


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(
        DataError,
        match=rf"no images in {re.escape(str(tmp_path))}: expected files with the suffix \.png, .*webp$",
    ):
        load(tmp_path)


def test_images_in_subfolders_only_are_hinted_at(tmp_path: Path) -> None:
    write_image(tmp_path / "deep" / "a.png", plain_image())
    write_image(tmp_path / "deep" / "b.png", plain_image())
    with pytest.raises(DataError, match="; 2 in its subfolders, which recursive=true takes"):
        load(tmp_path)


def test_labels_without_a_class_list_are_refused(labelled: Path) -> None:
    with pytest.raises(ConfigError, match="labels need a class list, give classes=FILE"):
        load(labelled, images="images", labels="labels")


def test_a_missing_class_list_is_named(labelled: Path) -> None:
    with pytest.raises(DataError, match=r"names\.txt: the class list cannot be read: No such file"):
        load(labelled, images="images", labels="labels", classes="names.txt")


@pytest.mark.parametrize("ignore", [2, -1, 256])
def test_an_ignored_label_that_is_a_class_or_no_byte_is_refused(labelled: Path, ignore: int) -> None:
    with pytest.raises(ConfigError, match=rf"expected ignore .* 3\.\.255, got {ignore}"):
        load(labelled, **LABELLED, ignore=ignore)


def test_images_and_labels_in_one_folder_are_refused(labelled: Path) -> None:
    with pytest.raises(ConfigError, match="expected images and labels in two folders"):
        load(labelled, images="images", labels="images/../images", classes="classes.txt")


def test_an_image_without_a_label_map_is_named(labelled: Path) -> None:
    (labelled / "labels" / "b.png").unlink()
    with pytest.raises(
        DataError, match=r"no label map for the image .*images/b\.tif: expected .*labels/b\.png"
    ):
        load(labelled, **LABELLED)


def test_two_label_maps_for_one_image_are_named(labelled: Path) -> None:
    write_image(labelled / "labels" / "b.tif", label_map(1, size=(3, 5)))
    with pytest.raises(DataError, match=r"two label maps for one image: .*labels/b\.png and .*labels/b\.tif"):
        load(labelled, **LABELLED)


def test_a_label_map_of_another_size_is_named_with_its_image(labelled: Path) -> None:
    write_image(labelled / "labels" / "a.png", label_map(1, size=(5, 3)))
    with pytest.raises(
        DataError, match=r"labels/a\.png: expected labels of 3 x 5 .*images/a\.png, got 5 x 3"
    ):
        load(labelled, **LABELLED)[0]


def test_a_label_out_of_range_is_named(labelled: Path) -> None:
    write_image(labelled / "labels" / "a.png", label_map(3, size=(3, 5)))
    with pytest.raises(
        DataError, match=r"labels/a\.png: expected labels 0\.\.2 or 255 .*15 pixels of label 3"
    ):
        load(labelled, **LABELLED)[0]


def test_colours_as_labels_are_refused(labelled: Path) -> None:
    write_image(labelled / "labels" / "a.png", plain_image())
    with pytest.raises(
        DataError, match=r"labels/a\.png: expected class indices in one channel, got 3 channels"
    ):
        load(labelled, **LABELLED)[0]


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", plain_image(size=(30, 50)))
    path.write_bytes(path.read_bytes()[:-20])
    dataset = load(tmp_path)
    with pytest.raises(DataError, match=r"a\.jpg: damaged or cut off"):
        dataset[0]


# The door


def test_the_recipe_is_made_from_text(labelled: Path) -> None:
    text = f"folder:root={labelled},images=images,labels=labels,classes=classes.txt,ignore=9,recursive=true"
    made = recipe("dataset", text)
    assert made == FolderRecipe(str(labelled), "images", "labels", "classes.txt", 9, True)
    assert len(made.load()) == 3


def test_reading_imports_no_torch(labelled: Path) -> None:
    check_imports(FolderRecipe(root=str(labelled / "images")))
