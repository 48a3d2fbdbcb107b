"""Moved to `offlinekit.metrics.statistics.aggregates`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.metrics.statistics.aggregates")
