"""Image files with their annotation files, each pair under a key, as a dataset.

`Paired` is the dataset. It reads image and annotation, and refuses undefined labels. A *problem* is a line that says
what is wrong and names the file: an image without annotation, an annotation without image, a listed image that is not
there, a name that is no key, two images of one key. `require_complete` raises the problems of a dataset as one
`IncompleteError`. `folders.py` finds the pairs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from smoothseg.data.images import Pixels, read_image, read_labels
from smoothseg.data.keys import KEY
from smoothseg.data.palettes import Colour
from smoothseg.errors import DataError, IncompleteError
from smoothseg.protocols import Sample

__all__ = ["Found", "Pair", "Paired", "check_pairs", "evenly_spaced", "require_complete"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file under its key, and its annotation file; None where there are no labels."""

    key: str
    image: Path
    annotation: Path | None


@dataclasses.dataclass(frozen=True)
class Found:
    """The pairs that can be used, in order, and one line for everything that cannot."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()

    def __add__(self, other: Found) -> Found:
        """Return both, one after the other. Their keys must already differ, for example by a prefix."""
        return Found(self.pairs + other.pairs, self.problems + other.problems)


@dataclasses.dataclass(frozen=True, eq=False)
class Paired:
    """The images of `pairs` with their labels, in that order.

    classes, palette, ignore: as in `smoothseg.Dataset`. licence: terms of the data, in a line.
    ids: what the values in an annotation stand for, see `smoothseg.data.read_labels`; None: classes themselves.
    read: how an annotation becomes labels, uint8 (H, W), if it is not a label map; it receives the pair and the
        image's (H, W) and raises `DataError`. None: it is a label map.
    """

    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore: int
    licence: str
    ids: Mapping[int, int] | None = None
    read: Callable[[Pair, tuple[int, int]], Pixels] | None = None

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of every pair, in order."""
        return tuple(pair.key for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Return image and labels; raise `DataError` for a file that cannot be used as it is."""
        pair = self.pairs[index]
        image = read_image(pair.image)
        size = (image.shape[0], image.shape[1])
        if pair.annotation is None:
            return Sample(pair.key, image)
        if self.read is not None:
            return Sample(pair.key, image, self.read(pair, size))
        labels = read_labels(
            pair.annotation,
            classes=len(self.classes),
            ignore=self.ignore,
            size=size,
            image=pair.image,
            ids=self.ids,
        )
        return Sample(pair.key, image, labels)


def check_pairs(pairs: Iterable[Pair], *, listing: Path | None = None) -> Found:
    """Return the pairs whose files exist and whose keys are valid and unique, and a problem for each other pair.

    listing: the file that names the images, for the message.
    """
    good: dict[str, Pair] = {}
    problems = []
    for pair in pairs:
        if not pair.image.is_file():
            problems.append(
                f"no image {pair.image}" + (f", though {listing.name} lists it" if listing else "")
            )
        elif pair.annotation is not None and not pair.annotation.is_file():
            problems.append(f"no annotation {pair.annotation} for the image {pair.image}")
        elif not KEY.fullmatch(pair.key):
            problems.append(f"{pair.image}: expected a name of letters, digits, '-', '_' and '.'")
        elif (same := pair.key.casefold()) in good:  # some file systems ignore case
            problems.append(f"two images have the name '{pair.key}': {good[same].image} and {pair.image}")
        else:
            good[same] = pair
    return Found(tuple(good.values()), tuple(problems))


def require_complete(dataset: Paired, problems: Iterable[str]) -> Paired:
    """Return `dataset`, or raise `IncompleteError` with it as the rest if there are problems."""
    if found := tuple(problems):
        raise IncompleteError(found, dataset)
    return dataset


def evenly_spaced(dataset: Paired, *, every: int, count: int, whole: int, name: str) -> Paired:
    """Return samples 0, `every`, 2 `every`, ... of `dataset`, `count` of them.

    Raises `DataError` unless the dataset has `whole` samples: with another number these would not be the images of
    the subset `name`.
    """
    if len(dataset) != whole:
        raise DataError(f"{name} is a part of {whole} images, but there are {len(dataset)}")
    return dataclasses.replace(dataset, pairs=dataset.pairs[::every][:count])
