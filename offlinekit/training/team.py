"""Moved to `offlinekit.training.process_group`; this path is kept for one release."""

from offlinekit.moved import forward

__getattr__ = forward(__name__, "offlinekit.training.process_group", renamed={"Team": "ProcessGroup"})
