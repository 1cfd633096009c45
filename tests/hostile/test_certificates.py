"""Certificates of strangers: archives of arrays that claim more than they hold, and headers that are none."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothseg.certificates import file, recheck
from smoothseg.components.plugins import plugins
from smoothseg.data import MAX_PIXELS

HEADER = {"schema": 1, "sigma": 0.25, "certifier": {"name": "holm"}, "classes": ["a", "b"]}
ARRAYS = {
    "prediction": np.zeros((3, 4), dtype=np.uint8),
    "certified": np.ones((3, 4), dtype=np.bool_),
    "hits": np.full((3, 4), 100, dtype=np.uint8),
    "trials": np.int64(100),
    "radius": np.float64(0.1),
    "clean": np.zeros((3, 4), dtype=np.uint8),
}


def header(value) -> np.ndarray:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return np.frombuffer(text, dtype=np.uint8)


def write(path, members: dict[str, object]) -> None:
    """Write an archive of arrays; bytes stand for themselves."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            if not isinstance(value, bytes):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asanyarray(value), version=(1, 0))
                value = buffer.getvalue()
            archive.writestr(f"{name}.npy", value)


def claims(shape, dtype="|u1", *, fortran=False, content=b"") -> bytes:
    """Return an array whose header claims anything."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def good(**changes) -> dict[str, object]:
    return {**ARRAYS, "header": header(HEADER), **changes}


def test_what_the_tests_change_is_read(tmp_path):
    write(tmp_path / "c.npz", good())
    loaded = file.load(tmp_path / "c.npz")
    assert loaded.trials == 100
    assert loaded.prediction.flags.writeable


def test_the_largest_certificate_is_that_of_the_largest_image():
    assert file.MOST_PIXELS == MAX_PIXELS


@pytest.mark.parametrize("name", [*ARRAYS, "header", "radii"])
def test_a_claimed_shape_that_the_file_does_not_hold_is_refused(tmp_path, refused, name):
    for shape in (
        *(
            "(1 << 62,)",
            "(2**40,)",
            "(1099511627776,)",
            "(4294967296, 4294967296)",
            "(-1,)",
            "(3, 5)",
            "(3, 4, 1)",
        ),
        *("('a',)", "None"),
    ):
        write(tmp_path / "c.npz", good(**{name: claims(shape, "|u1", content=bytes(12))}))
        message = refused(lambda: file.load(tmp_path / "c.npz"), seconds=5, mebibytes=50)
        assert message, shape
        assert "c.npz" in message


@pytest.mark.parametrize("name", [*ARRAYS, "header"])
def test_an_array_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(tmp_path, refused, name):
    path = tmp_path / "c.npz"
    write(path, good(**{name: claims((2**25,), "|u1", content=bytes(2**25))}))
    assert path.stat().st_size < 2**17
    assert refused(lambda: file.load(path), seconds=5, mebibytes=20)


def test_maps_larger_than_any_image_are_not_unpacked(tmp_path, refused):
    path = tmp_path / "c.npz"
    zeros = claims((2**14, 2**14), "|u1")
    write(path, good(prediction=zeros, certified=zeros, hits=zeros, clean=zeros))
    message = refused(lambda: file.load(path), seconds=5, mebibytes=50)
    assert message
    assert "134217728 pixels" in message


@pytest.mark.parametrize("name", [*ARRAYS, "header"])
def test_objects_and_other_types_are_refused(tmp_path, refused, name):
    program = b"cos\nsystem\n(S'true'\ntR." + bytes(96)
    for dtype in ("|O", "<f8", "<U5", "<c16", "|V8", "<M8[s]", ">u2", [("a", "|O")], "|S0", "<i8"):
        write(tmp_path / "c.npz", good(**{name: claims((3, 4), dtype, content=program)}))
        assert refused(lambda: file.load(tmp_path / "c.npz")), dtype


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 100_000,
        b"\xff",
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"schema": 1}',
        b'{"schema": 1, "sigma": 1, "certifier": ',
        b'{"schema": ' + b"9" * 5000 + b"}",
    ],
    ids=range(9),
)
def test_a_header_that_is_none_is_refused(tmp_path, refused, value):
    write(tmp_path / "c.npz", good(header=header(value)))
    assert refused(lambda: file.load(tmp_path / "c.npz"))


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "-" * 9000, "{'descr':" * 900, "f'{x}'", "__import__('os')", "lambda: 0", "\0", "'" * 3],
)
def test_a_header_of_an_array_that_is_no_literal_is_refused(tmp_path, refused, text):
    packed = text.encode()
    array = b"\x93NUMPY\x01\x00" + len(packed).to_bytes(2, "little") + packed
    write(tmp_path / "c.npz", good(prediction=array))
    assert refused(lambda: file.load(tmp_path / "c.npz"), seconds=5)


# Fuzzing


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "n", "n0", "alpha", "tau", "k", "taus", "x"]), inner, max_size=4
        )
    ),
    max_leaves=6,
)


def follow(path):
    """Read a certificate and decide it again, as `verify` does."""
    loaded = file.load(path)
    recheck.verify(loaded, plugins()["certifier"].recipe(loaded.provenance["certifier"]).load())
    recheck.history(loaded)


@given(
    changes=st.dictionaries(
        st.sampled_from([*HEADER, "noise", "selection", "recertified", "decided", "certified_by"]),
        VALUES,
        max_size=4,
    )
)
def test_any_provenance_is_verified_or_refused(tmp_path, refused, changes, tried):
    write(tmp_path / "c.npz", good(header=header({**HEADER, **changes})))
    refused(lambda: follow(tmp_path / "c.npz"), seconds=10)
    tried()


@given(
    changes=st.dictionaries(
        st.sampled_from([*ARRAYS, "header", "radii", "other"]),
        st.builds(
            claims,
            st.sampled_from(
                [(3, 4), (4, 3), (12,), (), (0,), (0, 4), (3, 0), (2**31, 2**31), (1, 3, 4), (3, 4.0)]
            ),
            st.sampled_from(["|u1", "<u2", "|b1", "<i4", "<f8", "<f4", "<i8", ">i4", "|O", "<f2", ""]),
            fortran=st.booleans(),
            content=st.sampled_from([0, 12, 24, 48, 96]).map(bytes) | st.binary(min_size=12, max_size=12),
        ),
        max_size=3,
    )
)
def test_any_arrays_are_verified_or_refused(tmp_path, refused, changes, tried):
    write(tmp_path / "c.npz", good(**changes))
    refused(lambda: follow(tmp_path / "c.npz"), seconds=10)
    tried()


@given(
    changes=st.lists(st.tuples(st.integers(0, 2**12), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 3000),
)
def test_any_changed_certificate_is_verified_or_refused(tmp_path, refused, changes, cut, tried):
    path = tmp_path / "c.npz"
    write(path, good())
    made = bytearray(path.read_bytes())
    for place, value in changes:
        made[place % len(made)] = value
    path.write_bytes(bytes(made[: len(made) - cut if cut < len(made) else None]))
    refused(lambda: follow(path), seconds=10)
    tried()
