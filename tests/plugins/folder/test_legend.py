"""Class lists of the dataset `folder`, and the colours it makes where a list has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from smoothseg import DataError
from smoothseg.data import palette
from smoothseg_folder import legend


def read(tmp_path: Path, name: str, text: str) -> legend.Legend:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return legend.read(path)


NAMES = ("road", "traffic light", "Fußweg")
COLOURS = ((128, 64, 128), (250, 170, 30), (0, 0, 255))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "road\ntraffic light\nFußweg\n"),
        ("a.names", "\ufeff# street\r\nroad\r\n\r\n  traffic light  \r\nFußweg"),
        ("a.yaml", "- road\n- traffic light\n- Fußweg\n"),
        ("a.YML", "{road: , traffic light: , Fußweg: }"),
        ("a.json", '[\n\t"road",\n\t"traffic light",\n\t"Fu\\u00dfweg"\n]'),
    ],
)
def test_every_form_gives_the_names_in_order(tmp_path: Path, name: str, text: str) -> None:
    result = read(tmp_path, name, text)
    assert result.names == NAMES
    assert result.colours == palette(3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "road 128 64 128\ntraffic light\t250  170 30\nFußweg 0 0 255\n"),
        ("a.yaml", "- road: [128, 64, 128]\n- traffic light: [250, 170, 30]\n- Fußweg: [0, 0, 255]\n"),
        ("b.yaml", "road: [128, 64, 128]\ntraffic light: [250, 170, 30]\nFußweg: [0, 0, 255]\n"),
        ("a.json", '{"road": [128, 64, 128], "traffic light": [250, 170, 30], "Fußweg": [0, 0, 255]}'),
    ],
)
def test_every_form_gives_the_colours(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == legend.Legend(NAMES, COLOURS)


def test_yaml_takes_names_that_end_in_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, "a.yaml", "- lane 1\n- lane 2\n").names == ("lane 1", "lane 2")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "expected 1 to 255 classes, got 0"),
        ("a.txt", "# nothing\n\n", "expected 1 to 255 classes, got 0"),
        ("a.txt", "\n".join(f"c{i}" for i in range(256)), "expected 1 to 255 classes, got 256"),
        ("a.txt", "road\ncar\nroad\n", "the class 'road' is listed twice, as 0 and as 2"),
        ("a.txt", "road 1 2 3\ncar\n", "expected a colour for every class or for none, got none for 'car'"),
        ("a.txt", "car\nroad 1 2\n", "line 2: expected 'name' or 'name r g b', got 'road 1 2'"),
        ("a.txt", "road 1 2 3 255\n", "line 1: expected 'name' or 'name r g b'"),
        ("a.txt", "road 1 2 256\n", r"line 1: expected three integers 0\.\.255 as the colour of 'road'"),
        ("a.txt", "road 1 -2 3\n", r"line 1: expected three integers 0\.\.255"),
        (
            "a.yaml",
            "- road: [1, 2]\n",
            r"expected three integers 0\.\.255 as the colour of 'road', got \[1, 2\]",
        ),
        ("a.yaml", "- road: [1, 2, true]\n", r"expected three integers 0\.\.255"),
        ("a.yaml", "- road: red\n", r"expected three integers 0\.\.255 as the colour of 'road', got red"),
        ("a.yaml", "- road\n- no\n", "expected class names, got False; quote it if it is a name"),
        ("a.yaml", "- 1\n- 2\n", "expected class names, got 1; quote it"),
        ("a.yaml", "- [a, b]\n", "expected class names, got "),
        ("a.yaml", "road\ncar\n", "expected a list of class names, got str"),
        ("a.yaml", "", "expected a list of class names, got NoneType"),
        ("a.yaml", "road: [1, 2, 3]\nroad: [4, 5, 6]\n", "'road' is given twice"),
        ("a.yaml", "- [unclosed\n", "not a class list"),
        ("a.json", '{"road": [1, 2, 3], "road": [4, 5, 6]}', "'road' is listed twice"),
        ("a.json", '["road"', "not a class list"),
        ("a.json", "[]", "expected 1 to 255 classes, got 0"),
    ],
)
def test_what_is_not_a_class_list_is_refused_with_the_file_s_name(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, name, text)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Fußweg\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt: expected a class list in UTF-8"):
        legend.read(tmp_path / "a.txt")
