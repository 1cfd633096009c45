"""Which files make up a split of Cityscapes, and which of them the papers certify."""

from __future__ import annotations

from pathlib import Path

from smoothseg.data import Origin, Paired, annotation_form, evenly_spaced, matched, require_complete
from smoothseg.data.class_names import CITYSCAPES, CITYSCAPES_IDS
from smoothseg.data.palettes import CITYSCAPES as PALETTE

__all__ = ["IGNORE", "load"]

IGNORE = 255
"""The train id of everything that is not evaluated."""

_FORMS = {"ids": "_gtFine_labelIds.png", "train-ids": "_gtFine_labelTrainIds.png"}
_LICENCE = "Cityscapes terms (cityscapes-dataset.com/license): research and teaching, no commercial use"
_ORIGIN = Origin(
    "cityscapes",
    "Cityscapes",
    "expected leftImg8bit/{split}/{city}/*_leftImg8bit.png with gtFine/{split}/{city}/*_gtFine_labelIds.png (or "
    "_labelTrainIds.png), the packages leftImg8bit_trainvaltest and gtFine_trainvaltest of "
    "https://www.cityscapes-dataset.com (registration; no commercial use)",
)


def load(root: str | Path | None, split: str, *, subset: str = "all", labels: str = "auto") -> Paired:
    """Return the split `split` of the Cityscapes folder `root`, sorted by city and name.

    The arguments are those of `CityscapesRecipe`. Keys are the names of the images without `_leftImg8bit.png`, which
    begin with the city. Labels are the 19 train ids; 255 is ignored. Raises `DataError` for a folder that is missing
    and for `subset=paper` of a val split without exactly its 500 images, `IncompleteError` for missing files.
    """
    folder = _ORIGIN.folder(root)
    (images,) = _ORIGIN.inside(folder, f"leftImg8bit/{split}", split=split)
    if split == "test":  # gtFine/test holds label maps, but all of their pixels are void
        found = matched(images, None, image="_leftImg8bit.png", depth=1)
        chosen = "ids"
    else:
        (annotations,) = _ORIGIN.inside(folder, f"gtFine/{split}", split=split)
        chosen = annotation_form(annotations, _FORMS, labels, depth=1, origin=_ORIGIN)
        found = matched(images, annotations, image="_leftImg8bit.png", annotation=_FORMS[chosen], depth=1)
    found = _ORIGIN.some(found, folder, split)
    ids = CITYSCAPES_IDS if chosen == "ids" else None
    dataset = require_complete(
        Paired(found.pairs, CITYSCAPES, PALETTE, IGNORE, _LICENCE, ids), found.problems
    )
    if subset == "paper":
        return evenly_spaced(dataset, every=5, count=100, whole=500, name="subset=paper")
    return dataset
