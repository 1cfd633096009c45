"""The kinds of noise by name. This module imports nothing, so that a report can be made without torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ALGORITHMS", "GAUSSIAN", "name_of"]

ALGORITHMS: Mapping[str, str] = MappingProxyType(
    {"lattice": "lattice-255-philox4x64", "gaussian": "philox-numpy-float32"}
)
"""The algorithm of each kind, as certificates name it; it changes whenever the numbers change. See `noise.py`."""

GAUSSIAN = "gaussian noise is rounded in a way that shows the clean image: certificates can be false"
"""What is said of it wherever it is used."""


def name_of(algorithm: str) -> str:
    """Return the kind of noise whose algorithm a certificate names; the algorithm itself if no kind has it."""
    return next((kind for kind, each in ALGORITHMS.items() if each == algorithm), algorithm)
