"""Toy components with closed-form answers, and the checks that every component must pass.

A plugin's own tests call `check_denoiser`, `check_segmenter`, `check_certifier` or `check_dataset` with the component
that its recipe loads. Each raises `AssertionError` with the promise that was broken. `smoothseg check` runs the same
checks, one by one. `recipe` gives the recipe that a text on the command line names.

The tests of a dataset of files write its layout with `plain_image`, `label_map` and `write_image`; `check_missing` and
`check_imports` check what every such dataset must do. Nothing here is used while smoothseg certifies.
"""

from smoothseg.testing.certifiers import check_certifier
from smoothseg.testing.checks import checks
from smoothseg.testing.datasets import check_dataset
from smoothseg.testing.denoisers import check_denoiser
from smoothseg.testing.files import check_imports, check_missing, label_map, plain_image, write_image
from smoothseg.testing.promises import Check
from smoothseg.testing.recipes import recipe
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
    "check_imports",
    "check_missing",
    "check_segmenter",
    "checks",
    "label_map",
    "plain_image",
    "recipe",
    "write_image",
]
