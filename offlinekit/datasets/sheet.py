"""Moved to `offlinekit.datasets.inspection.sheet`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.datasets.inspection.sheet")
