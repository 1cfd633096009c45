"""From a weight reference to a verified local file and its tensors; plugins load and save weights through these names.

Nothing here decides what a network does with its tensors, or imports torch before a file is read.
"""

from __future__ import annotations

from smoothseg.files import path_of, read_json
from smoothseg.files import sha256_of as digest
from smoothseg.weights.downloads import offline
from smoothseg.weights.matching import (
    check_class_count,
    check_network,
    digests,
    filled,
    fits,
    load_state,
    outlined,
    own_classes,
    scored_classes,
)
from smoothseg.weights.references import AUTO, ensure, locate, package_of, pinned
from smoothseg.weights.sources import cache
from smoothseg.weights.stored import Convertible, Weights, load, save

__all__ = [
    "AUTO",
    "Convertible",
    "Weights",
    "cache",
    "check_class_count",
    "check_network",
    "digest",
    "digests",
    "ensure",
    "filled",
    "fits",
    "load",
    "load_state",
    "locate",
    "offline",
    "outlined",
    "own_classes",
    "package_of",
    "path_of",
    "pinned",
    "read_json",
    "save",
    "scored_classes",
]
