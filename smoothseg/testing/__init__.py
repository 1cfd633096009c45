"""Toy components with closed-form answers, and the checks that every component must pass.

A plugin's own tests call `check_denoiser`, `check_segmenter`, `check_certifier` or `check_dataset` with the component
that its recipe loads. Each raises `AssertionError` with the promise that was broken. `smoothseg check` runs the same
checks, one by one.
"""

from smoothseg.testing.certifiers import check_certifier
from smoothseg.testing.checks import checks
from smoothseg.testing.datasets import check_dataset
from smoothseg.testing.denoisers import check_denoiser
from smoothseg.testing.promises import Check
from smoothseg.testing.segmenters import check_segmenter
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
