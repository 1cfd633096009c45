"""Which files make up a dataset of images and annotations, and what does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothseg import DataError, Dataset, IncompleteError
from smoothseg.data.folders import Origin, annotation_form, listed, matched, read_lines
from smoothseg.data.pairs import Found, Pair, Paired, check_pairs, evenly_spaced, require_complete
from smoothseg.testing import check_dataset

ORIGIN = Origin("toy", "Toy", "expected images/ with labels/, from https://toys.invalid (CC BY)")
FORMS = {"ids": ".png", "train-ids": "_train.png"}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def toy(pairs: tuple[Pair, ...], **options: object) -> Paired:
    return Paired(pairs, ("dark", "bright"), ((0, 0, 0), (9, 9, 9)), 255, "CC BY", **options)  # type: ignore[arg-type]


def drawn(folder: Path, annotation: np.ndarray) -> Pair:
    """Write an image of 2 x 3 and its annotation."""
    Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)).save(folder / "a.png")
    Image.fromarray(annotation).save(folder / "a_label.png")
    return Pair("a", folder / "a.png", folder / "a_label.png")


def test_files_of_two_trees_are_matched_by_path_and_sorted(tmp_path: Path) -> None:
    for city, name in (("ulm", "b"), ("aachen", "c"), ("aachen", "a")):
        touch(tmp_path / f"i/{city}/{name}_image.png", tmp_path / f"l/{city}/{name}_label.png")
    touch(
        tmp_path / "i/top_image.png", tmp_path / "i/aachen/deep/d_image.png", tmp_path / "i/ulm/b_other.png"
    )
    found = matched(tmp_path / "i", tmp_path / "l", image="_image.png", annotation="_label.png", depth=1)
    assert [pair.key for pair in found.pairs] == ["a", "c", "b"]
    assert found.pairs[2] == Pair("b", tmp_path / "i/ulm/b_image.png", tmp_path / "l/ulm/b_label.png")
    assert found.problems == ()


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "i/x/a.png", tmp_path / "i/x/.a.png", tmp_path / "i/.git/b.png", tmp_path / "l/x/a.png")
    touch(tmp_path / "l/x/._a.png")
    found = matched(tmp_path / "i", tmp_path / "l", image=".png", annotation=".png", depth=1)
    assert [pair.key for pair in found.pairs] == ["a"]
    assert not found.problems


def test_a_prefix_tells_keys_apart(tmp_path: Path) -> None:
    touch(tmp_path / "fog/a.png", tmp_path / "rain/a.png")
    found = Found(())
    for name in ("fog", "rain"):
        found += matched(tmp_path / name, None, image=".png", prefix=f"{name}__")
    assert [pair.key for pair in found.pairs] == ["fog__a", "rain__a"]
    assert all(pair.annotation is None for pair in found.pairs)


def test_whatever_does_not_fit_is_a_problem_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(*(tmp_path / f"i/{name}.png" for name in ("x/a", "y/a", "x/b", "x/c d", "x/e")))
    touch(*(tmp_path / f"l/{name}.png" for name in ("x/a", "y/a", "x/c d", "x/e", "x/z")))
    found = matched(tmp_path / "i", tmp_path / "l", image=".png", annotation=".png", depth=1)
    assert [pair.key for pair in found.pairs] == ["a", "e"]
    assert found.problems == (
        f"no annotation {tmp_path}/l/x/b.png for the image {tmp_path}/i/x/b.png",
        f"{tmp_path}/i/x/c d.png: expected a name of letters, digits, '-', '_' and '.'",
        f"two images have the name 'a': {tmp_path}/i/x/a.png and {tmp_path}/i/y/a.png",
        f"no image {tmp_path}/i/x/z.png for the annotation {tmp_path}/l/x/z.png",
    )


def test_an_ending_that_is_part_of_another_is_kept_apart(tmp_path: Path) -> None:
    touch(tmp_path / "i/a.jpg", tmp_path / "l/a.png", tmp_path / "l/a_train.png")
    found = matched(tmp_path / "i", tmp_path / "l", image=".jpg", annotation=".png", without="_train.png")
    assert [pair.annotation for pair in found.pairs] == [tmp_path / "l/a.png"]
    assert found.problems == ()


def test_a_list_gives_images_and_order_with_the_ending_or_without(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{name}" for name in ("i/a.jpg", "i/b.jpg", "i/c.jpg", "l/a.png", "l/c.png")))
    (tmp_path / "val.txt").write_text("c\n\n  a.jpg \r\nmissing\n")
    found = listed(tmp_path / "val.txt", tmp_path / "i", tmp_path / "l", image=".jpg", annotation=".png")
    assert [pair.key for pair in found.pairs] == ["c", "a"]
    assert found.problems == (f"no image {tmp_path}/i/missing.jpg, though val.txt lists it",)


@pytest.mark.parametrize("line", ["../a", "a b", "/etc/a.jpg"])
def test_a_list_that_leads_elsewhere_is_refused_with_the_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "val.txt").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=rf"val\.txt, line 2: expected the name of an image, got '{line}'"):
        listed(tmp_path / "val.txt", tmp_path, None, image=".jpg")


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt: cannot be read as text"):
        read_lines(tmp_path / "val.txt")


def test_an_incomplete_dataset_names_the_first_problem_and_carries_the_others_and_the_rest(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "a.png")
    found = check_pairs(Pair(name, tmp_path / f"{name}.png", None) for name in "abc")
    with pytest.raises(IncompleteError) as caught:
        require_complete(toy(found.pairs), found.problems)
    error = caught.value
    assert str(error).startswith(f"no image {tmp_path}/b.png; and 1 more")
    assert error.problems == (f"no image {tmp_path}/b.png", f"no image {tmp_path}/c.png")
    assert error.rest.keys == ("a",)
    assert isinstance(error, DataError)
    with pytest.raises(IncompleteError, match=r"^no image .*b\.png$"):
        require_complete(toy(found.pairs), found.problems[:1])
    whole = toy(found.pairs)
    assert require_complete(whole, ()) is whole


def test_a_paired_dataset_reads_image_and_labels(tmp_path: Path) -> None:
    pair = drawn(tmp_path, np.array([[0, 1, 255], [1, 1, 0]], dtype=np.uint8))
    dataset = toy((pair,))
    assert isinstance(dataset, Dataset)
    check_dataset(dataset)
    sample = dataset[0]
    np.testing.assert_array_equal(sample.image, np.arange(18).reshape(2, 3, 3))
    np.testing.assert_array_equal(sample.labels, [[0, 1, 255], [1, 1, 0]])
    assert toy((Pair("a", pair.image, None),))[0].labels is None
    with pytest.raises(IndexError):
        dataset[1]


def test_ids_say_what_the_values_in_an_annotation_mean(tmp_path: Path) -> None:
    pair = drawn(tmp_path, np.array([[7, 8, 0], [8, 8, 7]], dtype=np.uint8))
    dataset = toy((pair,), ids={7: 0, 8: 1, 0: 255})
    np.testing.assert_array_equal(dataset[0].labels, [[0, 1, 255], [1, 1, 0]])
    with pytest.raises(DataError, match=r"a_label\.png: expected ids 0, 8, got 2 pixels of label 7"):
        toy((pair,), ids={8: 1, 0: 255})[0]


def test_an_annotation_that_is_no_label_map_is_read_by_the_dataset_s_own_function(tmp_path: Path) -> None:
    pair = drawn(tmp_path, np.zeros((2, 3), dtype=np.uint8))
    seen = []

    def read(given: Pair, size: tuple[int, int]) -> np.ndarray:
        seen.append((given, size))
        return np.ones(size, dtype=np.uint8)

    assert (toy((pair,), read=read)[0].labels == 1).all()
    assert seen == [(pair, (2, 3))]


def test_every_nth_of_a_whole_dataset_is_taken_and_of_a_part_nothing(tmp_path: Path) -> None:
    pairs = tuple(Pair(f"{index}", tmp_path / f"{index}.png", None) for index in range(11))
    some = evenly_spaced(toy(pairs), every=3, count=3, whole=11, name="subset=paper")
    assert some.keys == ("0", "3", "6")
    assert some.licence == "CC BY"
    with pytest.raises(DataError, match="subset=paper is a part of 12 images, but there are 11"):
        evenly_spaced(toy(pairs), every=3, count=3, whole=12, name="subset=paper")


def test_the_form_of_the_annotations_is_the_one_chosen_or_the_first_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no annotations in .*, expected files \*\.png or \*_train\.png: expected images/"
    ):
        annotation_form(tmp_path, FORMS, "auto", depth=1, origin=ORIGIN)
    touch(tmp_path / "x/a_train.png")
    assert annotation_form(tmp_path, FORMS, "auto", depth=1, origin=ORIGIN) == "train-ids"
    touch(tmp_path / "x/a.png")
    assert annotation_form(tmp_path, FORMS, "auto", depth=1, origin=ORIGIN) == "ids"
    assert annotation_form(tmp_path, FORMS, "train-ids", depth=1, origin=ORIGIN) == "train-ids"


def test_what_is_missing_is_told_with_the_place_to_get_it(tmp_path: Path) -> None:
    told = r": expected images/ with labels/, from https://toys\.invalid \(CC BY\)$"
    with pytest.raises(DataError, match=r"^dataset 'toy' needs root=FOLDER" + told):
        ORIGIN.folder(None)
    with pytest.raises(DataError, match=r"^no Toy folder .*nowhere" + told):
        ORIGIN.folder(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    assert ORIGIN.folder(str(tmp_path)) == tmp_path
    assert ORIGIN.inside(tmp_path, "images") == (tmp_path / "images",)
    with pytest.raises(DataError, match=r"^no Toy split 'val' in .*, labels/ is missing" + told):
        ORIGIN.inside(tmp_path, "images", "labels", split="val")
    with pytest.raises(DataError, match=r"^no images in Toy of " + r".*" + told):
        ORIGIN.some(Found(()), tmp_path)
    only_problems = Found((), ("no image a.png",))
    assert ORIGIN.some(only_problems, tmp_path) is only_problems


def test_pairs_need_no_torch() -> None:
    code = "import sys, smoothseg.data.pairs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_differ_in_case_only_are_one_file_somewhere(tmp_path):
    for name in ("a", "A"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes no notice of case")
    found = check_pairs([Pair(name, tmp_path / f"{name}.png", None) for name in ("a", "A")])
    assert len(found.pairs) == 1
    assert "two images have the name 'A'" in found.problems[0]
