"""Moved to `offlinekit.datasets.editing.converting`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.datasets.editing.converting")
