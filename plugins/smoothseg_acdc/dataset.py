"""Which files make up a split and a condition of ACDC."""

from __future__ import annotations

from pathlib import Path

from smoothseg.data import Found, Origin, Paired, annotation_form, matched, require_complete
from smoothseg.data.class_names import CITYSCAPES, CITYSCAPES_IDS
from smoothseg.data.palettes import CITYSCAPES as PALETTE

__all__ = ["CONDITIONS", "IGNORE", "load"]

CONDITIONS = ("fog", "night", "rain", "snow")
IGNORE = 255
"""The train id of everything that is not evaluated."""

_FORMS = {"train-ids": "_gt_labelTrainIds.png", "ids": "_gt_labelIds.png"}
_LICENCE = "ACDC terms (acdc.vision.ee.ethz.ch): research and teaching, no commercial use"
_ORIGIN = Origin(
    "acdc",
    "ACDC",
    "expected rgb_anon/{condition}/{split}/{sequence}/*_rgb_anon.png with "
    "gt/{condition}/{split}/{sequence}/*_gt_labelTrainIds.png (or _labelIds.png), the packages "
    "rgb_anon_trainvaltest and gt_trainval of https://acdc.vision.ee.ethz.ch (registration; no commercial use)",
)


def load(root: str | Path | None, split: str, *, condition: str = "all", labels: str = "auto") -> Paired:
    """Return the split `split` of the ACDC folder `root`, sorted by condition, sequence and name.

    The arguments are those of `AcdcRecipe`. Keys are the condition, two underscores, and the name of the image without
    `_rgb_anon.png`, whichever conditions are taken. Labels are Cityscapes' 19 train ids; 255 is ignored. The images of
    the same places in good weather (`*_ref`) are not included. Raises `DataError` for a folder that is missing,
    `IncompleteError` for missing files.
    """
    folder = _ORIGIN.folder(root)
    found = Found(())
    for name in CONDITIONS if condition == "all" else (condition,):
        parts = (f"rgb_anon/{name}/{split}", f"gt/{name}/{split}")
        if split == "test":
            (images,) = _ORIGIN.inside(folder, parts[0], split=split)
            found += matched(images, None, image="_rgb_anon.png", depth=1, prefix=f"{name}__")
            continue
        images, annotations = _ORIGIN.inside(folder, *parts, split=split)
        labels = annotation_form(
            annotations, _FORMS, labels, depth=1, origin=_ORIGIN
        )  # that of the first condition, for all
        end = _FORMS[labels]
        found += matched(
            images, annotations, image="_rgb_anon.png", annotation=end, depth=1, prefix=f"{name}__"
        )
    found = _ORIGIN.some(found, folder, split)
    ids = CITYSCAPES_IDS if labels == "ids" else None
    return require_complete(Paired(found.pairs, CITYSCAPES, PALETTE, IGNORE, _LICENCE, ids), found.problems)
