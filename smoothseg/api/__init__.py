"""The front door from Python: `smoothseg.certify` an image with components by name, or with a network of one's own.

Nothing here imports torch before it is called, and nothing below knows that it is called from Python.
"""

from __future__ import annotations

from smoothseg.api.certifying import certify
from smoothseg.api.components import dataset, segmenter
from smoothseg.api.result import Result

__all__ = ["Result", "certify", "dataset", "segmenter"]
