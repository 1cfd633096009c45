"""Whatever reads a file refuses what is no file, what is too large and what is nested without end, in one line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smoothseg import files
from smoothseg.errors import SmoothsegError

YAML = ["configuration", "catalogue", "class-list-yaml"]
JSON = [
    *("class-list-json", "transformers-config", "adm-config", "hrnet-config", "vit-adapter-config"),
    *("pascal-annotation", "legend-of-a-run"),
]
TEXT = ["class-list-text", "class-names", "list-of-images"]


def of(*names):
    """Parametrise a test by these readers alone."""
    return pytest.mark.parametrize("reader", names, indirect=True)


def place(folder, reader):
    return folder / f"it{reader.suffix}"


# What is no file


@pytest.mark.skipif(os.name != "posix", reason="no such files there")
def test_a_pipe_is_refused_and_never_waited_for(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    os.mkfifo(path)
    message = refused(lambda: reader.read(path), seconds=5)
    assert message
    assert path.name in message or "legend.json" in message


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device there")
def test_a_device_is_refused(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    path.symlink_to("/dev/zero")
    message = refused(lambda: reader.read(path), seconds=5)
    assert message
    assert path.name in message or "legend.json" in message


def test_a_folder_is_refused(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    path.mkdir()
    assert refused(lambda: reader.read(path))


def test_a_link_to_itself_is_refused(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    path.symlink_to(path)
    if reader.name != "legend-of-a-run":  # there it is as if the run had none
        assert refused(lambda: reader.read(path))


def test_a_name_that_no_file_can_have_is_refused(tmp_path, reader, refused):
    for name in ("a\0b", "\ud800", "x" * 5000):
        path = tmp_path / f"{name}{reader.suffix}"
        if reader.name != "legend-of-a-run":
            assert refused(lambda path=path: reader.read(path)), name[:9]


def test_a_file_of_a_terabyte_is_refused_before_it_is_read(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    with path.open("wb") as file:
        file.truncate(2**40)
    if reader.name in ("torch-weights", "safetensors"):
        return  # these are hashed and mapped as a whole: see SECURITY.md
    message = refused(lambda: reader.read(path), seconds=5)
    assert message
    assert path.name in message or "legend.json" in message


# Nesting and repetition


@of(*YAML, *JSON)
@pytest.mark.parametrize("text", ["[" * 20_000, '{"a":' * 20_000, "[" * 1500 + "]" * 1500])
def test_deep_nesting_is_refused(tmp_path, reader, text, refused):
    path = place(tmp_path, reader)
    path.write_text(text, encoding="utf-8")
    assert refused(lambda: reader.read(path))


@of(*YAML)
@pytest.mark.parametrize("text", ["- " * 1000 + "x", "? " * 1000, "a: &a [*a]", "a: &a {b: *a}", "[{" * 1000])
def test_yaml_nested_without_end_is_refused(tmp_path, reader, text, refused):
    path = place(tmp_path, reader)
    path.write_text(text, encoding="utf-8")
    assert refused(lambda: reader.read(path))


LAUGHS = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip(string.ascii_lowercase, string.ascii_lowercase[1:20], strict=False)
)
MERGES = "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip(string.ascii_lowercase, string.ascii_lowercase[1:20], strict=False)
)


@of(*YAML)
@pytest.mark.parametrize("text", [f"a: &a [x]\n{LAUGHS}", f"a: &a {{x: 1}}\n{MERGES}"])
def test_a_billion_laughs_are_refused(tmp_path, reader, text, refused):
    path = place(tmp_path, reader)
    path.write_text(text, encoding="utf-8")
    message = refused(lambda: reader.read(path), seconds=5)
    assert message
    assert "repeat" in message


def test_an_alias_that_repeats_little_is_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n", encoding="utf-8")
    assert files.read_yaml(path) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}


# Numbers and letters


NUMBERS = [
    *("9" * 10_000, "-" + "9" * 10_000, "0x" + "f" * 10_000, "0b" + "1" * 10_000, "0" + "7" * 9999),
    "1" + ":1" * 200_000,
]


@of(*YAML, *JSON)
def test_a_number_of_ten_thousand_digits_is_refused(tmp_path, reader, refused):
    path = place(tmp_path, reader)
    for number in NUMBERS:
        path.write_text(f'{{"a": {number}}}', encoding="utf-8")
        assert refused(lambda: reader.read(path)), number[:9]


def test_a_number_beyond_every_float_is_no_number_of_a_configuration(tmp_path, refused):
    path = tmp_path / "c.yaml"
    for number, said in (("9" * 400, "of 400 characters"), ("9" * 21, "64 bits")):
        path.write_text(f"sigma: {number}\n", encoding="utf-8")
        message = refused(lambda: files.read_yaml(path))
        assert message
        assert said in message


@pytest.mark.parametrize("text", ['a: "x\\0y"', 'a: "\\ud800"', '"\\0": 1', "a: 2024-99-99", "a: !!float x"])
def test_yaml_that_is_no_text_or_no_value_is_refused(tmp_path, text, refused):
    path = tmp_path / "c.yaml"
    path.write_text(text + "\n", encoding="utf-8")
    message = refused(lambda: files.read_yaml(path))
    assert message
    assert "c.yaml" in message


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!x y"]
)
def test_yaml_makes_no_objects(tmp_path, tag, refused):
    path = tmp_path / "c.yaml"
    path.write_text(f"a: {tag}\n", encoding="utf-8")
    assert refused(lambda: files.read_yaml(path))


# Fuzzing


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    *("images", "annos_segmentation", "image_id", "file_name", "phase", "segmentation", "size", "counts"),
    *("licence", "source", "file", "url", "sha256", "member", "options", "datasets", "palette", "ignore"),
    *(
        "num_classes",
        "STAGE1",
        "STAGE2",
        "STAGE3",
        "STAGE4",
        "NUM_MODULES",
        "native",
        "widths",
        "blocks",
        "head_width",
    ),
    *("attention", "backbone", "head", "pipeline", "classes", "kind", "mode", "crop", "stride"),
]
KNOWN = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=10,
)


@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path, reader, content, refused, tried):
    path = place(tmp_path, reader)
    path.write_bytes(content)
    refused(lambda: reader.read(path))
    tried()


@of(*YAML, *JSON)
@given(content=KNOWN)
def test_any_json_is_read_or_refused(tmp_path, reader, content, refused, tried):
    path = place(tmp_path, reader)
    path.write_text(json.dumps(content), encoding="utf-8")
    refused(lambda: reader.read(path))
    tried()


SYNTAX = st.lists(
    st.sampled_from(
        [
            *"-?:[]{}&*!|>'\"%@#,~<",
            *(
                "\n",
                "  ",
                "a",
                "&a",
                "*a",
                "<<: ",
                "- ",
                ": ",
                "!!str ",
                "!!set",
                "!!omap",
                "1e400",
                "0x1",
                "12:30",
            ),
            *("2024-01-01", "\\0", "\t", "yes", ".inf", "---\n", "...", "\x85", "\ufeff"),
        ]
    ),
    max_size=40,
).map("".join)


@of(*YAML)
@given(text=SYNTAX)
def test_any_yaml_is_read_or_refused(tmp_path, reader, text, refused, tried):
    path = place(tmp_path, reader)
    path.write_bytes(text.encode())
    refused(lambda: reader.read(path))
    tried()


@of(*YAML, *JSON, *TEXT)
@given(text=st.text(max_size=100))
def test_any_text_is_read_or_refused(tmp_path, reader, text, refused, tried):
    path = place(tmp_path, reader)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(lambda: reader.read(path))
    tried()


@given(value=VALUES)
def test_what_is_written_as_yaml_is_read_or_refused(tmp_path, value, refused, tried):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"a": value}), encoding="utf-8")
    refused(lambda: files.read_yaml(path))
    tried()


def test_yaml_takes_time_in_proportion_to_its_length(tmp_path, limits):
    generator = random.Random(5)
    words = ["a: ", "- ", "[", "]", "{", "}", '"', "'", "|\n", "\n", "? ", "&x ", "*x ", "#", "x"]
    for _ in range(20):
        path = tmp_path / "c.yaml"
        path.write_text("".join(generator.choice(words) for _ in range(20_000)), encoding="utf-8")
        with limits(10, 300), contextlib.suppress(SmoothsegError):
            files.read_yaml(path)
