"""Shares of whole numbers."""

from __future__ import annotations

from fractions import Fraction


def share_of(share: float, count: int) -> Fraction:
    """Returns a share of a count, exactly as its decimal digits say: 0.29 of 100 is 29, where floats are below it.

    Args:
        share: Such as a hyperparameter.
        count: A whole number.
    """
    return Fraction(repr(float(share))) * int(count)
