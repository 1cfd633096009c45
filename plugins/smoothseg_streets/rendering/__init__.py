"""How a scene becomes an image and its labels."""

from __future__ import annotations

from smoothseg_streets.rendering.picture import render

__all__ = ["render"]
