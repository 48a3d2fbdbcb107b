"""Moved to `offlinekit.core.impl`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.core.impl")
