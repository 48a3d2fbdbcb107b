"""Moved to `offlinekit.envs.stateful_policies`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.envs.stateful_policies")
