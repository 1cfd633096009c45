"""Which files make up a split of COCO-Stuff 164k, and which of two forms of annotation they have."""

from __future__ import annotations

from pathlib import Path

from smoothseg.data import Origin, Paired, annotation_form, matched, palette, require_complete
from smoothseg_coco_stuff.legend import CLASSES, IDS

__all__ = ["IGNORE", "load"]

IGNORE = 255
"""The label of unlabelled pixels."""

_TRAIN_IDS = "_labelTrainIds.png"
_FORMS = {"ids": ".png", "train-ids": _TRAIN_IDS}
_LICENCE = "CC BY 4.0 (annotations); the images are under the terms of Flickr, each under its own licence"
_ORIGIN = Origin(
    "coco-stuff",
    "COCO-Stuff",
    "expected images/{train2017,val2017}/*.jpg with annotations/{train2017,val2017}/*.png (or *_labelTrainIds.png), "
    "that is train2017.zip and val2017.zip of https://cocodataset.org and stuffthingmaps_trainval2017.zip of "
    "https://github.com/nightrome/cocostuff (annotations CC BY 4.0, images under Flickr's terms)",
)


def load(root: str | Path | None, split: str, *, labels: str = "auto") -> Paired:
    """Return the split `split`, `train` or `val`, of the COCO-Stuff folder `root`, sorted by name.

    The arguments are those of `CocoStuffRecipe`. Keys are the names of the images without suffix. Labels are 0..170;
    255 is ignored. The authors published only colours that depend on a random generator, so these come from
    `smoothseg.data.palettes`. Raises `DataError` for a folder that is missing, `IncompleteError` for missing files.
    """
    folder = _ORIGIN.folder(root)
    name = f"{split}2017"
    images, annotations = _ORIGIN.inside(folder, f"images/{name}", f"annotations/{name}", split=split)
    chosen = annotation_form(annotations, _FORMS, labels, depth=0, origin=_ORIGIN)
    found = matched(
        images,
        annotations,
        image=".jpg",
        annotation=_FORMS[chosen],
        without=_TRAIN_IDS if chosen == "ids" else None,
    )
    found = _ORIGIN.some(found, folder, split)
    ids = IDS if chosen == "ids" else None
    colours = palette(len(CLASSES))
    return require_complete(Paired(found.pairs, CLASSES, colours, IGNORE, _LICENCE, ids), found.problems)
