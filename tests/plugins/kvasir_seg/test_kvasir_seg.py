"""The dataset `kvasir-seg`: its layout, its lists, and how a JPEG mask becomes labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
from smoothseg_kvasir_seg import KvasirSegRecipe

NAMES = ["cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0qx73cjw570799j4n5cjze"]


def polyp(height: int = 40, width: int = 56) -> np.ndarray:
    """Return a mask of an ellipse, bool (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    return ((rows - height / 2) / 15) ** 2 + ((columns - width / 2) / 20) ** 2 < 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images of 40 x 56 with masks: two in three channels, one in grey."""
    for index, name in enumerate(NAMES):
        write_image(tmp_path / f"images/{name}.jpg", plain_image(40 * index, (40, 56)))
        mask = (255 * polyp()).astype(np.uint8)
        write_image(tmp_path / f"masks/{name}.jpg", mask if index == 2 else np.stack([mask] * 3, axis=2))
    return tmp_path


def test_a_mask_becomes_background_and_polyp_whatever_jpeg_did_to_it(root: Path) -> None:
    dataset = KvasirSegRecipe(root=str(root)).load()
    assert dataset.keys == tuple(NAMES)
    assert dataset.classes == ("background", "polyp")
    for index in range(3):
        stored = np.asarray(Image.open(root / f"masks/{NAMES[index]}.jpg"))
        assert len(np.unique(stored)) > 2
        np.testing.assert_array_equal(dataset[index].labels, polyp())
    check_dataset(dataset)


@pytest.mark.parametrize(("level", "label"), [(127, 0), (128, 1)])
def test_a_mask_is_cut_at_half(root: Path, level: int, label: int) -> None:
    levels = np.zeros((40, 56), dtype=np.uint8)
    levels[:8, :8] = level  # a whole JPEG block, which keeps its level
    write_image(root / f"masks/{NAMES[0]}.jpg", levels)
    labels = KvasirSegRecipe(root=str(root)).load()[0].labels
    assert labels is not None
    assert set(np.unique(labels[:8, :8])) == {label}
    assert not labels[8:].any()


def test_a_mask_with_more_than_a_few_midway_values_is_refused(root: Path) -> None:
    levels = np.zeros((40, 56), dtype=np.uint8)
    levels[:8, :16] = 128  # 5.7 % of the pixels
    write_image(root / f"masks/{NAMES[0]}.jpg", levels)
    with pytest.raises(DataError, match=rf"{NAMES[0]}\.jpg: expected a black and white mask, got 5\.7%"):
        KvasirSegRecipe(root=str(root)).load()[0]


def test_a_mask_of_another_size_is_refused(root: Path) -> None:
    write_image(root / f"masks/{NAMES[0]}.jpg", label_map(0, size=(56, 40)))
    with pytest.raises(DataError, match=r"expected a mask of 40 x 56 .* like its image .*, got 56 x 40"):
        KvasirSegRecipe(root=str(root)).load()[0]


def test_a_list_gives_the_images_and_their_order(root: Path) -> None:
    (root / "train.txt").write_text(f"{NAMES[2]}\n{NAMES[0]}.jpg\n")
    assert KvasirSegRecipe(root=str(root), split="train").load().keys == (NAMES[2], NAMES[0])
    with pytest.raises(
        DataError, match=r"no .*val\.txt: Kvasir-SEG has no official split; .* or take split=all"
    ):
        KvasirSegRecipe(root=str(root), split="val").load()
    (root / "test.txt").write_text("\n")
    with pytest.raises(DataError, match="no images in the Kvasir-SEG split 'test'"):
        KvasirSegRecipe(root=str(root), split="test").load()


def test_a_missing_mask_and_a_missing_image_are_named(root: Path) -> None:
    (root / f"masks/{NAMES[0]}.jpg").unlink()
    (root / f"images/{NAMES[1]}.jpg").unlink()
    with pytest.raises(IncompleteError) as caught:
        KvasirSegRecipe(root=str(root)).load()
    assert [problem.split(" for ")[0] for problem in caught.value.problems] == [
        f"no annotation {root}/masks/{NAMES[0]}.jpg",
        f"no image {root}/images/{NAMES[1]}.jpg",
    ]


@pytest.mark.parametrize("name", ["", "images", "masks"])
def test_what_is_missing_is_told_with_the_place_to_get_it(root: Path, name: str) -> None:
    parts = (
        "https://datasets.simula.no/kvasir-seg",
        "research and education",
        "images/*.jpg with masks/*.jpg",
    )
    check_missing(
        KvasirSegRecipe(root=str(root)),
        f", {name}/ is missing" if name else "no Kvasir-SEG folder",
        *parts,
        without=root / name,
    )


def test_no_root_and_no_images_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset 'kvasir-seg' needs root=FOLDER"):
        KvasirSegRecipe().load()
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no images in Kvasir-SEG of"):
        KvasirSegRecipe(root=str(tmp_path)).load()


def test_the_recipe_is_made_from_text(root: Path) -> None:
    made = recipe("dataset", f"kvasir-seg:root={root},split=val")
    assert made == KvasirSegRecipe(root=str(root), split="val")
    with pytest.raises(ConfigError, match="split=some"):
        recipe("dataset", "kvasir-seg:split=some")


def test_reading_imports_no_torch(root: Path) -> None:
    check_imports(KvasirSegRecipe(root=str(root)))
