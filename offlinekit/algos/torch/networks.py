"""Moved to `offlinekit.nn.networks`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.nn.networks")
