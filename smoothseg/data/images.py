"""What array a file holds: an image as RGB, or a label map as class indices; or why it cannot be used.

A file is recognised by its content, not by its suffix: PNG, JPEG, TIFF and WebP are read, in 8 bits a channel.
Anything that needs a guess is refused with a one-line `DataError` that begins with the path:

- **damage**: a file that is cut off, or that Pillow warns about or cannot decode; Pillow's switch
  `LOAD_TRUNCATED_IMAGES` changes nothing here, the missing part of an image is never filled with grey. A PNG has
  checksums, and all of them are compared. The other formats have none: a changed byte amid a JPEG may pass as
  other pixels, and only the image digest in the certificate reveals it.
- **orientation**: an EXIF, XMP or TIFF orientation other than 1 (0, "unknown", counts as none). Some
  tools rotate such an image and some do not, and its label map does not say which tool its author used.
- **depth**: more than 8 bits a channel. Reducing to 8 bits needs a choice of range that only the owner can make.
- **transparency**: a pixel that is not fully opaque has no colour without a background. An alpha channel that
  is opaque everywhere is dropped.
- **colour spaces** other than grey, palette and RGB (CMYK, Lab, YCbCr). Colour profiles and gamma are not
  applied: values are used as stored.
- **several images in a file** (TIFF pages, animated PNG or WebP). A JPEG with further pictures behind the
  first, as cameras write them, is read as the first, which its format defines to be the image.
- **size**: more than `MAX_PIXELS` pixels, according to the header, before anything is decoded; more than `MAX_BYTES`
  bytes, before anything is read.
- **no file**: a pipe, a socket or a device.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, ImageFile, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from smoothseg.errors import DataError
from smoothseg.files import read_bytes

__all__ = ["MAX_BYTES", "MAX_PIXELS", "SUFFIXES", "read_image", "read_labels"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
"""The suffixes, in lower case, of the files to read with `read_image` when a folder is listed."""

MAX_PIXELS = 2**27
"""The largest image that is decoded, in pixels: 8192 x 16384. A larger header is assumed damaged or hostile."""

MAX_BYTES = 2**30
"""The largest image file that is read: more than an uncompressed image of `MAX_PIXELS` pixels with transparency."""

Pixels = npt.NDArray[np.uint8]

# Pillow's own `Image.open` warns about large images according to a global limit and picks among dozens of
# formats; the classes of the four formats are used directly instead.
_DECODERS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
)
_COLOUR_MODES = {"1", "L", "P", "RGB", "LA", "PA", "RGBA"}
# None, LZW, Deflate (both numbers), PackBits, LZMA, Zstandard: TIFF compressions that keep every value.
_LOSSLESS = {1, 5, 8, 32946, 32773, 34925, 50000}
_UNSIGNED = 1
_WHITE_IS_ZERO = 0

_lock = threading.Lock()


def read_image(path: str | Path) -> Pixels:
    """Return the image in the file `path`, uint8 (H, W, 3), RGB.

    Greyscale gives three equal channels (1, 2 and 4 bits are spread over 0..255 as the formats define),
    a palette its colours. The top of this module lists what is refused with `DataError`.
    """
    return _read(Path(path), _colours)


def read_labels(
    path: str | Path,
    *,
    classes: int,
    ignore: int,
    size: tuple[int, int],
    image: str | Path | None = None,
    ids: Mapping[int, int] | None = None,
) -> Pixels:
    """Return the label map in the file `path`, uint8 (H, W), every value in 0..classes-1 or `ignore`.

    classes: the number of classes, 1..255. ignore: classes..255.
    size: (H, W) of the image that the labels belong to; `image` is its path, for the message.
    ids: the class, or `ignore`, that each value in the file stands for; a value that is not in it is refused. None:
        the file holds classes and `ignore` themselves.

    The file holds raw indices in one channel of 8 bits, or a palette, whose indices (not its colours) are the
    labels. Only PNG and TIFF without loss can: JPEG and WebP change values. Anything else, another size and
    every undefined value raise `DataError`.
    """
    if not 1 <= classes <= ignore <= 255:
        raise ValueError(f"expected 1 <= classes <= ignore <= 255, got classes={classes}, ignore={ignore}")
    meaning = {label: label for label in (*range(classes), ignore)} if ids is None else ids
    for value, label in meaning.items():
        if not 0 <= value <= 255 or not (0 <= label < classes or label == ignore):
            raise ValueError(f"expected ids 0..255 that stand for a class or ignore, got {value}: {label}")
    labels = _read(Path(path), _indices)
    if labels.shape != tuple(size):
        owner = "its image" if image is None else f"its image {image}"
        raise DataError(
            f"{path}: expected labels of {size[0]} x {size[1]} (height x width) like {owner}, "
            f"got {labels.shape[0]} x {labels.shape[1]}"
        )
    counts = np.bincount(labels.ravel(), minlength=256).tolist()
    wrong = [value for value in range(256) if counts[value] and value not in meaning]
    if wrong:
        shown = ", ".join(f"{counts[v]} pixel{'s' * (counts[v] != 1)} of label {v}" for v in wrong[:3])
        more = f" and {len(wrong) - 3} more labels" if len(wrong) > 3 else ""
        known = f"labels 0..{classes - 1} or {ignore} (ignored)" if ids is None else f"ids {_ranges(ids)}"
        raise DataError(f"{path}: expected {known}, got {shown}{more}")
    if ids is None:
        return labels
    table = np.full(256, ignore, dtype=np.uint8)
    table[list(ids)] = list(ids.values())
    return table[labels]


def _ranges(values: Iterable[int]) -> str:
    """Write integers as `0..33, 255`."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}" if first == last else f"{first}..{last}" for first, last in runs)


def _read(path: Path, pixels: Callable[[ImageFile.ImageFile, bytes], Pixels]) -> Pixels:
    """Return what `pixels` makes of the opened file; every failure is a `DataError` that begins with `path`."""
    try:
        data = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    kind = _kind(path, data)
    try:
        with _strict():
            if kind is PngImageFile:
                # Decoding stops at the last row and skips checksums; this compares all of them, to the end.
                kind(io.BytesIO(data)).verify()
            image = kind(io.BytesIO(data))
            _refuse(image, data)
            return pixels(image, data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make the decoders raise errors of every type
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged or cut off, cannot be read as {kind.format}: {why}") from error


def _kind(path: Path, data: bytes) -> type[ImageFile.ImageFile]:
    if not data:
        raise DataError(f"{path}: the file is empty")
    for signature, kind in _DECODERS:
        if signature.match(data):
            return kind
    raise DataError(f"{path}: expected a PNG, JPEG, TIFF or WebP file, got one that begins with {data[:8]!r}")


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Turn Pillow's warnings into errors and its leniency off; for one thread at a time, because both are global."""
    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        lenient = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _refuse(image: ImageFile.ImageFile, data: bytes) -> None:
    """Raise for anything that neither an image nor a label map may be; decode nothing before the size is known."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"expected at most {MAX_PIXELS} pixels, got {height} x {width}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"expected one image in the file, got {frames}")
    bits = _bits(image, data)
    if bits > 8:
        raise DataError(
            f"expected at most 8 bits a channel, got {bits}; convert it with a range of your choice"
        )
    if _tag(image, TiffImagePlugin.SAMPLEFORMAT, _UNSIGNED) != _UNSIGNED:
        raise DataError("expected unsigned integers, got a TIFF with signed or floating-point samples")
    # Read before decoding, because Pillow turns a TIFF while it decodes.
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation not in (0, 1):
        raise DataError(
            f"expected upright pixels, got orientation tag {orientation}; turn the pixels and drop the tag"
        )


def _bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Return the bits a channel in the file; Pillow's mode does not tell (16-bit RGB is squeezed on reading)."""
    if isinstance(image, PngImageFile):
        return data[24]  # signature 8, length 4, "IHDR" 4, width 4, height 4, then the depth
    return _tag(image, TiffImagePlugin.BITSPERSAMPLE, 1 if _is_tiff(image) else 8)


def _tag(image: ImageFile.ImageFile, tag: int, default: int) -> int:
    """Return the largest value of a TIFF tag, or `default` for other formats and where it is absent."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return default
    value = image.tag_v2.get(tag, default)
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _is_tiff(image: ImageFile.ImageFile) -> bool:
    return isinstance(image, TiffImagePlugin.TiffImageFile)


def _colours(image: ImageFile.ImageFile, data: bytes) -> Pixels:
    if image.mode not in _COLOUR_MODES:
        raise DataError(f"expected greyscale, palette or RGB, got {image.mode}; convert it to RGB")
    image.load()
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"), dtype=np.uint8)
    pixels = np.array(image.convert("RGBA"), dtype=np.uint8)
    transparent = int(np.count_nonzero(pixels[..., 3] != 255))
    if transparent:
        raise DataError(
            f"expected an opaque image, got {transparent} pixel{'s' * (transparent != 1)} with "
            f"transparency; put it on a background"
        )
    return np.ascontiguousarray(pixels[..., :3])


def _indices(image: ImageFile.ImageFile, data: bytes) -> Pixels:
    if isinstance(image, JpegImageFile | WebPImageFile) or (
        _tag(image, TiffImagePlugin.COMPRESSION, 1) not in _LOSSLESS
    ):
        raise DataError(f"expected labels in a lossless PNG or TIFF, got {image.format} that changes values")
    if image.mode != "P":
        channels = len(image.getbands())
        if channels != 1:
            raise DataError(f"expected class indices in one channel, got {channels} channels ({image.mode})")
        bits = _bits(image, data)
        if image.mode != "L" or bits != 8:
            raise DataError(
                f"expected 8 bits a label, got {bits} ({image.mode}), which readers stretch to 0..255"
            )
        if _is_tiff(image) and _tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1) == _WHITE_IS_ZERO:
            raise DataError("expected 0 to be black, got a TIFF with 0 as white, which readers invert")
    return np.array(image, dtype=np.uint8)
