"""Moved to `offlinekit.sampling.scalers`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.sampling.scalers")
