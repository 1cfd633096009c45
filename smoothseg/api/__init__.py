"""The Python interface: `smoothseg.certify` certifies images with components by name or with the user's own network.

Nothing is decided here that the command line could not do too. Nothing imports torch before a call, and the rooms below
do not know this interface.

Private: `smoothseg` gives its names; the import paths here may change without notice.
"""

from __future__ import annotations

from smoothseg.api.certifying import certify
from smoothseg.api.components import dataset, segmenter
from smoothseg.api.result import Result

__all__ = ["Result", "certify", "dataset", "segmenter"]
