"""What no perturbation within the radius can take away: lower bounds for classes, regions and whole images.

A certificate states, with probability at least 1 - alpha over the noise samples, that all certified pixels of an image
keep their class together, under every perturbation of l2 norm at most its radius. Whatever is computed from these
pixels alone, with every abstained pixel left to an adversary who may give it any class, is therefore bounded under
every such perturbation, and all such bounds hold at once with the same probability: nothing is tested again, and no
alpha is shared. The certifier must promise that no certified pixel is wrong: `kfwer` with k > 1 allows up to k - 1
wrong ones and gives no bounds of this kind.

For a class c and a region of pixels write

    T  certified as c and labelled c          F  certified as c, labelled otherwise
    N  labelled c                             D  abstained, labelled otherwise

The adversary does worst by taking every abstained pixel labelled c away from c and giving c every other one, so

    recall     >= T / N                       precision >= T / (T + F + D)
    IoU        >= T / (N + F + D)             Dice      >= 2 T / (N + T + F + D)

and each of these is attained by some labelling of the abstained pixels. One pixel cannot be given to two classes at
once, which makes the bound of the *mean* IoU larger than the mean of the bounds; `mean_iou` says how it is found.
Without labels two segmentations within the radius are compared with each other: the class has between C and C + A
pixels, C certified as it and A abstained, and the two agree at an IoU of at least C / (C + A).

Where pixels are certified as groups of classes, what is bounded is every segmentation that gives each certified pixel a
class of its node. A pixel certified as a group then counts for each class in it as one that abstains: the adversary may
give it that class, or another one. A group has the pixels that are certified as it or as a node within it; pixels of
groups that share classes with it may belong to it. So T and F are of the pixels that cannot but have the class, and D
and A of those that may or may not. The adversary's choice for one pixel never restricts that for another, so the
bounds of a class are attained as before. Nothing is said of the classes that a model would choose that is not asked for
groups: where a group has most of the votes, a single class outside of it may have more than each in it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.hierarchy import Hierarchy
from smoothseg.errors import ConfigError, DataError

__all__ = ["Bounds", "ClassBounds", "LabelMap", "Mask", "bounds", "check_certifier", "mean_iou", "tolerated"]

LabelMap: TypeAlias = npt.NDArray[np.integer[Any]]
"""Class indices (H, W)."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""(H, W)."""


@dataclasses.dataclass(frozen=True)
class ClassBounds:
    """The bounds of one class in one region, under every perturbation within the radius. Shares are in 0..1."""

    name: str

    pixels_at_least: int
    """Pixels that have the class whatever happens: those certified as it."""

    pixels_at_most: int
    """Pixels that can have the class: those, all that abstain, and all that are certified as a group with it."""

    stable_iou: float | None
    """Least IoU of the class between two segmentations within the radius; None where it cannot occur."""

    labelled: int | None = None
    """Pixels labelled as the class; None without labels, like everything below."""

    iou: float | None = None
    """Least IoU with the labels; None where the class is neither labelled nor possible."""

    dice: float | None = None
    """Least Dice coefficient with the labels; None where `iou` is."""

    recall: float | None = None
    """Least share of the labelled pixels that are found; None where there are none."""

    precision: float | None = None
    """Least share of the found pixels that have the label; None where none can be found."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The bounds of one image or of a region in it, all valid together."""

    radius: float
    """The l2 radius in [0, 1] pixel units within which they hold."""

    pixels: int
    """Pixels of the region, without those labelled `ignore`."""

    abstained: int
    """Those among them to which the adversary may give any class."""

    accuracy: float | None
    """Least share of the labelled pixels with the right class, or a group that has it; None without any."""

    mean_iou: float | None
    """Least mean IoU with the labels, over the classes that are labelled in the region; None without any."""

    classes: tuple[ClassBounds, ...]
    """One entry for each class, in the order of the label indices, then for each group of a hierarchy."""


def bounds(
    prediction: LabelMap,
    certified: Mask,
    classes: Sequence[str],
    *,
    radius: float,
    labels: LabelMap | None = None,
    ignore: int | None = None,
    region: Mask | None = None,
    hierarchy: Hierarchy | None = None,
) -> Bounds:
    """Return the bounds of an image, or of the `region` (bool, (H, W)) in it.

    prediction: (H, W) class indices. certified: bool (H, W). radius: of the certificate. labels: (H, W) class indices
    or `ignore`, or None; pixels labelled `ignore` are left out of everything. hierarchy: of the prediction, whose nodes
    `classes` then names; None for classes.

    Raises `DataError` for shapes that differ, an empty region, and labels or predictions that are no class.
    """
    count = len(classes)
    members = np.eye(count, dtype=bool) if hierarchy is None else hierarchy.members
    within, meets = (members, members) if hierarchy is None else (hierarchy.within, hierarchy.meets)
    shape = prediction.shape
    for name, array in (("certified", certified), ("labels", labels), ("region", region)):
        if array is not None and array.shape != shape:
            raise DataError(f"{name}: expected the prediction's shape {shape}, got {array.shape}")
    kept = np.ones(shape, dtype=bool) if region is None else region.astype(bool)
    if labels is not None and ignore is not None:
        kept &= labels != ignore
    if region is not None and not kept.any():
        raise DataError("the region has no pixels that count")
    found, sure = prediction[kept].astype(np.int64), certified[kept]
    _check_classes("prediction", found, count)
    leaves = members.shape[1]
    truth = np.zeros(found.shape, np.int64) if labels is None else labels[kept].astype(np.int64)
    _check_classes("labels", truth, leaves)
    # Pixels by label and by what they are certified as; without labels all in one row, of which only sums are used.
    decided = np.bincount(truth[sure] * count + found[sure], minlength=leaves * count).reshape(leaves, count)
    free = np.bincount(truth[~sure], minlength=leaves)
    abstained = int(free.sum())
    # By node, and by label: pixels that cannot but have the node, and those that may or may not.
    must = (decided @ within.T.astype(np.int64)).T
    may = (decided @ (meets & ~within).T.astype(np.int64)).T + free
    held, possible_at_all = must.sum(axis=1), may.sum(axis=1)
    unlabelled = tuple(
        _unlabelled(name, int(held[c]), int(possible_at_all[c])) for c, name in enumerate(classes)
    )
    if labels is None:
        return Bounds(radius, found.size, abstained, None, None, unlabelled)
    labelled = members @ np.bincount(truth, minlength=leaves)
    right = (must * members).sum(axis=1)
    wrong, possible = held - right, (may * ~members).sum(axis=1)
    undecided = abstained + int(decided[:, members.sum(axis=1) > 1].sum())
    return Bounds(
        radius=radius,
        pixels=found.size,
        abstained=abstained,
        accuracy=_share((decided * members.T).sum(), truth.size),
        mean_iou=mean_iou(
            right[:leaves],
            (labelled + wrong)[:leaves],
            possible[:leaves],
            undecided,
            counted=labelled[:leaves] > 0,
        ),
        classes=tuple(
            dataclasses.replace(
                unlabelled[c],
                labelled=int(labelled[c]),
                iou=_share(right[c], labelled[c] + wrong[c] + possible[c]),
                dice=_share(2 * right[c], labelled[c] + held[c] + possible[c]),
                recall=_share(right[c], labelled[c]),
                precision=_share(right[c], held[c] + possible[c]),
            )
            for c in range(count)
        ),
    )


def mean_iou(
    right: npt.NDArray[np.integer[Any]],
    union: npt.NDArray[np.integer[Any]],
    possible: npt.NDArray[np.integer[Any]],
    abstained: int,
    *,
    counted: Mask,
) -> float | None:
    """Return a lower bound of the mean IoU over the `counted` classes; None if there are none.

    right: pixels certified and right, by class. union: pixels labelled or certified as the class. possible: abstained
    pixels of another label, by class, those of groups with the class included. abstained: all of them, in the region.

    The adversary spends `abstained` pixels, at most `possible` of them on a class, to minimise the sum of
    right / (union + spent). The sum is convex in what is spent, so its minimum is the maximum of the Lagrangian dual,
    which is concave in the price of a pixel; the dual at *any* price is a lower bound of the minimum, so that the bound
    holds however well the best price was found. Fractions of pixels may be spent, which can only lower it.
    """
    if not counted.any():
        return None
    hit, size, room = (array[counted & (right > 0)].astype(np.float64) for array in (right, union, possible))
    if not hit.size:
        return 0.0

    def dual(price: float) -> float:
        spent = np.clip(np.sqrt(hit / price) - size, 0.0, room) if price > 0 else room
        return float((hit / (size + spent) + price * spent).sum() - price * abstained)

    from scipy import optimize

    # Prices of different classes lie orders of magnitude apart: the search goes over their logarithm.
    highest = math.log(float((hit / size**2).max()))
    lowest = math.log(float((hit / (size + room) ** 2).min()))
    best = optimize.minimize_scalar(
        lambda price: -dual(math.exp(price)),
        bounds=(lowest - 1, highest + 1),
        method="bounded",
        options={"xatol": 1e-9},
    )
    least = max(dual(0.0), dual(math.exp(float(best.x))))
    return least / int(np.count_nonzero(counted))


def check_certifier(recipe: Any) -> None:
    """Raise `ConfigError` if the promise of the certifier of `recipe` allows a certified pixel to be wrong."""
    if allowed := tolerated(recipe):
        raise ConfigError(
            f"the certifier allows {allowed} certified pixel{'s' * (allowed > 1)} of an image to be wrong: bounds need "
            "one that allows none, such as holm"
        )


def tolerated(recipe: Any) -> int:
    """Return how many certified pixels of an image may be wrong under the promise of the certifier of `recipe`."""
    return int(getattr(recipe, "tolerates", 0))


def _unlabelled(name: str, held: int, possible: int) -> ClassBounds:
    return ClassBounds(name, held, held + possible, _share(held, held + possible))


def _check_classes(name: str, values: npt.NDArray[np.int64], count: int) -> None:
    if values.size and (int(values.min()) < 0 or int(values.max()) >= count):
        wrong = values[(values < 0) | (values >= count)][0]
        raise DataError(f"{name}: expected classes 0..{count - 1}, got {wrong}")


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
