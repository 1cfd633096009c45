"""Images and label maps of strangers: small files that claim to be large, damaged ones, links that lead elsewhere."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smoothseg.components.plugins import plugins
from smoothseg.data import images
from smoothseg.data.inspection import inspect


def png(width: int, height: int, *, colour: int = 2, content: bytes = b"", extra: bytes = b"") -> bytes:
    """Return a PNG of any claimed size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    packed = zlib.compress(content)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(**tags: int) -> bytes:
    """Return a TIFF of one strip whose tags are as given, whatever they are."""
    names = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273}
    names |= {
        "samples": 277,
        "rows": 278,
        "counts": 279,
        "tile_width": 322,
        "tile_height": 323,
        "tile_offset": 324,
    }
    names |= {"tile_counts": 325}
    entries = sorted((names[name], value) for name, value in tags.items())
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return (
        body
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        + struct.pack("<I", 0)
    )


def webp(width: int, height: int) -> bytes:
    """Return an extended WebP that claims a canvas, without a picture."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


SMALL = Image.fromarray(np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3))


def saved(form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture = SMALL if options.pop("colour", True) else SMALL.convert("L")
    picture.save(buffer, form, **options)
    return buffer.getvalue()


PROFILE = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**28), 9))
TEXT = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**28), 9))
LARGE = {
    "png": png(50_000, 50_000, content=bytes(50_000)),
    "png-grey": png(50_000, 50_000, colour=0, content=bytes(50_000)),
    "png-thin": png(2**31 - 1, 1),
    "png-none": png(0, 0),
    "png-profile": png(1, 1, content=bytes(4), extra=PROFILE),
    "png-text": png(1, 1, content=bytes(4), extra=TEXT),
    "tiff": tiff(width=50_000, height=50_000, bits=8, compression=1, photometric=1, offset=8, counts=100),
    "tiff-deflate": tiff(width=50_000, height=50_000, bits=8, compression=8, photometric=1, offset=8, counts=100),
    "tiff-rows": tiff(
        width=4, height=4, bits=8, compression=5, photometric=1, offset=8, counts=2**32 - 1, rows=2**32 - 1
    ),
    "tiff-tiles": tiff(
        width=4, height=4, bits=8, compression=8, photometric=1, tile_width=2**30, tile_height=2**30,
        tile_offset=8, tile_counts=100,
    ),
    "tiff-samples": tiff(width=4, height=4, bits=8, compression=1, photometric=1, offset=8, counts=9, samples=60_000),
    "webp": webp(16_384, 16_384),
    "jpeg": saved("JPEG").replace(struct.pack(">HH", 3, 4), struct.pack(">HH", 65_500, 65_500), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("reader", ["image", "label-map"], indirect=True)
def test_a_small_file_that_claims_to_be_large_takes_no_memory(tmp_path, reader, refused, case):
    path = tmp_path / "it.png"
    path.write_bytes(LARGE[case])
    message = refused(lambda: reader.read(path), seconds=5, mebibytes=150)
    assert message
    assert "it.png" in message


def test_the_largest_image_of_a_page_of_zeros_takes_what_its_pixels_take(tmp_path, limits):
    side = 4096
    path = tmp_path / "zeros.png"
    path.write_bytes(png(side, side, colour=0, content=bytes(side * (side + 1))))
    assert path.stat().st_size < 2**15
    with limits(20, 8 * side * side / 2**20 + 100):
        assert images.read_image(path).shape == (side, side, 3)
    path.write_bytes(png(2**14, 2**13 + 1, colour=0))
    with pytest.raises(images.DataError, match="at most 134217728 pixels"):
        images.read_image(path)


def test_pages_of_a_tiff_that_lead_to_each_other_end(tmp_path, refused):
    content = bytearray(tiff(width=4, height=4, bits=8, compression=1, photometric=1, offset=8, counts=16))
    content[-4:] = struct.pack("<I", 8)
    path = tmp_path / "it.tif"
    path.write_bytes(bytes(content))
    refused(lambda: images.read_image(path), seconds=5)


# Folders


def folder(root, **options):
    return plugins()["dataset"].recipe({"name": "folder", "root": str(root), **options})


@pytest.mark.skipif(os.name != "posix", reason="no such files there")
def test_a_folder_with_pipes_devices_and_dead_links_is_read_to_its_end(tmp_path, limits):
    SMALL.save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "text.png").symlink_to("/etc/passwd")
    (tmp_path / "folder.png").mkdir()
    with limits(10, 200):
        found = inspect(folder(tmp_path))
    assert found.images == 1
    assert len(found.problems) == 5


def test_a_link_to_a_folder_is_not_followed_and_a_link_to_an_image_is(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    SMALL.save(outside / "a.png")
    (inside / "link").symlink_to(outside)
    (inside / "up").symlink_to(tmp_path)
    (inside / "b.png").symlink_to(outside / "a.png")
    assert inspect(folder(inside, recursive=True)).images == 1


@pytest.mark.skipif(os.name != "posix", reason="no such names there")
@pytest.mark.parametrize(
    "name", [b"a\nb", b"\x1b[31mred", b"\xff\xfe", "\u202egnp".encode(), b"<b>&amp;", b"'; rm -rf", b"=cmd|x"]
)
def test_names_of_any_bytes_become_keys_of_plain_letters(tmp_path, refused, name):
    with open(bytes(tmp_path) + b"/" + name + b".png", "wb") as file:
        SMALL.save(file, "PNG")
    (key,) = folder(tmp_path).load().keys
    assert key.isascii()
    assert key.isprintable()
    with open(bytes(tmp_path) + b"/" + name + b".png", "wb") as file:
        file.write(b"x")
    (problem,) = inspect(folder(tmp_path)).problems
    assert problem.isprintable()


@given(key=st.text(max_size=30))
def test_any_root_is_read_or_refused(refused, key, tried):
    refused(lambda: folder(f"/nonexistent/{key}").load())
    refused(lambda: folder("/nonexistent", classes=key, images=key, labels=key).load())
    tried()


# Fuzzing

FORMS = {
    "png": saved("PNG"),
    "png-palette": saved("PNG", colour=False),
    "jpeg": saved("JPEG"),
    "jpeg-progressive": saved("JPEG", progressive=True),
    "tiff": saved("TIFF"),
    "tiff-lzw": saved("TIFF", compression="tiff_lzw"),
    "tiff-deflate": saved("TIFF", compression="tiff_adobe_deflate"),
    "tiff-grey": saved("TIFF", colour=False),
    "webp": saved("WEBP"),
    "webp-lossless": saved("WEBP", lossless=True),
}
CHANGES = st.lists(
    st.tuples(st.integers(0, 2**12), st.sampled_from([0, 1, 127, 128, 254, 255]) | st.integers(0, 255)),
    max_size=8,
)


@pytest.mark.parametrize("form", FORMS)
@given(changes=CHANGES, cut=st.integers(0, 400), more=st.binary(max_size=10))
def test_any_changed_image_is_read_or_refused(tmp_path, refused, form, changes, cut, more, tried):
    made = bytearray(FORMS[form])
    for place, value in changes:
        made[place % len(made)] = value
    path = tmp_path / "it.png"
    path.write_bytes(bytes(made[: len(made) - cut if cut < len(made) else None]) + more)
    refused(lambda: images.read_image(path), seconds=10)
    refused(lambda: images.read_labels(path, classes=3, ignore=255, size=(3, 4)), seconds=10)
    tried()


TAGS = ["width", "height", "bits", "compression", "photometric", "offset", "samples", "rows", "counts"]


@given(
    tags=st.dictionaries(
        st.sampled_from([*TAGS, "tile_width", "tile_height", "tile_offset", "tile_counts"]),
        st.sampled_from(
            [0, 1, 2, 3, 4, 5, 7, 8, 16, 255, 2**15, 2**31, 2**32 - 1, 32773, 34925, 50000, 50001]
        ),
    )
)
def test_any_tags_of_a_tiff_are_read_or_refused(tmp_path, refused, tags, tried):
    base = {"width": 4, "height": 4, "bits": 8, "compression": 1, "photometric": 1, "offset": 8, "counts": 16}
    path = tmp_path / "it.tif"
    path.write_bytes(tiff(**{**base, **tags}))
    refused(lambda: images.read_image(path), seconds=10)
    refused(lambda: images.read_labels(path, classes=3, ignore=255, size=(4, 4)), seconds=10)
    tried()


@given(
    width=st.sampled_from([0, 1, 2, 2**14, 2**20, 2**31 - 1, 2**32 - 1]),
    height=st.sampled_from([0, 1, 2, 2**14, 2**31 - 1]),
    colour=st.integers(0, 6),
    content=st.binary(max_size=40),
    extra=st.lists(
        st.builds(
            chunk,
            st.sampled_from(
                [
                    b"PLTE",
                    b"tRNS",
                    b"gAMA",
                    b"iCCP",
                    b"eXIf",
                    b"acTL",
                    b"fcTL",
                    b"tEXt",
                    b"zTXt",
                    b"iTXt",
                    b"pHYs",
                    b"cHRM",
                ]
            ),
            st.binary(max_size=30),
        ),
        max_size=3,
    ).map(b"".join),
)
def test_any_chunks_of_a_png_are_read_or_refused(
    tmp_path, refused, width, height, colour, content, extra, tried
):
    path = tmp_path / "it.png"
    path.write_bytes(png(width, height, colour=colour, content=content, extra=extra))
    refused(lambda: images.read_image(path), seconds=10)
    refused(lambda: images.read_labels(path, classes=3, ignore=255, size=(1, 1)), seconds=10)
    tried()
