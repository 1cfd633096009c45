"""Which street a random generator draws."""

from __future__ import annotations

from smoothseg_streets.layout.plan import draw_scene

__all__ = ["draw_scene"]
