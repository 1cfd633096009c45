"""How colours are scaled and mixed."""

from __future__ import annotations

from smoothseg_streets.scene import Colour

__all__ = ["mix", "scaled"]


def scaled(colour: Colour, factor: float) -> Colour:
    """Return the colour that much brighter."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour `share` of the way from `first` to `second`."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )
