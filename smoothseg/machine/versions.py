"""Versions of the numerical software: results may depend on them, and bug reports should name them."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

__all__ = ["NUMERICAL", "numerical", "own"]

NUMERICAL = (
    "smoothseg", "torch", "torchvision", "numpy", "scipy", "timm", "diffusers", "transformers", "mmsegmentation",
    "mmengine", "mmcv-lite", "mmcv",
)  # fmt: skip
"""Distributions whose versions are recorded."""


def numerical() -> dict[str, str]:
    """Return the versions of Python and of the installed numerical packages, as they were when first asked for."""
    found = {name: _version(name) for name in NUMERICAL}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version is not None},
    }


def own() -> str:
    """Return the version of smoothseg."""
    return metadata.version("smoothseg")


@functools.cache
def _version(name: str) -> str | None:
    """Return the version of a distribution, None if it is absent; read once, for every certificate states it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
