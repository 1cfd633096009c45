"""Which images a folder holds, in which order, under which keys, and which label map belongs to each.

**Images** are the files with a suffix of `smoothseg.data.images.SUFFIXES`, in upper or lower case. Files and folders
whose name begins with a dot are left out, and so is the label folder if it lies inside the image folder. Links to
folders are not followed.

**Order**: by relative path without suffix, part by part; runs of digits compare by value (`frame2` before
`frame10`), everything else by code point.

**Key**: made from the relative path, see `smoothseg.data.key_of`. Two images with the same key are an error; they are
never renamed.

**Label map**: the file in the label folder with the image's relative path, whatever the suffixes.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from smoothseg import ConfigError, DataError, IncompleteError, Sample
from smoothseg.data import SUFFIXES, Colour, key_of, path_of, read_image, read_labels
from smoothseg_folder import legend
from smoothseg_folder.legend import Legend

__all__ = ["Folder", "Item", "load", "order"]


@dataclasses.dataclass(frozen=True)
class Item:
    """An image file, its key, and its label file where there are labels."""

    key: str
    image: Path
    labels: Path | None


@dataclasses.dataclass(frozen=True)
class Folder:
    """Images of any sizes in the order of `items`, with labels for all of them or for none.

    `legend` is empty where neither labels nor a class list were given: the classes are then the segmenter's.
    """

    items: tuple[Item, ...]
    legend: Legend
    ignore: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices; empty if any segmenter's will do."""
        return self.legend.names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """An RGB colour for each class."""
        return self.legend.colours

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of every image, in order."""
        return tuple(item.key for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """Return image and labels; raise `DataError` for a file that cannot be used as it is."""
        item = self.items[index]
        image = read_image(item.image)
        if item.labels is None:
            return Sample(item.key, image)
        labels = read_labels(
            item.labels, classes=len(self.classes), ignore=self.ignore, size=image.shape[:2], image=item.image
        )
        return Sample(item.key, image, labels)


def load(
    root: str | Path | None,
    *,
    images: str = ".",
    labels: str | None = None,
    classes: str | None = None,
    ignore: int = 255,
    recursive: bool = False,
) -> Folder:
    """Return the dataset in `root`; the arguments are those of `FolderRecipe`.

    Every image has a label map and every key is unique when this returns; no file has been decoded. `IncompleteError`
    names the images for which this does not hold.
    """
    if root is None:
        raise DataError("dataset 'folder' needs root=FOLDER, the folder of your images")
    base = path_of(str(root))
    if labels is not None and classes is None:
        raise ConfigError("dataset 'folder': labels need a class list, give classes=FILE with a name a line")
    names = Legend() if classes is None else legend.read(base / path_of(classes))
    if not len(names.names) <= ignore <= 255:
        raise ConfigError(
            f"dataset 'folder': expected ignore to be no class index and at most 255, that is "
            f"{len(names.names)}..255, got {ignore}"
        )
    image_folder = base / path_of(images)
    if labels is None:
        files, label_files = _files(image_folder, recursive), {}
    else:
        label_folder = base / path_of(labels)
        if label_folder.resolve() == image_folder.resolve():
            raise ConfigError(
                f"dataset 'folder': expected images and labels in two folders, got {image_folder}"
            )
        files = _files(image_folder, recursive, without=label_folder)
        label_files = _by_stem(label_folder, _files(label_folder, recursive))
    if not files:
        raise DataError(_no_images(image_folder, recursive))

    items = []
    problems = []
    seen: dict[str, Path] = {}
    for relative in sorted(files, key=order):
        image, key = image_folder / relative, key_of(relative)
        if key in seen:
            problems.append(f"two images have the key '{key}': {seen[key]} and {image}; rename one of them")
            continue
        seen[key] = image
        label = label_files.get(relative.with_suffix(""))
        if labels is not None and label is None:
            problems.append(
                f"no label map for the image {image}: expected {label_folder / relative.with_suffix('.png')}"
            )
            continue
        items.append(Item(key, image, label))
    found = Folder(tuple(items), names, ignore)
    if problems:
        raise IncompleteError(problems, found)
    return found


def order(relative: Path) -> tuple[object, ...]:
    """Return what relative paths are sorted by: see the top of this module."""
    parts = tuple(
        tuple(int(run) if index % 2 else run for index, run in enumerate(re.split(r"([0-9]+)", part)))
        for part in relative.with_suffix("").parts
    )
    return parts, relative.as_posix()  # `a01` and `a1` have equal parts


def _files(folder: Path, recursive: bool, without: Path | None = None) -> list[Path]:
    """Return the image files in `folder`, relative to it, in no order."""
    if os.path.isfile(folder):
        raise DataError(f"{folder} is a file; root, images and labels are folders that hold files")
    if not os.path.isdir(folder):  # also of names that no folder can have
        raise DataError(f"no folder {folder}")
    left_out = None if without is None else without.resolve()

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found = []
    for at, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(at)
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and (here / name).resolve() != left_out
        ]
        found += [
            (here / name).relative_to(folder)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return found


def _by_stem(folder: Path, files: list[Path]) -> dict[Path, Path]:
    by_stem: dict[Path, Path] = {}
    for relative in sorted(files):
        stem = relative.with_suffix("")
        if stem in by_stem:
            raise DataError(f"two label maps for one image: {by_stem[stem]} and {folder / relative}")
        by_stem[stem] = folder / relative
    return by_stem


def _no_images(folder: Path, recursive: bool) -> str:
    deeper = 0 if recursive else len(_files(folder, recursive=True))
    hint = f"; {deeper} in its subfolders, which recursive=true takes" if deeper else ""
    return f"no images in {folder}: expected files with the suffix {', '.join(SUFFIXES)}{hint}"
