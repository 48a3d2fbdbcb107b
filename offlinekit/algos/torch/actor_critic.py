"""Moved to `offlinekit.core.bases.actor_critic_impl`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.core.bases.actor_critic_impl")
