"""Which files make up a split of Pascal-Context, in which of two layouts, and which of them the papers certify."""

from __future__ import annotations

from pathlib import Path

from smoothseg.data import Origin, Paired, evenly_spaced, listed, require_complete
from smoothseg_pascal_context import detail
from smoothseg_pascal_context.legend import CLASSES, PALETTE

__all__ = ["IGNORE", "load"]

IGNORE = 255

_LICENCE = "PASCAL VOC 2010 (images under Flickr's terms); annotations for research"
_ORIGIN = Origin(
    "pascal-context",
    "Pascal-Context",
    "expected VOCdevkit/VOC2010/JPEGImages/*.jpg (VOCtrainval_03-May-2010.tar of "
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2010, images under Flickr's terms) with either "
    "SegmentationClassContext/*.png and ImageSets/SegmentationContext/{train,val}.txt, as mmsegmentation makes them, "
    "or trainval_merged.json of PASCAL in Detail (https://github.com/zhanghang1989/detail-api)",
)


def load(root: str | Path | None, split: str, *, subset: str = "all", classes: int = 59) -> Paired:
    """Return the split `split` of the Pascal-Context folder `root`, in the order of its list.

    The arguments are those of `PascalContextRecipe`. The list is `{split}.txt` where there are label maps, and
    otherwise the images in `trainval_merged.json`. Keys are the names of the images without suffix. Labels are those of
    the 59 classes with 255 for the background, or of the background and the 59 classes. Raises `DataError` for a folder
    that is missing and for `subset=paper` of a val split without exactly its 5105 images, `IncompleteError` for missing
    files.
    """
    folder = _ORIGIN.folder(root)
    nested = folder / "VOCdevkit" / "VOC2010"
    base = nested if nested.is_dir() else folder
    (images,) = _ORIGIN.inside(base, "JPEGImages")
    listing = base / "ImageSets" / "SegmentationContext" / f"{split}.txt"
    masks = base / "SegmentationClassContext"
    ids = {0: IGNORE} | {label + 1: label for label in range(59)} if classes == 59 else None
    read = None
    if listing.is_file() and masks.is_dir():
        found = listed(listing, images, masks, image=".jpg", annotation=".png")
    elif (base / detail.NAME).is_file():
        annotation = detail.load(base / detail.NAME, split)
        found = annotation.found(images)
        read = annotation.reader(ids)
    else:
        raise _ORIGIN.missing(f"no annotations of the Pascal-Context split '{split}' in {base}")
    found = _ORIGIN.some(found, base, split)
    first = len(CLASSES) - classes
    dataset = Paired(found.pairs, CLASSES[first:], PALETTE[first:], IGNORE, _LICENCE, ids, read)
    dataset = require_complete(dataset, found.problems)
    if subset == "paper":
        return evenly_spaced(dataset, every=51, count=100, whole=5105, name="subset=paper")
    return dataset
