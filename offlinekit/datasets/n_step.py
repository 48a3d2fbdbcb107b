"""Moved to `offlinekit.sampling.n_step`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.sampling.n_step")
