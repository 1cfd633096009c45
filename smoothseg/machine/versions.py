"""The versions of the software that computes: a result may depend on them, and a bug report should name them."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

__all__ = ["NUMERICAL", "numerical", "own"]

NUMERICAL = (
    "smoothseg", "torch", "torchvision", "numpy", "scipy", "timm", "diffusers", "transformers", "mmsegmentation",
    "mmengine", "mmcv-lite", "mmcv",
)  # fmt: skip
"""Distributions whose versions are recorded."""


def numerical() -> dict[str, str]:
    """Return the version of Python and, where they are installed, of the numerical packages."""
    found = {"python": platform.python_version()}
    for name in NUMERICAL:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def own() -> str:
    """Return the version of smoothseg."""
    return metadata.version("smoothseg")
