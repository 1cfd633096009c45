"""Archives of strangers: one file is taken out, by a name that is no path, and never more than was allowed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothseg.weights import archives


def tar(entries, *, mode="w") -> bytes:
    """Return a tar archive of (name, content, further fields) triples."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content, fields in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def extract(tmp_path, refused):
    """Return a function that takes `a.pth` out of the bytes of an archive; nothing else may appear beside it."""

    def call(content: bytes, **limits) -> str | None:
        place = tmp_path / "place"
        place.mkdir(exist_ok=True)
        (place / "archive").write_bytes(content)
        message = refused(
            lambda: archives.extract(place / "archive", "a.pth", place / "target", origin="it"), **limits
        )
        assert {path.name for path in tmp_path.rglob("*")} <= {"place", "archive", "target"}
        return message

    return call


@pytest.mark.parametrize(
    "name", ["../a.pth", "/a.pth", "x/../../a.pth", "C:/a.pth", "..\\a.pth", "\\a.pth", "a:b/a.pth"]
)
def test_a_name_that_leads_outside_is_refused(extract, name):
    assert extract(tar([(name, b"x", {})]))
    assert extract(tar([("a.pth", b"x", {}), (name, b"x", {})]))
    assert extract(zipped([(name, b"x")]))
    assert extract(zipped([("a.pth", b"x"), (name, b"x")]))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_what_is_no_regular_file_is_refused(extract, kind):
    assert extract(tar([("a.pth", b"", {"type": kind, "linkname": "/etc/passwd"})]), seconds=5)
    assert extract(
        tar(
            [
                ("b", b"", {"type": kind, "linkname": "../../x"}),
                ("c/a.pth", b"", {"type": kind, "linkname": "b"}),
            ]
        )
    )


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_header_that_unpacks_to_much_takes_no_memory(extract, packer):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**25
    content = header.tobuf() + bytes(2**25)
    packed = PACKERS[packer](content)
    assert len(packed) < 2**20
    assert extract(packed, seconds=5, mebibytes=25)


@pytest.mark.parametrize(
    "make", [lambda entries: gzip.compress(tar([(*e, {}) for e in entries])), zipped], ids=["tar", "zip"]
)
def test_a_file_that_unpacks_to_more_than_is_allowed_is_refused(extract, make, monkeypatch, tmp_path):
    content = make([("a.pth", bytes(2**22))])
    assert extract(content) is None
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    message = extract(content)
    assert message
    assert "at most 1048576 bytes" in message


def test_a_tar_whose_other_files_unpack_to_more_than_is_allowed_is_refused(extract, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    assert extract(gzip.compress(tar([("b", bytes(2**22), {}), ("a.pth", b"x", {})])))


def test_a_zip_with_entries_that_overlap_gives_no_more_than_one(extract):
    content = bytearray(zipped([("a.pth", b"x" * 100), ("b", b"y" * 100)]))
    assert extract(bytes(content)) is None


def test_a_zip_whose_places_lie_before_its_beginning_is_refused(extract):
    content = zipped([("a.pth", b"")])
    for place in range(len(content)):  # among them the offsets of the directory and of the file
        for value in (1, 255):
            extract(content[:place] + bytes([value]) + content[place + 1 :])


def test_a_zip_with_a_name_of_no_letters_is_read_or_refused(extract):
    content = zipped([("a.pth", b"x"), ("\1name", b"y")])
    extract(content.replace(b"\1name", b"\0name"))


def test_names_in_a_message_are_text(extract):
    message = extract(tar([("\x1b[31m\n\u202e" + "x" * 90, b"x", {})]))
    assert message
    assert message.isprintable()


# Fuzzing


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([bytes([each]) for each in b"01234567xgLKSVD\0"]),
        "linkname": st.text(max_size=10),
        "mode": st.integers(0, 0o7777),
        "size": st.sampled_from([0, 1, 512, 2**33 - 1]),
    },
)
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["a.pth", "b/a.pth", "b", "./a.pth"]) | st.text(min_size=1, max_size=12),
        st.binary(max_size=20),
        FIELDS,
    ),
    max_size=4,
)


@given(entries=ENTRIES, mode=st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]), cut=st.integers(0, 100))
def test_any_tar_gives_its_file_or_is_refused(extract, entries, mode, cut, tried):
    try:
        content = tar(entries, mode=mode)
    except (ValueError, OSError, UnicodeError, TypeError):
        return
    extract(content[: len(content) - cut if cut % 2 else None], seconds=10)
    tried()


@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(["a.pth", "b/a.pth", "b"]) | st.text(min_size=1, max_size=12),
            st.binary(max_size=20),
        ),
        max_size=4,
    ),
    changes=st.lists(st.tuples(st.integers(0, 2**10), st.integers(0, 255)), max_size=5),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_zip_gives_its_file_or_is_refused(extract, entries, changes, tried):
    try:
        content = bytearray(zipped(entries))
    except (ValueError, UnicodeError):
        return
    for place, value in changes:
        content[place % len(content)] = value
    extract(bytes(content), seconds=10)
    tried()


@given(
    content=st.binary(max_size=600),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]),
)
def test_any_bytes_are_an_archive_or_refused(extract, content, start, tried):
    extract(start + content, seconds=10)
    tried()
