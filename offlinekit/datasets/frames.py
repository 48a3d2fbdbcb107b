"""Moved to `offlinekit.envs.frame_stacking`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.envs.frame_stacking")
