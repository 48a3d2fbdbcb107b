"""Continuous actions as a Box has them: of its dtype, whole numbers rounded, inside its bounds."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from offlinekit.types import Array

EXACT = 2.0**53
"""Up to here float64 holds every whole number."""


def box_bounds(space: spaces.Box) -> tuple[Array, Array]:
    """Returns the bounds as float64; of whole numbers that it cannot hold, ones inside."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if space.dtype.kind in "iu":
        low = np.where(low < -EXACT, np.nextafter(low, np.inf), low)
        high = np.where(high > EXACT, np.nextafter(high, -np.inf), high)
    return low, high


def box_actions(actions: Array, space: spaces.Box) -> Array:
    """Returns actions [..., A] of networks, in the units of the data, of the dtype of a Box and inside its bounds.

    Whole numbers are rounded to the nearest, halves to the even one; what is not finite must have been refused.
    """
    if space.dtype == np.float32:
        inside: Array = np.clip(actions, space.low, space.high)
        return inside
    wide = actions.astype(np.float64)
    return np.clip(wide if space.dtype.kind == "f" else np.rint(wide), *box_bounds(space)).astype(space.dtype)
