"""The dataset `pascal-context`: its two layouts, its classes, and the images of the papers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smoothseg import ConfigError, DataError, IncompleteError
from smoothseg.data.class_names import PASCAL_CONTEXT
from smoothseg.testing import (
    check_dataset,
    check_imports,
    check_missing,
    label_map,
    plain_image,
    recipe,
    write_image,
)
from smoothseg_pascal_context import PascalContextRecipe, detail

NAMES = ["2008_000002", "2008_000003"]

# Run-length codes that pycocotools 2.0.11 packed.
BOX = "9220003"  # rows 1..2 and columns 2..4 of 4 x 6
CORNERS = "01f00"  # the first and the last pixel of 4 x 6
FULL, EMPTY = "0h0", "h0"  # of 4 x 6


def base(root: Path) -> Path:
    return root / "VOCdevkit/VOC2010"


def write_list(root: Path, *names: str) -> None:
    path = base(root) / "ImageSets/SegmentationContext/val.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def region(image_id: int, category: int, counts: object, size: tuple[int, int] = (4, 6)) -> dict[str, object]:
    return {
        "image_id": image_id,
        "category_id": category,
        "segmentation": {"size": list(size), "counts": counts},
    }


def write_json(root: Path, *regions: dict[str, object]) -> None:
    images = [
        {"image_id": 2008000003, "file_name": "2008_000003.jpg", "height": 4, "width": 6, "phase": "val"},
        {"image_id": 2008000008, "file_name": "2008_000008.jpg", "height": 4, "width": 6, "phase": "train"},
        {"image_id": 2008000002, "file_name": "2008_000002.jpg", "height": 4, "width": 6, "phase": "val"},
    ]
    content = {"images": images, "annos_segmentation": regions, "categories": [], "parts": []}
    (base(root) / "trainval_merged.json").write_text(json.dumps(content))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of 4 x 6 without annotation."""
    for index, name in enumerate((*NAMES, "2008_000008")):
        write_image(base(tmp_path) / f"JPEGImages/{name}.jpg", plain_image(index))
    return tmp_path


@pytest.fixture
def root(images: Path) -> Path:
    """Two validation images with label maps."""
    for index, name in enumerate(NAMES):
        write_image(base(images) / f"SegmentationClassContext/{name}.png", label_map(0, 1, 59, index + 2))
    write_list(images, *NAMES)
    return images


def test_of_59_classes_the_background_is_ignored(root: Path) -> None:
    dataset = PascalContextRecipe(root=str(root)).load()
    assert dataset.classes == PASCAL_CONTEXT
    assert dataset.palette[0] == (180, 120, 120)
    np.testing.assert_array_equal(dataset[0].labels, label_map(255, 0, 58, 1))
    check_dataset(dataset)


def test_of_60_classes_the_background_is_the_first(root: Path) -> None:
    dataset = PascalContextRecipe(root=str(root), classes=60).load()
    assert dataset.classes == ("background", *PASCAL_CONTEXT)
    assert len(dataset.palette) == 60
    np.testing.assert_array_equal(dataset[1].labels, label_map(0, 1, 59, 3))
    check_dataset(dataset)


def test_the_list_gives_the_order_and_root_may_be_the_inner_folder(root: Path) -> None:
    write_list(root, *reversed(NAMES))
    for folder in (root, base(root)):
        assert PascalContextRecipe(root=str(folder)).load().keys == tuple(reversed(NAMES))


@pytest.mark.parametrize("classes", [59, 60])
def test_a_value_beyond_59_is_refused(root: Path, classes: int) -> None:
    write_image(base(root) / f"SegmentationClassContext/{NAMES[0]}.png", label_map(60))
    with pytest.raises(DataError, match=rf"{NAMES[0]}\.png: expected .* got 24 pixels of label 60"):
        PascalContextRecipe(root=str(root), classes=classes).load()[0]


def test_missing_files_are_named(root: Path) -> None:
    (base(root) / f"SegmentationClassContext/{NAMES[0]}.png").unlink()
    write_list(root, *NAMES, "2009_000001")
    with pytest.raises(IncompleteError) as caught:
        PascalContextRecipe(root=str(root)).load()
    first, second = caught.value.problems
    assert first.startswith(f"no annotation {base(root)}/SegmentationClassContext/{NAMES[0]}.png")
    assert second == f"no image {base(root)}/JPEGImages/2009_000001.jpg, though val.txt lists it"
    assert caught.value.rest.keys == (NAMES[1],)


@pytest.mark.parametrize(
    ("remove", "what"),
    [
        ("", "no Pascal-Context folder"),
        ("VOCdevkit/VOC2010/JPEGImages", "JPEGImages/ is missing"),
        ("VOCdevkit/VOC2010/SegmentationClassContext", "no annotations of the Pascal-Context split 'val'"),
        ("VOCdevkit/VOC2010/ImageSets", "no annotations of the Pascal-Context split 'val'"),
    ],
)
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, remove: str, what: str) -> None:
    parts = (
        "host.robots.ox.ac.uk",
        "SegmentationClassContext/*.png",
        "trainval_merged.json",
        "Flickr's terms",
    )
    check_missing(PascalContextRecipe(root=str(root)), what, *parts, without=root / remove)


def test_no_root_and_no_images_are_told_too(root: Path) -> None:
    with pytest.raises(DataError, match="dataset 'pascal-context' needs root=FOLDER"):
        PascalContextRecipe().load()
    write_list(root)
    with pytest.raises(DataError, match="no images in the Pascal-Context split 'val'"):
        PascalContextRecipe(root=str(root)).load()


def test_the_images_of_the_papers_are_100_of_every_51st_of_all_5105(tmp_path: Path) -> None:
    names = [f"2008_{index:06d}" for index in range(5105)]
    for folder in ("JPEGImages", "SegmentationClassContext"):
        (base(tmp_path) / folder).mkdir(parents=True)
    for name in names:
        (base(tmp_path) / f"JPEGImages/{name}.jpg").touch()
        (base(tmp_path) / f"SegmentationClassContext/{name}.png").touch()
    write_list(tmp_path, *names)
    dataset = PascalContextRecipe(root=str(tmp_path), subset="paper").load()
    assert dataset.keys == tuple(names[51 * index] for index in range(100))


def test_a_part_of_the_papers_images_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="subset=paper is a part of 5105 images, but there are 2"):
        PascalContextRecipe(root=str(root), subset="paper").load()
    with pytest.raises(ValueError, match="subset=paper is a part of split=val, got split=train"):
        PascalContextRecipe(root=str(root), split="train", subset="paper")
    with pytest.raises(ValueError, match="classes must be 59 or 60, got 459"):
        PascalContextRecipe(classes=459)


# The annotation of PASCAL in Detail


def test_regions_are_laid_down_in_the_order_of_the_file(images: Path) -> None:
    write_json(
        images,
        region(2008000003, 458, FULL),
        region(2008000002, 2, BOX),
        region(2008000008, 9, FULL),
        region(2008000003, 2, BOX),
        region(2008000003, 23, CORNERS),
    )
    dataset = PascalContextRecipe(root=str(images)).load()
    assert dataset.keys == ("2008_000003", "2008_000002")
    wood, aeroplane, bicycle = (PASCAL_CONTEXT.index(name) for name in ("wood", "aeroplane", "bicycle"))
    expected = np.full((4, 6), wood)
    expected[1:3, 2:5] = aeroplane
    expected[0, 0] = expected[3, 5] = bicycle
    np.testing.assert_array_equal(dataset[0].labels, expected)
    alone = np.full((4, 6), 255)
    alone[1:3, 2:5] = aeroplane
    np.testing.assert_array_equal(dataset[1].labels, alone)
    check_dataset(dataset)
    with_background = PascalContextRecipe(root=str(images), classes=60).load()
    np.testing.assert_array_equal(with_background[1].labels, np.where(alone == 255, 0, aeroplane + 1))
    assert PascalContextRecipe(root=str(images), split="train").load().keys == ("2008_000008",)


def test_label_maps_are_preferred_to_the_json_file(root: Path) -> None:
    write_json(root)
    assert PascalContextRecipe(root=str(root)).load().keys == tuple(NAMES)


def test_a_category_id_that_is_none_of_the_59_is_refused(images: Path) -> None:
    write_json(images, region(2008000003, 3, BOX))
    match = r"trainval_merged\.json, image 2008_000003\.jpg: expected one of the 59 classes, got category 3"
    with pytest.raises(DataError, match=match):
        PascalContextRecipe(root=str(images)).load()[0]


def test_a_mask_of_another_size_is_refused(images: Path) -> None:
    write_json(images, region(2008000003, 2, FULL, (6, 4)))
    with pytest.raises(DataError, match=r"expected masks of 4 x 6 .* like the image, got 6 x 4"):
        PascalContextRecipe(root=str(images)).load()[0]


def test_a_missing_image_of_the_json_file_is_named(images: Path) -> None:
    write_json(images)
    (base(images) / "JPEGImages/2008_000002.jpg").unlink()
    with pytest.raises(
        IncompleteError, match=r"no image .*2008_000002\.jpg, though trainval_merged\.json lists it"
    ):
        PascalContextRecipe(root=str(images)).load()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"images": []}',
        '{"images": [{"image_id": 1, "file_name": "../a.jpg", "phase": "val"}], "annos_segmentation": []}',
        '{"images": [{"image_id": 1, "file_name": "a.jpg", "phase": "val"}], "annos_segmentation": '
        '[{"image_id": 1, "category_id": 2, "segmentation": {"size": [4], "counts": "h0"}}]}',
        '{"images": [{"image_id": 1, "file_name": "a.jpg", "phase": "val"}], "annos_segmentation": '
        '[{"image_id": 1, "category_id": 2, "segmentation": {"size": [4, 6], "counts": null}}]}',
    ],
)
def test_another_json_file_is_refused(images: Path, content: str) -> None:
    (base(images) / "trainval_merged.json").write_text(content)
    with pytest.raises(
        DataError, match=r"trainval_merged\.json: (cannot be read as JSON|not an annotation of)"
    ):
        PascalContextRecipe(root=str(images)).load()


def test_run_lengths_unpack_as_coco_packs_them() -> None:
    for text, runs in (
        (BOX, [9, 2, 2, 2, 2, 2, 5]),
        (CORNERS, [0, 1, 22, 1]),
        (FULL, [0, 24]),
        (EMPTY, [24]),
    ):
        assert detail.lengths(text) == runs
        np.testing.assert_array_equal(detail.decoded(text, (4, 6)), detail.decoded(runs, (4, 6)))
    assert detail.decoded(BOX, (4, 6)).sum() == 6


def test_long_and_shrinking_runs_unpack_as_coco_packs_them() -> None:
    # 300 x 200: row 0 of columns 0..99, rows 250..299 of columns 150..199; packed by pycocotools 2.0.11.
    text = "01[9" + "0" * 197 + "bl>a1mQA" + "0" * 97
    expected = np.zeros((300, 200), dtype=bool)
    expected[0, :100] = True
    expected[250:, 150:] = True
    np.testing.assert_array_equal(detail.decoded(text, (300, 200)), expected)


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ("9220002", "expected runs that fill 4 x 6 pixels, got 2"),
        ("9220003\x7f", "got the character"),
        ("9220003X", "cut off"),
        ([25, -1], "expected runs that fill"),
    ],
)
def test_damaged_run_lengths_are_refused(counts: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        detail.decoded(counts, (4, 6))  # type: ignore[arg-type]


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"pascal-context:root={root},classes=60,subset=paper")
    assert made == PascalContextRecipe(root=str(root), classes=60, subset="paper")
    for wrong in ("classes=61", "classes=all", "split=test", "subset=paper,split=train"):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            recipe("dataset", f"pascal-context:{wrong}")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(PascalContextRecipe(root=str(root)))
