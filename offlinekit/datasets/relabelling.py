"""Moved to `offlinekit.datasets.editing.relabelling`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.datasets.editing.relabelling")
