"""Versions of the numerical software: results may depend on them, and bug reports should name them."""

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
    """Return the versions of Python and of the installed numerical packages."""
    found = {"python": platform.python_version()}
    for name in NUMERICAL:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def own() -> str:
    """Return the version of smoothseg."""
    return metadata.version("smoothseg")
