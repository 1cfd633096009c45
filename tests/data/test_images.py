"""Reading image and label files: what is read, and what is refused in one line that names the file."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from smoothseg import DataError
from smoothseg.data import images
from smoothseg.data.images import read_image, read_labels

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
LABELS = np.array([[0, 1, 2, 255], [2, 2, 1, 0], [1, 0, 0, 2]], dtype=np.uint8)
SIZE = (3, 4)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def raw_png(path: Path, *, depth: int, colour: int, rows: list[bytes], size: tuple[int, int]) -> Path:
    """Write a PNG chunk by chunk, for the depths that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = size
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )
    return path


def labels_of(path: Path, **changes: object) -> np.ndarray:
    return read_labels(path, **{"classes": 3, "ignore": 255, "size": SIZE, **changes})  # type: ignore[arg-type]


# Images


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.TIF", {"compression": "tiff_adobe_deflate"}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_lossless_formats_give_the_exact_pixels(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    image = read_image(save(tmp_path / name, PIXELS, **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, PIXELS)
    assert image.flags.writeable
    assert image.flags.c_contiguous


def test_jpeg_gives_what_pillow_decodes_and_is_near_the_original(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(20, 200, 24, dtype=np.uint8)[None, :, None], (10, 1, 3))
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    image = read_image(path)
    np.testing.assert_array_equal(image, np.asarray(Image.open(path)))
    assert np.abs(image.astype(int) - smooth.astype(int)).max() <= 4


def test_content_decides_the_format_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    save(tmp_path / "a.png", PIXELS).rename(path)
    np.testing.assert_array_equal(read_image(str(path)), PIXELS)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_greyscale_gives_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    grey = PIXELS[..., 0]
    image = read_image(save(tmp_path / f"a.{suffix}", grey))
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=-1))


def test_bilevel_gives_black_and_white(tmp_path: Path) -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    image = read_image(save(tmp_path / "a.png", bits))
    np.testing.assert_array_equal(image[..., 1], np.where(bits, 255, 0))


def test_four_bit_grey_is_spread_over_the_range_as_png_defines(tmp_path: Path) -> None:
    path = raw_png(tmp_path / "a.png", depth=4, colour=0, rows=[b"\x01\x70", b"\xf2\x30"], size=(2, 3))
    np.testing.assert_array_equal(read_image(path)[..., 0], np.array([[0, 1, 7], [15, 2, 3]]) * 17)


def test_palette_gives_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png")[1], [[70, 80, 90], [40, 50, 60], [10, 20, 30]]
    )


def test_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    opaque = np.dstack([PIXELS, np.full((5, 7), 255, dtype=np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", opaque)), PIXELS)
    grey = read_image(save(tmp_path / "b.png", PIXELS[..., 0], mode="LA"))
    np.testing.assert_array_equal(grey, np.stack([PIXELS[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparent_pixels_are_refused_with_their_number(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((5, 7), 255, dtype=np.uint8)
    alpha[1, 2], alpha[4, 0] = 254, 0
    path = save(
        tmp_path / f"a.{suffix}",
        np.dstack([PIXELS, alpha]),
        **({"lossless": True} if suffix == "webp" else {}),
    )
    with pytest.raises(
        DataError, match=rf"a\.{suffix}: expected an opaque image, got 2 pixels with transparency"
    ):
        read_image(path)


def test_a_transparent_palette_entry_is_refused_where_it_is_used(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 1], [0, 0, 0]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "used.png", transparency=1)
    image.save(tmp_path / "unused.png", transparency=2)
    with pytest.raises(DataError, match="got 2 pixels with transparency"):
        read_image(tmp_path / "used.png")
    np.testing.assert_array_equal(read_image(tmp_path / "unused.png")[0, 0], [10, 20, 30])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.arange(12, dtype=np.uint16).reshape(3, 4) * 999)
    with pytest.raises(DataError, match=rf"a\.{suffix}: expected at most 8 bits a channel, got 16"):
        read_image(path)


def test_sixteen_bit_rgb_is_refused_where_pillow_would_squeeze_it(tmp_path: Path) -> None:
    rows = [struct.pack(">6H", *range(1000, 1600, 100)), struct.pack(">6H", *range(6))]
    path = raw_png(tmp_path / "a.png", depth=16, colour=2, rows=rows, size=(2, 2))
    with Image.open(path) as squeezed:
        assert squeezed.mode == "RGB"
    with pytest.raises(DataError, match="expected at most 8 bits a channel, got 16"):
        read_image(path)


def test_floating_point_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at most 8 bits a channel, got 32"):
        read_image(save(tmp_path / "a.tif", np.ones((3, 4), dtype=np.float32)))


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "CMYK"), ("tif", "CMYK"), ("tif", "LAB")])
def test_other_colour_spaces_are_refused(tmp_path: Path, suffix: str, mode: str) -> None:
    image = Image.new(mode, (4, 3))
    image.save(tmp_path / f"a.{suffix}")
    with pytest.raises(DataError, match=f"expected greyscale, palette or RGB, got {mode}"):
        read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_turned_pixels_are_refused(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / f"a.{suffix}", PIXELS, exif=exif)
    with pytest.raises(
        DataError, match=rf"a\.{suffix}: expected upright pixels, got orientation tag {orientation}"
    ):
        read_image(path)


@pytest.mark.parametrize("orientation", [0, 1])
def test_upright_and_unknown_orientation_are_read(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", PIXELS, exif=exif)), PIXELS)


def test_several_images_in_one_file_are_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)
    for name in ("a.png", "a.tif", "a.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(DataError, match=rf"{name}: expected one image in the file, got 2"):
            read_image(tmp_path / name)


def test_pictures_behind_the_first_in_a_jpeg_are_left(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 8), (10, 20, 30)), Image.new("RGB", (16, 8), (200, 100, 50))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").mean(axis=(0, 1)), (10, 20, 30), atol=2)


def test_colour_profiles_are_not_applied(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", PIXELS, pnginfo=info)), PIXELS)


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    path = raw_png(tmp_path / "a.png", depth=8, colour=2, rows=[], size=(30_000, 30_000))
    with pytest.raises(
        DataError, match=rf"a\.png: expected at most {images.MAX_PIXELS} pixels, got 30000 x 30000"
    ):
        read_image(path)


def test_images_that_pillow_only_warns_about_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
        pass
    np.testing.assert_array_equal(read_image(path), PIXELS)


# Damage

ENCODINGS = {
    "png": {},
    "jpg": {"quality": 90},
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "webp": {},
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("suffix", list(ENCODINGS))
def test_a_file_cut_off_anywhere_is_never_read_as_something_else(
    tmp_path: Path, suffix: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    noise = np.random.default_rng(5).integers(0, 256, (19, 31, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise, **ENCODINGS[suffix])
    data = path.read_bytes()
    for length in [*range(0, len(data) - 5, len(data) // 37), len(data) - 5]:
        path.write_bytes(data[:length])
        with pytest.raises(DataError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert lenient is ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_changed_byte_in_the_pixels_of_a_png_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", PIXELS)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: damaged or cut off, cannot be read as PNG"):
        read_image(path)


def test_damaged_metadata_is_an_error_and_not_a_warning(tmp_path: Path) -> None:
    head = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 9, 0x010F, 2, 400, 60)
    path = save(tmp_path / "a.jpg", PIXELS, exif=b"Exif\0\0" + head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"a\.jpg: damaged or cut off, cannot be read as JPEG: T"):
            read_image(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: the file is empty"):
        read_image(tmp_path / "a.png")


def test_text_with_the_suffix_of_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>not found</html>\n")
    with pytest.raises(
        DataError, match=r"a\.png: expected a PNG, JPEG, TIFF or WebP file, got .*b'<html>no'"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["bmp", "gif"])
def test_other_image_formats_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="expected a PNG, JPEG, TIFF or WebP file"):
        read_image(save(tmp_path / f"a.{suffix}", PIXELS[..., 0]))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cannot be read: "):
        read_image(tmp_path)


def test_threads_read_the_same_and_leave_the_global_switch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    paths = [save(tmp_path / f"{i}.png", PIXELS + np.uint8(i)) for i in range(8)]
    results: dict[int, np.ndarray] = {}

    def read(index: int) -> None:
        for _ in range(5):
            results[index] = read_image(paths[index])

    threads = [threading.Thread(target=read, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(8):
        np.testing.assert_array_equal(results[index], PIXELS + np.uint8(index))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


# Labels


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "packbits"}])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_labels_are_the_values_of_the_single_channel(
    tmp_path: Path, suffix: str, options: dict[str, object]
) -> None:
    path = save(tmp_path / f"a.{suffix}", LABELS, **(options if suffix == "tif" else {}))
    labels = labels_of(path)
    assert labels.dtype == np.uint8
    assert labels.flags.writeable
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_labels_of_a_palette_file_are_its_indices_not_its_colours(tmp_path: Path, bits: int) -> None:
    indices = LABELS % 4
    image = Image.fromarray(indices).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0, 9, 9, 9] + [1] * (3 * 2**bits - 9))
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "a.png", transparency=0)
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    np.testing.assert_array_equal(labels_of(tmp_path / "a.png", ignore=3), indices)


def test_labels_out_of_range_are_named_with_their_number(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", LABELS)
    with pytest.raises(
        DataError,
        match=r"a\.png: expected labels 0\.\.1 or 254 \(ignored\), got 4 pixels of label 2, 1 pixel of label 255$",
    ):
        labels_of(path, classes=2, ignore=254)


def test_of_many_labels_out_of_range_three_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.arange(10, 22, dtype=np.uint8).reshape(SIZE))
    with pytest.raises(DataError, match=r"label 10, .*label 11, .*label 12 and 9 more labels$"):
        labels_of(path)


def test_ids_are_replaced_by_what_they_stand_for(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.resize(np.array([7, 33, 0, 255], dtype=np.uint8), SIZE))
    ids = {7: 0, 33: 2, 0: 254, 255: 254}
    labels = labels_of(path, ignore=254, ids=ids)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.resize([0, 2, 254, 254], SIZE))
    with pytest.raises(DataError, match=r"a\.png: expected ids 0, 7..8, 255, got 3 pixels of label 33$"):
        labels_of(path, ids={7: 0, 8: 1, 0: 255, 255: 255})


@pytest.mark.parametrize("ids", [{256: 0}, {-1: 0}, {0: 3}, {0: 254}])
def test_ids_that_stand_for_no_class_are_a_programming_mistake(tmp_path: Path, ids: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="expected ids"):
        labels_of(save(tmp_path / "a.png", LABELS), ids=ids)


def test_another_size_than_the_image_is_refused_and_both_files_named(tmp_path: Path) -> None:
    path = save(tmp_path / "labels.png", LABELS)
    expected = (
        r"labels\.png: expected labels of 4 x 3 \(height x width\) like its image photo\.jpg, got 3 x 4"
    )
    with pytest.raises(DataError, match=expected):
        labels_of(path, size=(4, 3), image="photo.jpg")


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("LA", 2)])
def test_colour_coded_labels_are_refused(tmp_path: Path, mode: str, channels: int) -> None:
    path = save(tmp_path / "a.png", LABELS, mode=mode)
    with pytest.raises(DataError, match=f"expected class indices in one channel, got {channels} channels"):
        labels_of(path)


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "L"), ("webp", "RGB")])
def test_labels_in_a_lossy_format_are_refused(tmp_path: Path, suffix: str, mode: str) -> None:
    path = save(tmp_path / f"a.{suffix}", LABELS, mode=mode)
    with pytest.raises(DataError, match=r"expected labels in a lossless PNG or TIFF, got (JPEG|WEBP)"):
        labels_of(path)


def test_labels_in_a_tiff_compressed_as_jpeg_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", LABELS, compression="jpeg")
    with pytest.raises(
        DataError, match="expected labels in a lossless PNG or TIFF, got TIFF that changes values"
    ):
        labels_of(path)


def test_sixteen_bit_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at most 8 bits a channel, got 16"):
        labels_of(save(tmp_path / "a.png", LABELS.astype(np.uint16)))


def test_grey_labels_of_fewer_bits_are_refused_because_readers_stretch_them(tmp_path: Path) -> None:
    bits = save(tmp_path / "one.png", LABELS > 0)
    with pytest.raises(DataError, match=r"one\.png: expected 8 bits a label, got 1"):
        labels_of(bits)
    four = raw_png(tmp_path / "four.png", depth=4, colour=0, rows=[b"\x01\x20", b"\x21\x00"], size=(2, 3))
    with pytest.raises(DataError, match=r"four\.png: expected 8 bits a label, got 4"):
        labels_of(four, size=(2, 3))


def test_labels_in_a_tiff_with_zero_as_white_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", LABELS, tiffinfo={262: 0})
    with Image.open(path) as inverted:
        assert inverted.tag_v2[262] == 0  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="expected 0 to be black"):
        labels_of(path)


def test_signed_labels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", LABELS, tiffinfo={339: 2})
    with pytest.raises(DataError, match="expected unsigned integers"):
        labels_of(path)


def test_turned_labels_are_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3
    with pytest.raises(DataError, match="expected upright pixels, got orientation tag 3"):
        labels_of(save(tmp_path / "a.png", LABELS, exif=exif))


@pytest.mark.parametrize(("classes", "ignore"), [(0, 255), (3, 2), (256, 255), (3, 256)])
def test_impossible_classes_are_a_programming_mistake(tmp_path: Path, classes: int, ignore: int) -> None:
    path = save(tmp_path / "a.png", LABELS)
    with pytest.raises(ValueError, match="expected 1 <= classes <= ignore <= 255"):
        labels_of(path, classes=classes, ignore=ignore)
