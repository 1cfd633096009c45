"""How a guarantee is written in few figures and in other units: a radius never above what it is."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

__all__ = ["over_root", "rounded_down", "scaled"]


def scaled(value: float, factor: int) -> float:
    """Return the largest float that is at most `value` times `factor`; NaN for NaN. Neither is negative."""
    product = factor * value
    if math.isfinite(product) and Fraction(product) > factor * Fraction(value):
        product = math.nextafter(product, 0.0)
    return product


def over_root(value: float, square: int) -> float:
    """Return the largest float that is at most `value` over the root of `square`; NaN for NaN. Neither is negative."""
    quotient = value / math.sqrt(square)
    if not math.isfinite(quotient):
        return quotient
    exact = Fraction(value) ** 2
    # Root and quotient are rounded, each to the nearest float: the first guess is a step or two away.
    quotient = math.nextafter(quotient * (1 + 2**-51), math.inf)
    while Fraction(quotient) ** 2 * square > exact:
        quotient = math.nextafter(quotient, 0.0)
    return quotient


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
