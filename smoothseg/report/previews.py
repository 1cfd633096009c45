"""Which small pictures a run keeps, so that its report can be written without networks and dataset.

RUN/
  legend.json                                 the classes' colours and the label that metrics leave out
  previews/KEY/image.jpg                      the input, reduced
  previews/KEY/labels.png                     the ground truth at full size, class indices with a palette
  previews/KEY/noisy/sigma-S.jpg              the first noise sample; the same for every method
  previews/KEY/denoised/METHOD/sigma-S.jpg    what the segmenter saw of it
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from smoothseg.data.images import MAX_BYTES, MAX_PIXELS
from smoothseg.errors import DataError
from smoothseg.files import read_bytes, read_json, write_atomically
from smoothseg.protocols import KEY

__all__ = [
    "LONGEST",
    "complete",
    "denoised_path",
    "image_path",
    "labels_path",
    "noisy_path",
    "read_labels",
    "read_legend",
    "reduced",
    "save_image",
    "save_view",
    "thinned",
    "write_legend",
]

Palette: TypeAlias = Sequence[tuple[int, int, int]]
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]
_Scalar = TypeVar("_Scalar", bound=np.generic)

LONGEST = 640
"""The longer side of a preview in pixels, at most."""

_QUALITY = {"photo": 88, "noise": 75}
"""JPEG quality. Noise takes several times the space of a photograph, and nobody looks at its single pixels."""


def image_path(directory: Path, key: str) -> Path:
    """Return where the input of image `key` is kept."""
    return _folder(directory, key) / "image.jpg"


def labels_path(directory: Path, key: str) -> Path:
    """Return where the ground truth of image `key` is kept."""
    return _folder(directory, key) / "labels.png"


def noisy_path(directory: Path, key: str, sigma: float) -> Path:
    """Return where the noisy input of image `key` at `sigma` is kept."""
    return _folder(directory, key) / "noisy" / f"sigma-{sigma}.jpg"


def denoised_path(directory: Path, key: str, method: str, sigma: float) -> Path:
    """Return where the denoised input of image `key` is kept; `method` is the method's folder name."""
    return _folder(directory, key) / "denoised" / _name(directory, method) / f"sigma-{sigma}.jpg"


def _folder(directory: Path, key: str) -> Path:
    return directory / "previews" / _name(directory, key)


def _name(directory: Path, key: str) -> str:
    """Return `key`; raise `DataError` if it could lead out of the run, which others may have written."""
    if not KEY.fullmatch(key):
        raise DataError(f"{directory}: {key!r} is no key of an image and no folder of a method")
    return key


def complete(directory: Path, key: str, method: str, sigmas: Iterable[float], *, labelled: bool) -> bool:
    """Return whether every preview of image `key` for `method` is there."""
    wanted = [image_path(directory, key), *([labels_path(directory, key)] if labelled else [])]
    for sigma in sigmas:
        wanted += [noisy_path(directory, key, sigma), denoised_path(directory, key, method, sigma)]
    return all(path.exists() for path in wanted)


def save_image(
    directory: Path,
    key: str,
    image: Pixels,
    labels: npt.NDArray[np.integer[Any]] | None,
    palette: Palette,
    ignore: int | None,
) -> None:
    """Keep the input (H, W, 3), reduced, and the ground truth (H, W), uint8, at full size; None without one.

    palette: a colour for each class, for the palette of the file; `ignore` becomes black.
    """
    write_atomically(image_path(directory, key), _jpeg(image, Image.Resampling.LANCZOS, "photo"))
    if labels is not None:
        picture = Image.fromarray(labels.astype(np.uint8))
        colours = [*palette[:256], *[(0, 0, 0)] * (256 - len(palette))]
        if ignore is not None and ignore < 256:
            colours[ignore] = (0, 0, 0)
        picture.putpalette([channel for colour in colours for channel in colour])
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        write_atomically(labels_path(directory, key), buffer.getvalue())


def save_view(directory: Path, key: str, method: str, sigma: float, noisy: Pixels, denoised: Pixels) -> None:
    """Keep a noisy input and what became of it, both (h, w, 3) about [0, 1], reduced and clipped."""
    # Averaging would show less noise than the network gets.
    write_atomically(noisy_path(directory, key, sigma), _jpeg(noisy, Image.Resampling.NEAREST, "noise"))
    path = denoised_path(directory, key, method, sigma)
    write_atomically(path, _jpeg(denoised, Image.Resampling.LANCZOS, "photo"))


def read_labels(directory: Path, key: str) -> npt.NDArray[np.uint8] | None:
    """Return the ground truth (H, W) of image `key`, or None if none was kept."""
    path = labels_path(directory, key)
    if not path.exists():
        return None
    try:
        content = read_bytes(path, MAX_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of sizes that Pillow finds suspicious
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"it has {picture.height} x {picture.width} pixels")
                return np.asarray(picture, dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file makes its reader do is not for Pillow to foresee
        raise DataError(f"{path} cannot be read: {error}") from None


def thinned(array: npt.NDArray[_Scalar], longest: int = LONGEST) -> npt.NDArray[_Scalar]:
    """Return `array` (H, W), or a grid of its pixels that is at most `longest` on its longer side.

    The pixels are kept as they are: a mixture of two classes or counts would be a third.
    """
    height, width = reduced(array.shape[0], array.shape[1], longest)
    rows = (np.arange(height) * 2 + 1) * array.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * array.shape[1] // (2 * width)
    found: npt.NDArray[_Scalar] = array[rows[:, None], columns]
    return found


def reduced(height: int, width: int, longest: int = LONGEST) -> tuple[int, int]:
    """Return the height and width of the preview of an image of that size; a small image keeps its own."""
    longer = max(height, width)
    if longer <= longest:
        return height, width
    return max(1, round(height * longest / longer)), max(1, round(width * longest / longer))


def write_legend(directory: Path, palette: Palette | None, ignore: int | None) -> None:
    """Keep the dataset's colours, one for each class, and its ignored label; None for a dataset without classes."""
    plain = {"palette": None if palette is None else [list(colour) for colour in palette], "ignore": ignore}
    write_atomically(directory / "legend.json", (json.dumps(plain) + "\n").encode())


def read_legend(directory: Path) -> tuple[list[tuple[int, int, int]] | None, int | None]:
    """Return the dataset's colours and its ignored label; None where the run keeps none."""
    path = directory / "legend.json"
    if not path.exists():
        return None, None
    try:
        plain = read_json(path)
        colours, ignore = plain["palette"], plain["ignore"]
        palette = None if colours is None else [(int(r), int(g), int(b)) for r, g, b in colours]
        return palette, None if ignore is None else int(ignore)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error!r}") from None


def _jpeg(pixels: Pixels, resample: Image.Resampling, kind: str) -> bytes:
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    height, width = reduced(picture.height, picture.width)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), resample)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY[kind], subsampling=0 if kind == "photo" else 2)
    return buffer.getvalue()
