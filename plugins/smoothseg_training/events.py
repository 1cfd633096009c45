"""What happens while a network is trained, and how a training ends."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

__all__ = ["Event", "Measured", "Started", "Stepped", "Stopped", "Trained"]


@dataclasses.dataclass(frozen=True)
class Started:
    """The run begins, or goes on after `step` steps."""

    step: int
    images: int
    parameters: int
    device: str


@dataclasses.dataclass(frozen=True)
class Stepped:
    """A step is done.

    progress: 0..1 of the run. loss: running mean. seconds: spent in all. data_share: of this process's training
    time, the part in which the network waited for images.
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
    """The averaged weights were measured on the validation images."""

    step: int
    figures: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Stopped:
    """The run was asked to stop and can be resumed from `checkpoint`."""

    step: int
    checkpoint: Path


@dataclasses.dataclass(frozen=True)
class Trained:
    """The run is complete: its weight file, its card, and whether that had been done before."""

    weights: Path
    card: Path
    already: bool = False


Event = Started | Stepped | Measured
