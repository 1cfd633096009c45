"""Which sha256 identifies a sample: a run compares it before it resumes, and so do commands that read the run."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from smoothseg.protocols import Sample

__all__ = ["sample_digests"]


def sample_digests(sample: Sample) -> dict[str, str | None]:
    """Return the sha256 of a sample's image and labels, each with its size; None without labels."""

    def digest(array: np.ndarray[Any, Any] | None) -> str | None:
        if array is None:
            return None
        return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()

    return {"image": digest(sample.image), "labels": digest(sample.labels)}
