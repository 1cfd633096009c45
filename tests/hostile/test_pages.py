"""The page and the figures of a stranger's run hold what lies in the run, and writing them writes nowhere else."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smoothseg.errors import DataError
from smoothseg.files import write_atomically
from smoothseg.report import figure, gallery, previews

KEYS = ["../x", "..", "/etc", "a/b", "a\0b", "", ".hidden", "a\nb", "\ud800", "a/../../x"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_no_path(tmp_path, key):
    for path_of in (previews.image_path, previews.labels_path):
        with pytest.raises(DataError, match="no key"):
            path_of(tmp_path, key)
    with pytest.raises(DataError, match="no key"):
        previews.noisy_path(tmp_path, key, 0.5)
    with pytest.raises(DataError, match="no key"):
        previews.denoised_path(tmp_path, key, "method", 0.5)


@pytest.mark.parametrize("method", KEYS)
def test_the_folder_of_a_method_is_no_path(tmp_path, method):
    with pytest.raises(DataError, match="no key"):
        previews.denoised_path(tmp_path, "a", method, 0.5)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.skipif(os.name != "posix", reason="no such files there")
def test_pipes_and_devices_among_the_previews_are_refused(tmp_path, refused):
    for path in (previews.image_path(tmp_path, "a"), previews.labels_path(tmp_path, "a")):
        os.mkfifo(picture(path))
    assert refused(lambda: previews.read_labels(tmp_path, "a"), seconds=5)
    assert refused(lambda: figure._photo(previews.image_path(tmp_path, "a")), seconds=5)
    assert gallery._photo(previews.image_path(tmp_path, "a")) is None


def test_a_preview_that_claims_to_be_large_is_refused(tmp_path, refused):
    path = picture(previews.labels_path(tmp_path, "a"))
    Image.fromarray(np.zeros((2**14, 2**13 + 1), dtype=np.uint8)).save(path)
    assert path.stat().st_size < 2**20
    assert refused(lambda: previews.read_labels(tmp_path, "a"), seconds=5, mebibytes=100)
    assert refused(lambda: figure._photo(path), seconds=5, mebibytes=100)


def test_a_photo_of_a_page_is_a_jpeg_of_limited_size(tmp_path):
    path = picture(previews.image_path(tmp_path, "a"))
    for content in (b"root:x:0:0", b"", b"\xff\xd8\xff" + bytes(2**25)):
        path.write_bytes(content)
        assert gallery._photo(path) is None
    path.unlink()
    Image.new("RGB", (4, 5)).save(path)
    assert gallery._photo(path)


@given(
    content=st.binary(max_size=200),
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"]),
)
def test_any_preview_is_read_or_refused(tmp_path, refused, content, start, tried):
    path = picture(previews.labels_path(tmp_path, "a"))
    path.write_bytes(start + content)
    refused(lambda: previews.read_labels(tmp_path, "a"))
    refused(lambda: figure._photo(path))
    tried()


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
def test_a_link_that_lies_where_a_file_is_written_is_replaced_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine", encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    (run / f".report.html.{os.getpid()}.tmp").symlink_to(outside)
    (run / "report.html").symlink_to(outside)
    write_atomically(run / "report.html", b"page")
    assert outside.read_text(encoding="utf-8") == "mine"
    assert (run / "report.html").read_bytes() == b"page"
    assert not (run / "report.html").is_symlink()
