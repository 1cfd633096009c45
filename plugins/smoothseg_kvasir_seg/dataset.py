"""Which files make up Kvasir-SEG, and how its masks, which are JPEG files, become labels.

A mask is white where the polyp is. JPEG changes values: white and black come back as values near 255 and near 0, and
edges ring. The channels of a mask are therefore averaged and cut at half, 127.5. That gives what the annotators drew
only if nearly all values are near one of the two. A mask with more than `MIDWAY` of its pixels nearer to the middle (64
to 191) is refused, because it holds something other than two classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smoothseg import DataError
from smoothseg.data import (
    Origin,
    Pair,
    Paired,
    Pixels,
    listed,
    matched,
    palette,
    read_image,
    require_complete,
)

__all__ = ["CLASSES", "IGNORE", "MIDWAY", "load", "read_mask"]

CLASSES = ("background", "polyp")
IGNORE = 255
"""No pixel of Kvasir-SEG is ignored."""
MIDWAY = 0.05
"""The largest share of a mask's pixels that may be neither nearly black nor nearly white."""

_LICENCE = (
    "Kvasir-SEG terms (datasets.simula.no/kvasir-seg): research and education; commercial use on request"
)
_ORIGIN = Origin(
    "kvasir-seg",
    "Kvasir-SEG",
    "expected images/*.jpg with masks/*.jpg of the same names, kvasir-seg.zip of "
    "https://datasets.simula.no/kvasir-seg (research and education; commercial use needs permission)",
)


def load(root: str | Path | None, split: str = "all") -> Paired:
    """Return the images of the Kvasir-SEG folder `root`: all, sorted by name, or those of `{split}.txt`, in its order.

    Keys are the names of the images without suffix. Labels are 0 (background) and 1 (polyp). Raises `DataError` for a
    folder or a list that is missing, `IncompleteError` for missing files.
    """
    folder = _ORIGIN.folder(root)
    images, masks = _ORIGIN.inside(folder, "images", "masks")
    if split == "all":
        found = matched(images, masks, image=".jpg", annotation=".jpg")
    else:
        listing = folder / f"{split}.txt"
        if not listing.is_file():
            raise DataError(
                f"no {listing}: Kvasir-SEG has no official split; write the names of the images into it, one a "
                f"line, or take split=all"
            )
        found = listed(listing, images, masks, image=".jpg", annotation=".jpg")
    found = _ORIGIN.some(found, folder, None if split == "all" else split)
    dataset = Paired(found.pairs, CLASSES, palette(len(CLASSES)), IGNORE, _LICENCE, read=read_mask)
    return require_complete(dataset, found.problems)


def read_mask(pair: Pair, size: tuple[int, int]) -> Pixels:
    """Return the labels of the mask of `pair`, uint8 (H, W): see the top of this module.

    size: (H, W) of the image. Raises `DataError` for another size, and for a mask that is not black and white.
    """
    assert pair.annotation is not None
    levels = read_image(pair.annotation).mean(axis=2)
    if levels.shape != size:
        raise DataError(
            f"{pair.annotation}: expected a mask of {size[0]} x {size[1]} (height x width) like its image "
            f"{pair.image}, got {levels.shape[0]} x {levels.shape[1]}"
        )
    midway = float(((levels >= 64) & (levels < 192)).mean())
    if midway > MIDWAY:
        raise DataError(
            f"{pair.annotation}: expected a black and white mask, got {100 * midway:.1f}% of its pixels midway"
        )
    labels: Pixels = (levels > 127.5).astype(np.uint8)
    return labels
