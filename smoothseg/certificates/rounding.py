"""How a guarantee is written in few figures: a radius never above what it is."""

from __future__ import annotations

import decimal
import math

__all__ = ["rounded_down"]


def rounded_down(value: float, figures: int = 3) -> str:
    """Return the largest number of so many significant figures that, read back as a float, is at most `value`.

    It has no exponent and no zeros at its end. Where there is no number, "nan".
    """
    if math.isnan(value):
        return "nan"
    exact = decimal.Decimal(value)
    nearest = decimal.Context(prec=figures).plus(exact)
    if float(nearest) > value:
        nearest = decimal.Context(prec=figures, rounding=decimal.ROUND_FLOOR).plus(exact)
    return format(nearest.normalize(), "f")
