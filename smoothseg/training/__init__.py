"""Training of segmenters and denoisers on any dataset: configuration, data, objectives, loop."""

from __future__ import annotations

from smoothseg.training.configuration import (
    DenoiserTraining,
    Running,
    SegmenterTraining,
    configure,
)

__all__ = ["DenoiserTraining", "Running", "SegmenterTraining", "configure"]
