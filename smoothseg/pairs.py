"""Which image belongs to which annotation, and under which key: datasets that are folders of files.

Most published datasets keep images in one folder and annotations in another of the same shape. A plugin says which
folders these are, how the names of the files end, and what the labels mean; the rest is the same for all:

- `matched` pairs the files of two folders, `listed` those that a list names. Nothing is decoded.
- What does not fit is a *problem*, a line that begins with what is wrong and names the file: an image without
  annotation, an annotation without image, a listed image that is not there, a name that is no key, two images of one
  key. `complete` raises the problems of a dataset as one `IncompleteError`.
- `Paired` is the dataset: it reads image and annotation, and refuses labels without a meaning.
- `Origin` tells a user who lacks the data what is expected where, where to get it, and under which terms.

Files whose name begins with a dot are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from smoothseg.errors import DataError, IncompleteError
from smoothseg.images import Pixels, read_image, read_labels
from smoothseg.palettes import Colour
from smoothseg.protocols import Sample

__all__ = [
    "KEY",
    "Found",
    "Origin",
    "Pair",
    "Paired",
    "checked",
    "complete",
    "form",
    "key_of",
    "lines",
    "listed",
    "matched",
    "thinned",
]

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""What a key looks like: it becomes part of file names."""

_OTHER = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 120


def key_of(relative: Path) -> str:
    """Return the key of the image with this relative path, the same on every file system.

    It is the path without suffix, its `/` written `__`. Every other character that is not an ASCII letter, digit, `-`,
    `_` or `.` becomes `_`; what is longer than 120 characters is cut there; and whatever was changed so gets `-` and
    the first 12 hexadecimal digits of the sha256 of the path without suffix (in Unicode's form NFC).
    """
    stem = unicodedata.normalize("NFC", relative.with_suffix("").as_posix())
    flat = stem.replace("/", "__")
    key = _OTHER.sub("_", flat)[:_LONGEST]
    return (
        key
        if key == flat
        else f"{key}-{hashlib.sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
    )


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
        """Return both, one after the other. Their keys must be told apart beforehand, by a prefix."""
        return Found(self.pairs + other.pairs, self.problems + other.problems)


@dataclasses.dataclass(frozen=True, eq=False)
class Paired:
    """The images of `pairs` with their labels, in that order.

    classes, palette, ignore: as in `smoothseg.Dataset`. licence: terms of the data, in a line.
    ids: what the values in an annotation stand for, see `smoothseg.images.read_labels`; None: classes themselves.
    read: how an annotation becomes labels, uint8 (H, W), where it is no label map; it is given the pair and the
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


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a dataset comes from, for the errors about what is not there.

    component: its name in a spec. title: its name in words. source: what is expected in `root`, where to get it and
    under which terms, in one line that follows a colon.
    """

    component: str
    title: str
    source: str

    def missing(self, what: str) -> DataError:
        """Return the error that says what is missing and where to get it."""
        return DataError(f"{what}: {self.source}")

    def folder(self, root: str | Path | None) -> Path:
        """Return the folder `root`; raise `DataError` if it is not given or not there."""
        if root is None:
            raise self.missing(f"dataset '{self.component}' needs root=FOLDER")
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise self.missing(f"no {self.title} folder {folder}")
        return folder

    def inside(self, folder: Path, *names: str, split: str | None = None) -> tuple[Path, ...]:
        """Return the subfolders `names` of `folder`; raise `DataError` for the first that is not there."""
        for name in names:
            if not (folder / name).is_dir():
                part = self.title if split is None else f"{self.title} split '{split}'"
                raise self.missing(f"no {part} in {folder}, {name}/ is missing")
        return tuple(folder / name for name in names)

    def some(self, found: Found, folder: Path, split: str | None = None) -> Found:
        """Return `found`; raise `DataError` if there is neither a pair nor a problem."""
        if not found.pairs and not found.problems:
            part = self.title if split is None else f"the {self.title} split '{split}'"
            raise self.missing(f"no images in {part} of {folder}")
        return found


def matched(
    images: Path,
    annotations: Path | None,
    *,
    image: str,
    annotation: str = "",
    without: str | None = None,
    depth: int = 0,
    prefix: str = "",
) -> Found:
    """Return the pairs of two folders of the same shape, sorted by path.

    image, annotation: how the names of the files end, such as `_leftImg8bit.png`; what is before is the same for both.
    without: an ending that also ends in `annotation` but belongs to other files.
    annotations: None for images without labels.
    depth: how many folders lie between `images` and its files, a city or a sequence for instance.
    prefix: what keys begin with; the name of the file without its ending follows.
    """
    names = _names(images, image, depth)
    if annotations is None:
        return checked([_pair(prefix, name, images, image, None, "") for name in names])
    others = _names(annotations, annotation, depth, without)
    found = checked([_pair(prefix, name, images, image, annotations, annotation) for name in names])
    alone = [
        f"no image {_file(images, name, image)} for the annotation {_file(annotations, name, annotation)}"
        for name in sorted(set(others) - set(names))
    ]
    return Found(found.pairs, found.problems + tuple(alone))


def listed(
    listing: Path,
    images: Path,
    annotations: Path | None,
    *,
    image: str,
    annotation: str = "",
) -> Found:
    """Return the pairs that the text file `listing` names, one a line, in its order.

    A line is the name of a file, with or without the ending `image`. Raises `DataError` for a line of another form.
    """
    pairs = []
    for number, line in lines(listing):
        name = line.removesuffix(image)
        if not KEY.fullmatch(name):
            raise DataError(f"{listing}, line {number}: expected the name of an image, got '{line}'")
        pairs.append(_pair("", (name,), images, image, annotations, annotation))
    return checked(pairs, listing=listing)


def lines(listing: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file that are not empty, stripped, with their numbers from 1."""
    try:
        text = listing.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: cannot be read as text: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def checked(pairs: Iterable[Pair], *, listing: Path | None = None) -> Found:
    """Return the pairs whose files are there and whose keys are fit and unlike, and a problem for each other one.

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
        elif (same := pair.key.casefold()) in good:  # some file systems take no notice of case
            problems.append(f"two images have the name '{pair.key}': {good[same].image} and {pair.image}")
        else:
            good[same] = pair
    return Found(tuple(good.values()), tuple(problems))


def complete(dataset: Paired, problems: Iterable[str]) -> Paired:
    """Return `dataset`, or raise `IncompleteError` with it as the rest if there are problems."""
    if found := tuple(problems):
        raise IncompleteError(found, dataset)
    return dataset


def thinned(dataset: Paired, *, every: int, count: int, whole: int, name: str) -> Paired:
    """Return samples 0, `every`, 2 `every`, ... of `dataset`, `count` of them.

    Raises `DataError` unless the dataset has `whole` samples: of another number these would be other images than
    the ones that the subset `name` stands for.
    """
    if len(dataset) != whole:
        raise DataError(f"{name} is a part of {whole} images, but there are {len(dataset)}")
    return dataclasses.replace(dataset, pairs=dataset.pairs[::every][:count])


def form(annotations: Path, forms: Mapping[str, str], chosen: str, *, depth: int, origin: Origin) -> str:
    """Return which of several forms of annotation to read: `chosen`, or for `auto` the first that is there.

    forms: name to how the names of its files end. Raises `DataError` if none is there.
    """
    if chosen != "auto":
        return chosen
    for name, end in forms.items():
        if _names(annotations, end, depth, _longer(forms, end)):
            return name
    raise origin.missing(f"no annotations in {annotations}, expected files *{' or *'.join(forms.values())}")


def _longer(forms: Mapping[str, str], end: str) -> str | None:
    """Return the ending of another form that also ends in `end`."""
    return next((other for other in forms.values() if other != end and other.endswith(end)), None)


def _names(folder: Path, end: str, depth: int, without: str | None = None) -> list[tuple[str, ...]]:
    """Return what the paths of the files are called, part by part and without `end`, sorted."""
    found = []
    for path in folder.glob("/".join(["*"] * (depth + 1)) + end):
        parts = path.relative_to(folder).parts
        if without is not None and path.name.endswith(without):
            continue
        if not any(part.startswith(".") for part in parts):
            found.append((*parts[:-1], parts[-1].removesuffix(end)))
    return sorted(found)


def _file(folder: Path, name: tuple[str, ...], end: str) -> Path:
    return folder.joinpath(*name[:-1], name[-1] + end)


def _pair(
    prefix: str, name: tuple[str, ...], images: Path, image: str, annotations: Path | None, annotation: str
) -> Pair:
    other = None if annotations is None else _file(annotations, name, annotation)
    return Pair(prefix + name[-1], _file(images, name, image), other)
