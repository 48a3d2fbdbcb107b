"""Statistics of scores: means, aggregates over tasks, intervals, rankings."""

from offlinekit.moved import forward

OLD = ("bootstrap_interval", "mean", "standard_error")
__getattr__ = forward(__name__, f"{__name__}.means", OLD)
