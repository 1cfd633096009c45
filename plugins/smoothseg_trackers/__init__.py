"""Trackers `tensorboard`, `wandb` and `mlflow`, which receive the figures of a run or a training.

Each has the name of its package and of the smoothseg extra that installs it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import smoothseg

__all__ = ["TRACKERS", "Installed", "register_trackers"]

TRACKERS: Mapping[str, str] = {"tensorboard": "TensorBoard", "wandb": "WeightsAndBiases", "mlflow": "MLflow"}
"""The class in `trackers.py`, by name of the tracker."""


@dataclasses.dataclass(frozen=True)
class Installed:
    """Starts the tracker `name` if its package is installed."""

    name: str

    def check(self) -> None:
        """Raise `ConfigError` if the package is not installed."""
        if importlib.util.find_spec(self.name) is None:
            raise smoothseg.ConfigError(
                f"--track {self.name}: {self.name} is not installed; pip install 'smoothseg[{self.name}]'"
            )

    def __call__(self, directory: Path, name: str, config: Mapping[str, Any]) -> smoothseg.Tracker:
        """Start a run called `name` in `directory`, with its configuration."""
        from smoothseg_trackers import trackers

        made: smoothseg.Tracker = getattr(trackers, TRACKERS[self.name])(directory, name, config)
        return made


@smoothseg.hookimpl
def register_trackers(register: smoothseg.RegisterFunction) -> None:
    """Offer the three trackers."""
    for name in TRACKERS:
        register(name, Installed(name))
