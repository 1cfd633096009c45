"""Which pixels have which class, by `trainval_merged.json`, the annotation of PASCAL in Detail.

The file is one JSON object. Two of its parts are used:

- `images`: for each image `image_id`, `file_name`, `height`, `width` and `phase` (`train` or `val`);
- `annos_segmentation`: for each region `image_id`, `category_id` and `segmentation`, a mask of the image's size in the
  run-length code of COCO: `size` is [height, width], `counts` the lengths of alternating runs of zeros and ones, zeros
  first, column by column, as a list or packed into a string.

As in the authors' `detail` API (`Detail.getMask`), regions are painted in the order of the file, later ones over
earlier ones, and pixels that no region covers are background.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg import DataError
from smoothseg.data import Found, Pair, Pixels, check_pairs, parse_json, read_bytes
from smoothseg_pascal_context.legend import CATEGORIES

__all__ = ["NAME", "Annotation", "Region", "decoded", "lengths", "load"]

NAME = "trainval_merged.json"

_LONGEST = 40
"""Bits of the longest number in a run-length code: more than the pixels of any image need."""

LARGEST = 2**31
"""Bytes of the largest annotation that is read."""


@dataclasses.dataclass(frozen=True)
class Region:
    """Pixels of one category: its id, and the run-length code of a mask of the image's size."""

    category: int
    size: tuple[int, int]
    counts: str | Sequence[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """The images of a split by file name, in the order of the file, with the regions of each."""

    path: Path
    images: Mapping[str, tuple[Region, ...]]

    def found(self, folder: Path) -> Found:
        """Return the images in `folder`; their annotation is the file as a whole."""
        pairs = [Pair(Path(name).stem, folder / name, self.path) for name in self.images]
        return check_pairs(pairs, listing=self.path)

    def reader(self, ids: Mapping[int, int] | None) -> Callable[[Pair, tuple[int, int]], Pixels]:
        """Return what reads the labels of an image, as `smoothseg.data.pairs.Paired` wants it.

        ids: the label of each value 0 (background) to 59; None: the value itself.
        """
        table = np.arange(256, dtype=np.uint8)
        for value, label in (ids or {}).items():
            table[value] = label

        def read(pair: Pair, size: tuple[int, int]) -> Pixels:
            try:
                return table[self.labels(pair.image.name, size)]
            except DataError as error:
                raise DataError(f"{self.path}, image {pair.image.name}: {error}") from None

        return read

    def labels(self, name: str, size: tuple[int, int]) -> Pixels:
        """Return the values of the image `name`, uint8 (H, W): 0 is background, then the 59 classes."""
        values: Pixels = np.zeros(size, dtype=np.uint8)
        for region in self.images[name]:
            if region.category not in CATEGORIES:
                raise DataError(f"expected one of the 59 classes, got category {region.category}")
            if region.size != size:
                raise DataError(
                    f"expected masks of {size[0]} x {size[1]} (height x width) like the image, got "
                    f"{region.size[0]} x {region.size[1]}"
                )
            values[decoded(region.counts, size)] = CATEGORIES[region.category]
        return values


def load(path: Path, split: str) -> Annotation:
    """Return the annotation of the images of `split` (`phase` in the file) in the JSON file `path`.

    Raises `DataError` if it is not such a file. It is read whole, which takes a while and some gigabytes of memory.
    """
    try:
        content = parse_json(read_bytes(path, LARGEST))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    try:
        names = {
            image["image_id"]: image["file_name"] for image in content["images"] if image["phase"] == split
        }
        regions: dict[str, list[Region]] = {name: [] for name in names.values()}
        for item in content["annos_segmentation"]:
            if item["image_id"] in names:
                regions[names[item["image_id"]]].append(_region(item))
        if stray := [name for name in regions if Path(name).name != name]:
            raise ValueError(f"the image {stray[0]!r} is no file name")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not an annotation of PASCAL in Detail: {error!r}") from error
    return Annotation(path, {name: tuple(found) for name, found in regions.items()})


def _region(item: Mapping[str, Any]) -> Region:
    height, width = item["segmentation"]["size"]
    counts = item["segmentation"]["counts"]
    runs = counts if isinstance(counts, str) else tuple(int(run) for run in counts)
    return Region(int(item["category_id"]), (int(height), int(width)), runs)


def decoded(counts: str | Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask, bool (H, W), of a run-length code of COCO; raise `DataError` if it is not one of this size."""
    runs = lengths(counts) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise DataError(f"expected runs that fill {size[0]} x {size[1]} pixels, got {sum(runs)}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size, order="F")


def lengths(text: str) -> list[int]:
    """Return the run lengths that COCO packs into a string; raise `DataError` if it is not one.

    Each character minus 48 has six bits: five of the number, lowest first, and one that says whether more follow. The
    number is signed, and from the fourth on it is the difference from the length two before.
    """
    found: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"expected a run-length code, got the character {character!r} in it")
        number |= (bits & 31) << shift
        shift += 5
        if shift > _LONGEST:
            raise DataError("expected a run-length code, got a number of too many digits in it")
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        found.append(number + found[-2] if len(found) > 2 else number)
        number = shift = 0
    if shift:
        raise DataError("expected a run-length code, got one that is cut off")
    return found
