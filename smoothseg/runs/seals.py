"""A digest inside a JSON object, over the rest of it: an object that was damaged in storage is noticed.

This protects from chance and not from people, who can compute the digest too. For them see `manifest.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from smoothseg.files import parse_json

__all__ = ["sealed", "unsealed"]

_FIELD = "check"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value`, of JSON values, with the digest of its content in the field `check`."""
    return {**value, _FIELD: _digest(value)}


def unsealed(content: bytes, *, before: frozenset[str]) -> dict[str, Any] | None:
    """Return the object that `sealed` made, without its digest; None if `content` is not one as it was written.

    before: the fields of objects that were written before there was a digest. One without a digest may have no other.
    """
    try:
        value = parse_json(content)
        if not isinstance(value, dict):
            return None
        check = value.pop(_FIELD, None)
        right = value.keys() <= before if check is None else check == _digest(value)
    except ValueError:  # no UTF-8, no JSON, or nested too deep
        return None
    return value if right else None


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
