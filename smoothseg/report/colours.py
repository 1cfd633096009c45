"""Which colour stands for what: classes in a dataset's own, abstained pixels white, ignored ones black."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.hierarchy import Hierarchy, leaf_count
from smoothseg.data.palettes import palette as standard

__all__ = ["ABSTAINED", "IGNORED", "colourise", "colours_of", "legend"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]
Colour: TypeAlias = tuple[int, int, int]
Palette: TypeAlias = Sequence[Colour]

ABSTAINED: Colour = (255, 255, 255)
"""The colour of abstained pixels."""

IGNORED: Colour = (0, 0, 0)
"""The colour of pixels that metrics leave out."""


_APART = 24
"""How far the colour of a group is from every other at least, in the largest of the three channels' differences."""


def colours_of(names: Sequence[str], hierarchy: Hierarchy | None, palette: Palette | None) -> list[Colour]:
    """Return a colour for each of `names`, the classes and, with a hierarchy, the groups behind them.

    palette: the dataset's colours of the classes; None, or one of another length, takes the standard ones. A group has
    the mean colour of its classes, or of what is far enough from all others the nearest to that.
    """
    count = leaf_count(names, hierarchy)
    found = list(palette) if palette is not None and len(palette) == count else list(standard(count))
    if hierarchy is None:
        return found
    levels = np.arange(0, 256, 15)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    own = np.array(found, dtype=np.int64)
    for row in hierarchy.members[count:]:
        mean = own[row].mean(axis=0)
        nearest = np.concatenate(
            [
                mean.round().astype(np.int64)[None],
                lattice[np.argsort(((lattice - mean) ** 2).sum(axis=1), kind="stable")],
            ]
        )
        taken = np.array([*found, ABSTAINED, IGNORED])
        apart = np.abs(nearest[:, None] - taken[None]).max(axis=2).min(axis=1)
        free = np.flatnonzero(apart >= _APART)
        red, green, blue = nearest[free[0] if free.size else int(apart.argmax())].tolist()
        found.append((red, green, blue))
    return found


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
    shown += [clean.ravel()] if clean is not None else []
    if labels is not None and ignore is not None:
        shown.append(labels[labels != ignore])
    elif labels is not None:
        shown.append(labels.ravel())
    seen = {int(c) for array in shown for c in np.unique(array)}
    entries = [(name, palette[c]) for c, name in enumerate(classes) if c in seen]
    if not all(certified.all() for _, certified in decided):
        entries.append(("abstained", ABSTAINED))
    if labels is not None and ignore is not None and (labels == ignore).any():
        entries.append(("ignored", IGNORED))
    return entries
