"""Which image belongs to which annotation, and under which key: datasets that are folders of files.

Most published datasets keep images in one folder and annotations in another of the same shape. A plugin says which
folders these are, how the file names end, and what the labels mean. The rest is the same for all:

- `matched` pairs the files of two folders; `listed` pairs those that a list names. Neither decodes an image.
- `Origin` tells a user without the data which files are expected, where to get them, and under which terms.

Files whose names begin with a dot are ignored.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from smoothseg.data.keys import KEY
from smoothseg.data.pairs import Found, Pair, check_pairs
from smoothseg.errors import DataError
from smoothseg.files import path_of, read_text

__all__ = ["Origin", "annotation_form", "listed", "matched", "read_lines"]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a dataset comes from, for errors about missing files.

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
        """Return the folder `root`; raise `DataError` if it is not given or does not exist."""
        if root is None:
            raise self.missing(f"dataset '{self.component}' needs root=FOLDER")
        folder = path_of(str(root))
        if not os.path.isdir(folder):  # also of names that no folder can have
            raise self.missing(f"no {self.title} folder {folder}")
        return folder

    def inside(self, folder: Path, *names: str, split: str | None = None) -> tuple[Path, ...]:
        """Return the subfolders `names` of `folder`; raise `DataError` for the first that does not exist."""
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

    image, annotation: how the names of the files end, such as `_leftImg8bit.png`; the rest is the same for both.
    without: an ending that also ends in `annotation` but belongs to other files.
    annotations: None for images without labels.
    depth: number of folders between `images` and its files, for example a city or a sequence.
    prefix: what keys begin with; the name of the file without its ending follows.
    """
    names = _names(images, image, depth)
    if annotations is None:
        return check_pairs([_pair(prefix, name, images, image, None, "") for name in names])
    others = _names(annotations, annotation, depth, without)
    found = check_pairs([_pair(prefix, name, images, image, annotations, annotation) for name in names])
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
    """Return the pairs that the text file `listing` names, one on each line, in its order.

    A line is the name of a file, with or without the ending `image`. Raises `DataError` for a line of another form.
    """
    pairs = []
    for number, line in read_lines(listing):
        name = line.removesuffix(image)
        if not KEY.fullmatch(name):
            raise DataError(f"{listing}, line {number}: expected the name of an image, got '{line}'")
        pairs.append(_pair("", (name,), images, image, annotations, annotation))
    return check_pairs(pairs, listing=listing)


def read_lines(listing: Path) -> list[tuple[int, str]]:
    """Return the non-empty lines of a text file, stripped, with their numbers from 1."""
    try:
        text = read_text(listing)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: cannot be read as text: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def annotation_form(
    annotations: Path, forms: Mapping[str, str], chosen: str, *, depth: int, origin: Origin
) -> str:
    """Return which of several forms of annotation to read: `chosen`, or for `auto` the first that exists.

    forms: name to how the names of its files end. Raises `DataError` if none exists.
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
    """Return the paths of the files, split into parts and without `end`, sorted."""
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
