"""Selecting a level of a class hierarchy for each pixel: classes where the samples are sure, else groups of them.

A hierarchy is a YAML file: the `classes`, and for each of its `levels` the groups that it makes of what the level
before has. What a level does not name stays as it is there.

    classes: [road, car, truck, tree, bush]
    levels:
      - vehicle: [car, truck]
        vegetation: [tree, bush]
      - everything: [road, vehicle, vegetation]

Source: Anani, Lorenz, Schiele and Fritz (ICML 2024). Labels are mapped with the table of their own level,
whichever levels occur in the image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import numpy.typing as npt

import smoothseg
from smoothseg import ConfigError, Hierarchy
from smoothseg.data import parse_yaml, path_of, read_text
from smoothseg_segcertify.selecting import Hits

if TYPE_CHECKING:  # rechecking a certificate imports this module, and must not need torch
    import torch

    from smoothseg import Draw

__all__ = ["HierarchicalSelection", "NodeHits", "hierarchy", "packaged"]

_FOLDER = Path(__file__).resolve().parent / "levels"


@final
@dataclasses.dataclass(frozen=True)
class HierarchicalSelection:
    """Selects a level for every pixel, and there the most frequent node; both from the same samples.

    A pixel's level is the number of `thresholds` (ascending, one for each level above the classes) that the difference
    of its two largest mean class probabilities does not exceed. The probabilities are the softmax of scores over
    `temperature`, or with `unsure="votes"` the shares of the samples that show a class. The node is the one that most
    samples show at that level; a tie goes to the lowest node. A hit shows a class of the node.

    source: a packaged hierarchy or a file. hierarchy: what it says for the segmenter's classes, once it is `fitted`.

    Raises `ConfigError` for thresholds or a temperature out of range.
    """

    source: str
    thresholds: tuple[float, ...]
    temperature: float = 1.0
    unsure: Literal["posterior", "votes"] = "posterior"
    hierarchy: Hierarchy | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(each) and each <= 1 for each in self.thresholds):
            raise ConfigError(f"certifier option thresholds must be at most 1, got {self.thresholds}")
        if list(self.thresholds) != sorted(self.thresholds):
            raise ConfigError(f"certifier option thresholds must ascend, got {self.thresholds}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"certifier option temperature must be above 0, got {self.temperature}")

    def fitted(self, classes: Sequence[str] | None) -> HierarchicalSelection:
        """Return the selection for a segmenter of these `classes`; None takes those of the hierarchy, in its order.

        Raises `ConfigError` if the hierarchy cannot be read, is not one of these classes, or lacks levels.
        """
        found = hierarchy(self.source, classes)
        if len(self.thresholds) >= len(found.levels):
            raise ConfigError(
                f"hierarchy {self.source} has {len(found.levels) - 1} levels above the classes, for "
                f"{len(self.thresholds)} thresholds: give thresholds=..., one for each level to be used"
            )
        return dataclasses.replace(self, hierarchy=found)

    @property
    def counted(self) -> str:
        """What a hit is: a class of the pixel's `node` was seen."""
        return "node"

    def select(self, draw: Draw, n0: int) -> npt.NDArray[np.integer]:
        """Return the node of each pixel (H, W) from the next `n0` samples."""
        fitted = self._fitted()
        count = len(fitted.classes)
        votes: _Votes = _Votes(count) if self.unsure == "votes" else _Scored(count, self.temperature)
        draw(n0, into=votes)
        return votes.mode(self.levels(votes.difference()), fitted.levels)

    def tally(self, prediction: npt.NDArray[np.integer]) -> Hits:
        """Return an empty tally of the hits of a `prediction` (H, W)."""
        return NodeHits(prediction, self._fitted())

    def _fitted(self) -> Hierarchy:
        if self.hierarchy is None:
            raise ValueError("a hierarchy must be fitted to the segmenter's classes first")
        return self.hierarchy

    def levels(self, difference: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int32]:
        """Return the level of each pixel, (H, W), from the difference of its two largest probabilities, (H, W)."""
        reached = [difference <= threshold for threshold in self.thresholds]
        return np.sum(reached, axis=0, dtype=np.int32) if reached else np.zeros(difference.shape, np.int32)


@final
class NodeHits(Hits):
    """A tally of how often each pixel shows a class of the node of `prediction` (H, W), one of `hierarchy`."""

    def __init__(self, prediction: npt.NDArray[np.integer], hierarchy: Hierarchy) -> None:
        super().__init__(prediction)
        self._members = hierarchy.members
        self._known: torch.Tensor | None = None

    def shown(self, labels: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
        """Return where label maps (B, H, W) show a class of the node of the prediction (H, W)."""
        if self._known is None:
            import torch

            self._known = torch.from_numpy(self._members.ravel()).to(labels.device)
        return self._known[prediction.long() * self._members.shape[1] + labels.long()]


class _Votes:
    """How often each of `classes` was seen at each pixel."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counts: torch.Tensor | None = None
        self._samples = 0

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W)."""
        import torch

        if self._counts is None:
            self._counts = torch.zeros(
                (self._classes, *labels.shape[1:]), dtype=torch.int32, device=labels.device
            )
        for sample in labels:
            for c, count in enumerate(self._counts):
                count += sample == c
        self._samples += len(labels)

    def difference(self) -> npt.NDArray[np.floating[Any]]:
        """Return the largest share of the votes minus the second largest, (H, W)."""
        assert self._counts is not None
        gap = _gap(self._counts).cpu().numpy().astype(np.float64)
        shares: npt.NDArray[np.float64] = gap / self._samples
        return shares

    def mode(self, level: npt.NDArray[np.int32], levels: Sequence[Sequence[int]]) -> npt.NDArray[np.int32]:
        """Return the node that was seen most often at each pixel's `level`, (H, W); a tie goes to the lowest."""
        import torch

        assert self._counts is not None
        there = torch.from_numpy(level).to(self._counts.device)
        prediction = torch.zeros_like(self._counts[0])
        for number in np.unique(level).tolist():
            nodes = levels[number]
            most = torch.full_like(prediction, -1)
            best = torch.zeros_like(prediction)
            for node in sorted(set(nodes)):
                seen = self._counts[[leaf for leaf, at in enumerate(nodes) if at == node]].sum(
                    0, dtype=torch.int32
                )
                best[seen > most] = node
                torch.maximum(most, seen, out=most)
            prediction = torch.where(there == number, best, prediction)
        return prediction.cpu().numpy()


@final
class _Scored(_Votes):
    """Votes, and the mean over samples of the softmax of the scores over `temperature`."""

    def __init__(self, classes: int, temperature: float) -> None:
        super().__init__(classes)
        self._temperature = temperature
        self._total: torch.Tensor | None = None
        self._scored = 0

    def add_scores(self, scores: torch.Tensor) -> None:
        """Add scores (B, C, H, W), one sample after the other: the sum does not depend on B."""
        for each in scores.float():
            probabilities = (each / self._temperature).softmax(0)
            self._total = probabilities if self._total is None else self._total.add_(probabilities)
        self._scored += len(scores)

    def difference(self) -> npt.NDArray[np.floating[Any]]:
        """Return the largest mean probability minus the second largest, (H, W)."""
        if self._total is None or self._scored != self._samples:
            raise ValueError(f"{self._scored} of {self._samples} samples came with scores")
        return _gap(self._total / self._scored).cpu().numpy()


def _gap(values: torch.Tensor) -> torch.Tensor:
    """Return the largest of the values (C, H, W) at each pixel minus the second largest, or 0 if there is none."""
    import torch

    first, second = values[0].clone(), torch.zeros_like(values[0])
    for each in values[1:]:
        torch.maximum(second, torch.minimum(first, each), out=second)
        torch.maximum(first, each, out=first)
    return first - second


def packaged() -> tuple[str, ...]:
    """Return the names of the hierarchies that come along."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def hierarchy(source: str, classes: Sequence[str] | None = None) -> Hierarchy:
    """Return a packaged hierarchy by name, or that of a file, for `classes`; None takes its own, in its order.

    Raises `ConfigError` in one line if it cannot be read, is no hierarchy, or has other classes.
    """
    path = _FOLDER / f"{source}.yaml" if source in packaged() else path_of(source)
    try:
        content = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise ConfigError(
            f"hierarchy {source}: there is no such file, and by name there are {', '.join(packaged())}"
        ) from None
    except OSError as error:
        raise ConfigError(f"hierarchy {source} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # YAML's errors are of a class that plugins need not know
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"hierarchy {source}{line}: {said}") from None
    own, levels = _parts(content, source)
    if classes is not None:
        for name in own:
            if name not in classes:
                raise ConfigError(
                    f"hierarchy {source} has the class '{name}', which the segmenter does not know: "
                    f"{', '.join(classes)}; there are the hierarchies {', '.join(packaged())}"
                )
        for name in classes:
            if name not in own:
                raise ConfigError(f"hierarchy {source} lacks the class '{name}' of the segmenter")
    return _built(tuple(own if classes is None else classes), levels, source)


def _parts(content: Any, source: str) -> tuple[list[str], list[Mapping[str, list[str]]]]:
    """Return the classes and the levels of a file; raise `ConfigError` if it has a shape of its own."""
    if not (isinstance(content, dict) and content.keys() == {"classes", "levels"}):
        raise ConfigError(f"hierarchy {source}: expected a mapping of classes and levels, and nothing else")
    own, levels = content["classes"], content["levels"]
    if not _are_names(own):
        raise ConfigError(f"hierarchy {source}: classes must be a list of names")
    if twice := next((name for name in own if own.count(name) > 1), None):
        raise ConfigError(f"hierarchy {source}: the class '{twice}' is given twice")
    if not (isinstance(levels, list) and levels):
        raise ConfigError(f"hierarchy {source}: levels must be a list, with the finest level first")
    for number, level in enumerate(levels, start=1):
        if not (isinstance(level, dict) and level and all(isinstance(name, str) for name in level)):
            raise ConfigError(f"hierarchy {source}: level {number} must be a mapping of groups by name")
        for name, group in level.items():
            if not _are_names(group):
                raise ConfigError(f"hierarchy {source}: level {number}: '{name}' must be a list of names")
    return own, levels


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _built(classes: tuple[str, ...], levels: Sequence[Mapping[str, list[str]]], source: str) -> Hierarchy:
    names = list(classes)
    tables = [tuple(range(len(classes)))]
    for number, level in enumerate(levels, start=1):
        there = {names[node] for node in tables[-1]}
        inside: dict[str, str] = {}
        for group, parts in level.items():
            if group in names:
                raise ConfigError(f"hierarchy {source}: level {number}: there is a '{group}' already")
            for part in parts:
                if part not in names:
                    raise ConfigError(
                        f"hierarchy {source}: level {number}: '{group}' has '{part}', which is nothing"
                    )
                if part not in there:
                    raise ConfigError(
                        f"hierarchy {source}: level {number}: '{group}' has '{part}', which is in a group already: "
                        "name that group"
                    )
                if part in inside:
                    raise ConfigError(
                        f"hierarchy {source}: level {number}: '{part}' is in '{inside[part]}' and in '{group}'"
                    )
                inside[part] = group
            if len(parts) < 2:
                raise ConfigError(
                    f"hierarchy {source}: level {number}: '{group}' groups nothing, it has one part"
                )
        names += level
        ids = {name: node for node, name in enumerate(names)}
        tables.append(tuple(ids[inside.get(names[node], names[node])] for node in tables[-1]))
    try:
        return Hierarchy(tuple(names), tuple(tables))
    except smoothseg.DataError as error:
        raise ConfigError(f"hierarchy {source}: {error}") from None
