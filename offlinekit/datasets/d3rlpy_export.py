"""Moved to `offlinekit.datasets.families.d3rlpy_export`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.datasets.families.d3rlpy_export")
