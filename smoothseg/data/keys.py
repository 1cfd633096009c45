"""The key of an image: it names the image's files and determines its noise."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from smoothseg.protocols import KEY

__all__ = ["KEY", "key_of"]

_OTHER = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 120


def key_of(relative: Path) -> str:
    """Return the key of the image with this relative path, the same on every file system.

    It is the path without suffix, its `/` written `__`. Every other character that is not an ASCII letter, digit, `-`,
    `_` or `.` becomes `_`; a path longer than 120 characters is cut there. A path changed in this way gets `-` and
    the first 12 hexadecimal digits of the sha256 of the path without suffix (in Unicode's form NFC).
    """
    stem = unicodedata.normalize("NFC", relative.with_suffix("").as_posix())
    flat = stem.replace("/", "__")
    key = _OTHER.sub("_", flat)[:_LONGEST]
    return (
        key
        if key == flat
        else f"{key}-{hashlib.sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
    )
