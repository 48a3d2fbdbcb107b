"""Moved to `offlinekit.core.bases.q_learning`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.core.bases.q_learning")
