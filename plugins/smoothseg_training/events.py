"""What can happen while a network is trained, and how can a training end?"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

__all__ = ["Event", "Measured", "Started", "Stepped", "Stopped", "Trained"]


@dataclasses.dataclass(frozen=True)
class Started:
    """The run begins, or resumes after `step` steps."""

    step: int
    images: int
    parameters: int
    device: str


@dataclasses.dataclass(frozen=True)
class Stepped:
    """A step is done.

    progress: share of the run that is done, 0..1. loss: running mean. seconds: training time so far. data_share: share
    of the training time of this process in which the network waited for images, 0..1.
    """

    step: int
    progress: float
    loss: float
    lr: float
    seconds: float
    data_share: float

    @property
    def remaining(self) -> float:
        """Seconds until the end at this pace."""
        return self.seconds * (1 - self.progress) / self.progress if self.progress > 0 else math.inf


@dataclasses.dataclass(frozen=True)
class Measured:
    """The averaged weights have been measured on the validation images."""

    step: int
    figures: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Stopped:
    """The run has stopped on request and can be resumed from `checkpoint`."""

    step: int
    checkpoint: Path


@dataclasses.dataclass(frozen=True)
class Trained:
    """The run is complete.

    weights, card: the files it wrote. already: whether an earlier run wrote them.
    """

    weights: Path
    card: Path
    already: bool = False


Event = Started | Stepped | Measured
