"""Which groups of classes a pixel may be certified as, where a certifier knows coarser levels than classes.

A certificate then shows *nodes*: the segmenter's classes, which are the leaves, and groups of them. Whoever reads it
finds the names of all nodes in the header's `classes`, the leaves first, and in `levels` the node of every leaf at
every level. A certificate without `levels` knows classes alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.errors import DataError

__all__ = ["Hierarchy", "contains", "fitted", "from_header", "hierarchy_of", "leaf_count", "names_of"]

_MOST_NODES = 4096
"""More than any hierarchy of classes has: what is computed for pairs of nodes stays small."""

_MOST_LEVELS = 64


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """Nodes by level, from the segmenter's classes to groups of them.

    names: of all nodes, the C classes first, in the segmenter's order. levels: the node of each class at each level,
    (L, C); at level 0 every class is its own node. A class that is in no group at a level is its own node there, and
    so a node may be on several levels.

    Raises `DataError` if names occur twice, a node is on no level or has other classes on another, or a group of a
    level is divided on a coarser one.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.names) <= _MOST_NODES or not 0 < len(self.levels) <= _MOST_LEVELS:
            raise DataError(
                f"hierarchy: expected 1 to {_MOST_NODES} nodes on 1 to {_MOST_LEVELS} levels, got {len(self.names)} "
                f"on {len(self.levels)}"
            )
        count = len(self.levels[0])
        if not count or self.levels[0] != tuple(range(count)):
            raise DataError("hierarchy: level 0 is not that of the classes themselves")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise DataError(f"hierarchy: '{twice}' is given twice")
        there: dict[int, list[int]] = {}
        for number, level in enumerate(self.levels):
            if len(level) != count or not all(0 <= node < len(self.names) for node in level):
                raise DataError(f"hierarchy: level {number} does not give each of the {count} classes a node")
            above: dict[int, int] = {}
            for finer, coarser in zip(self.levels[max(0, number - 1)], level, strict=True):
                if above.setdefault(finer, coarser) != coarser:
                    raise DataError(
                        f"hierarchy: level {number} divides '{self.names[finer]}' of the level before"
                    )
            own: dict[int, list[int]] = {}
            for leaf, node in enumerate(level):
                own.setdefault(node, []).append(leaf)
            for node, leaves in own.items():
                if there.setdefault(node, leaves) != leaves:
                    raise DataError(
                        f"hierarchy: '{self.names[node]}' has other classes at level {number} than before"
                    )
        if len(there) < len(self.names):
            missing = next(name for node, name in enumerate(self.names) if node not in there)
            raise DataError(f"hierarchy: '{missing}' is on no level")

    @property
    def classes(self) -> tuple[str, ...]:
        """The C classes of the segmenter, which are the first nodes."""
        return self.names[: len(self.levels[0])]

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The classes in every node that is no class itself, by name."""
        return {
            self.names[node]: tuple(self.names[leaf] for leaf in np.flatnonzero(row))
            for node, row in enumerate(self.members)
            if node >= len(self.classes)
        }

    @property
    def members(self) -> npt.NDArray[np.bool_]:
        """(nodes, C): whether a class is in a node."""
        found = np.zeros((len(self.names), len(self.levels[0])), dtype=bool)
        for level in self.levels:
            found[list(level), np.arange(len(level))] = True
        return found

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(nodes,): the number of classes in a node."""
        sizes: npt.NDArray[np.int64] = self.members.sum(axis=1)
        return sizes

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """(nodes, nodes): whether all classes of the second are in the first. Every node is within itself."""
        found: npt.NDArray[np.bool_] = np.equal(self._shared, self.sizes)
        return found

    @property
    def meets(self) -> npt.NDArray[np.bool_]:
        """(nodes, nodes): whether two nodes have a class in common."""
        found: npt.NDArray[np.bool_] = np.greater(self._shared, 0)
        return found

    @property
    def _shared(self) -> npt.NDArray[np.int64]:
        """(nodes, nodes): how many classes two nodes have in common."""
        members = self.members.astype(np.int64)
        shared: npt.NDArray[np.int64] = members @ members.T
        return shared


def from_header(classes: Sequence[str], levels: Any) -> Hierarchy | None:
    """Return the hierarchy that a file states by the names of its nodes and `levels`; None where there are none.

    Raises `DataError` if it states what is no hierarchy.
    """
    if levels is None:
        return None
    if not (
        isinstance(levels, list | tuple)
        and len(levels) <= _MOST_LEVELS
        and all(
            isinstance(level, list | tuple) and all(type(node) is int for node in level) for level in levels
        )
    ):
        raise DataError("hierarchy: levels are not lists of nodes")
    return Hierarchy(tuple(classes), tuple(map(tuple, levels)))


def fitted(certifier: Any, classes: Sequence[str] | None) -> Any:
    """Return `certifier` for a segmenter of these `classes`; one that knows nothing of classes is returned as it is.

    classes: None takes those that its hierarchy names, in its own order. Raises `ConfigError` if the certifier's
    hierarchy is not one of these classes.
    """
    fit = getattr(certifier, "fitted", None)
    return certifier if fit is None else fit(classes)


def hierarchy_of(certifier: Any) -> Hierarchy | None:
    """Return the hierarchy of a fitted certifier; None if it certifies classes alone."""
    found = getattr(certifier, "hierarchy", None)
    return found if isinstance(found, Hierarchy) else None


def names_of(certifier: Any, classes: Sequence[str]) -> tuple[str, ...]:
    """Return what the indices of a prediction of `certifier` mean: the segmenter's `classes`, or all nodes."""
    hierarchy = hierarchy_of(certifier)
    return tuple(classes) if hierarchy is None else hierarchy.names


def leaf_count(names: Sequence[str], hierarchy: Hierarchy | None) -> int:
    """Return how many of the nodes called `names` are classes, which labels can have."""
    return len(names) if hierarchy is None else len(hierarchy.classes)


def contains(
    prediction: npt.NDArray[np.integer[Any]],
    labels: npt.NDArray[np.integer[Any]],
    hierarchy: Hierarchy | None,
) -> npt.NDArray[np.bool_]:
    """Return where a predicted node has the labelled class, of the shape of both; a label that is no class never is.

    Without a hierarchy the two must be equal.
    """
    if hierarchy is None:
        equal: npt.NDArray[np.bool_] = prediction == labels
        return equal
    members = hierarchy.members
    known = (labels >= 0) & (labels < members.shape[1])
    inside: npt.NDArray[np.bool_] = known & members[prediction.astype(np.int64), np.where(known, labels, 0)]
    return inside
