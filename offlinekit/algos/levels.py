"""Moved to `offlinekit.sweeps.skill_datasets`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.sweeps.skill_datasets")
