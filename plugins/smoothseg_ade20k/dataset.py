"""Which files make up a split of ADE20K, and what the values in its label maps mean."""

from __future__ import annotations

from pathlib import Path

from smoothseg.data import Origin, Paired, matched, require_complete
from smoothseg_ade20k.legend import CLASSES, PALETTE

__all__ = ["IDS", "IGNORE", "load"]

IGNORE = 255
IDS = {0: IGNORE} | {label + 1: label for label in range(len(CLASSES))}
"""The class of each value in a label map: 0 is everything else, and classes are numbered from 1."""

_FOLDERS = {"train": "training", "val": "validation"}
_LICENCE = "ADE20K terms (groups.csail.mit.edu/vision/datasets/ADE20K/terms): no commercial use of the images"
_ORIGIN = Origin(
    "ade20k",
    "ADE20K",
    "expected images/{training,validation}/*.jpg with annotations/{training,validation}/*.png, the benchmark "
    "ADEChallengeData2016 of http://sceneparsing.csail.mit.edu (images for research and education, no commercial use)",
)


def load(root: str | Path | None, split: str) -> Paired:
    """Return the split `split`, `train` or `val`, of the ADE20K folder `root`, sorted by name.

    Keys are the names of the images without suffix. Labels are 0..149 in the order of the benchmark; 255 is ignored.
    Raises `DataError` for a folder that is missing, `IncompleteError` for missing files.
    """
    folder = _ORIGIN.folder(root)
    name = _FOLDERS[split]
    images, annotations = _ORIGIN.inside(folder, f"images/{name}", f"annotations/{name}", split=split)
    found = _ORIGIN.some(matched(images, annotations, image=".jpg", annotation=".png"), folder, split)
    return require_complete(Paired(found.pairs, CLASSES, PALETTE, IGNORE, _LICENCE, IDS), found.problems)
