"""From files to samples: images, label maps, pairs of both, class names and palettes; plugins read data by these names.

Nothing here is specific to a dataset; plugins know the layouts and legends.
"""

from __future__ import annotations

from smoothseg.data import class_names, palettes
from smoothseg.data.folders import Origin, form, lines, listed, matched
from smoothseg.data.images import MAX_PIXELS, SUFFIXES, Pixels, read_image, read_labels
from smoothseg.data.keys import KEY, key_of
from smoothseg.data.pairs import Found, Pair, Paired, checked, complete, thinned
from smoothseg.data.palettes import Colour, palette

__all__ = [
    "KEY",
    "MAX_PIXELS",
    "SUFFIXES",
    "Colour",
    "Found",
    "Origin",
    "Pair",
    "Paired",
    "Pixels",
    "checked",
    "class_names",
    "complete",
    "form",
    "key_of",
    "lines",
    "listed",
    "matched",
    "palette",
    "palettes",
    "read_image",
    "read_labels",
    "thinned",
]
