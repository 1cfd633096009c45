"""Which colour stands for what: classes in a dataset's own, abstained pixels white, ignored ones black."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["ABSTAINED", "IGNORED", "colourise", "legend"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]
Colour: TypeAlias = tuple[int, int, int]
Palette: TypeAlias = Sequence[Colour]

ABSTAINED: Colour = (255, 255, 255)
"""The colour of abstained pixels."""

IGNORED: Colour = (0, 0, 0)
"""The colour of pixels that metrics leave out."""


def colourise(
    labels: LabelMap,
    palette: Palette,
    *,
    abstained: npt.NDArray[np.bool_] | None = None,
    ignore: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Return a label map as RGB, uint8 (H, W, 3).

    labels: (H, W) class indices, or `ignore`, which becomes black. palette: an RGB colour for each class.
    abstained: bool (H, W), the pixels that become white.

    Raises `ValueError` for a label without a colour.
    """
    wrong = (labels < 0) | (labels >= len(palette))
    if ignore is not None:
        wrong &= labels != ignore
    if wrong.any():
        raise ValueError(f"expected labels 0..{len(palette) - 1}, got {labels[wrong].flat[0]}")
    if abstained is not None and abstained.shape != labels.shape:
        raise ValueError(f"abstained: expected shape {labels.shape}, got {abstained.shape}")
    colours = np.array([*palette, IGNORED], dtype=np.uint8)
    index = labels.astype(np.int64)
    if ignore is not None:
        index[labels == ignore] = len(palette)
    coloured = colours[index]
    if abstained is not None:
        coloured[abstained] = ABSTAINED
    return coloured


def legend(
    decided: Iterable[tuple[LabelMap, npt.NDArray[np.bool_]]],
    labels: LabelMap | None,
    clean: LabelMap | None,
    *,
    classes: Sequence[str],
    palette: Palette,
    ignore: int | None,
) -> list[tuple[str, Colour]]:
    """Return the names and colours that can be seen: classes in their order, then abstained and ignored.

    decided: (prediction, certified) of each certified segmentation, both (H, W). labels: the ground truth, clean: the
    plain prediction, both (H, W) or None. classes, palette: a name and a colour for each class.
    """
    decided = tuple(decided)
    shown = [prediction[certified] for prediction, certified in decided]
    shown += [array.ravel() for array in (labels, clean) if array is not None]
    seen = {int(c) for array in shown for c in np.unique(array)}
    entries = [(name, palette[c]) for c, name in enumerate(classes) if c in seen]
    if not all(certified.all() for _, certified in decided):
        entries.append(("abstained", ABSTAINED))
    if labels is not None and ignore is not None and (labels == ignore).any():
        entries.append(("ignored", IGNORED))
    return entries
