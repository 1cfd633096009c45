"""Public toy components with closed-form answers, and the checks every component must pass.

A plugin's own tests call `check_denoiser`, `check_segmenter`, `check_certifier` or `check_dataset` on what its
recipe loads; each raises `AssertionError` with what was broken. `smoothseg check` runs the same checks, one by one.
"""

from smoothseg.testing.checks import (
    Check,
    check_certifier,
    check_dataset,
    check_denoiser,
    check_segmenter,
    checks,
)
from smoothseg.testing.toys import CountingDenoiser, ImageDataset, LabelDraw, ThresholdSegmenter

__all__ = [
    "Check",
    "CountingDenoiser",
    "ImageDataset",
    "LabelDraw",
    "ThresholdSegmenter",
    "check_certifier",
    "check_dataset",
    "check_denoiser",
    "check_segmenter",
    "checks",
]
