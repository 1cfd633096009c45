"""What wrapping a network needs: fitting images to it, seeded draws, and a network as a segmenter.

Plugins know which network it is and where its weights come from. Nothing here knows of noise levels and voting.
"""

from __future__ import annotations

from smoothseg.networks.adapters import ModuleSegmenter
from smoothseg.networks.draws import seeds, standard_normal
from smoothseg.networks.fitting import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Network,
    cropped,
    fold_batch_norms,
    in_rows,
    normalised,
    pad,
    padded,
)
from smoothseg.networks.inference import DTYPES, ImageSegmenter, Precision, frozen
from smoothseg.networks.resizing import resize, sigma_left

__all__ = [
    "DTYPES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageSegmenter",
    "ModuleSegmenter",
    "Network",
    "Precision",
    "cropped",
    "fold_batch_norms",
    "frozen",
    "in_rows",
    "normalised",
    "pad",
    "padded",
    "resize",
    "seeds",
    "sigma_left",
    "standard_normal",
]
