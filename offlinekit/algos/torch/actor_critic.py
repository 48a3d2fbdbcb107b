"""Moved to `offlinekit.core.bases.actor_critic`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.core.bases.actor_critic")
