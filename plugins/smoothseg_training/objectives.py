"""Which loss does a training minimise, and which figures does it report?"""

from __future__ import annotations

from typing import Protocol

import torch

from smoothseg.protocols import Dataset, Denoiser
from smoothseg_training.data import Batch, Cache
from smoothseg_training.denoiser_objective import DenoiserObjective
from smoothseg_training.options import DenoiserTraining, SegmenterTraining, Training
from smoothseg_training.segmenter_objective import SegmenterObjective

__all__ = ["Objective", "objective"]


class Objective(Protocol):
    """A loss to minimise and figures to report."""

    def loss(self, network: torch.nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of `network` on `batch`, a scalar on the device of the generator."""

    def measure(self, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Return the figures of `network` (in eval mode) on the validation images."""


def objective(
    training: Training,
    dataset: Dataset,
    samples: Cache,
    validation: Cache | None,
    denoiser: Denoiser | None,
) -> Objective:
    """Return the objective of `training`.

    samples: `dataset` through a cache. validation: the images to measure on, or None. denoiser: removes the noise
    before a segmenter sees the images, or None.
    """
    if isinstance(training, SegmenterTraining):
        return SegmenterObjective(training, dataset, samples, validation, denoiser)
    assert isinstance(training, DenoiserTraining)
    return DenoiserObjective(training, validation)
