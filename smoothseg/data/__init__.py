"""From files to samples: images, label maps, pairs of both, class names and palettes; plugins read data by these names.

Nothing here is specific to a dataset; plugins know the layouts and legends.
"""

from __future__ import annotations

from smoothseg.data import class_names, palettes
from smoothseg.data.folders import Origin, annotation_form, listed, matched, read_lines
from smoothseg.data.images import MAX_PIXELS, SUFFIXES, Pixels, read_image, read_labels
from smoothseg.data.keys import KEY, key_of
from smoothseg.data.pairs import Found, Pair, Paired, check_pairs, evenly_spaced, require_complete
from smoothseg.data.palettes import Colour, palette
from smoothseg.files import parse_json, parse_yaml, path_of, read_bytes, read_text

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
    "annotation_form",
    "check_pairs",
    "class_names",
    "evenly_spaced",
    "key_of",
    "listed",
    "matched",
    "palette",
    "palettes",
    "parse_json",
    "parse_yaml",
    "path_of",
    "read_bytes",
    "read_image",
    "read_labels",
    "read_lines",
    "read_text",
    "require_complete",
]
