"""Weights that fall while an online run goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from offlinekit.core.impl import Impl


class Cooling(Impl):
    """Put before an implementation, gives its losses how far an online run has come.

    Attributes:
        online: 1 in an online run, else 0; [].
        progress: Share of the updates of an online run that are done, else 0; [].
    """

    online: Tensor
    progress: Tensor

    def build(self) -> None:
        """Makes the networks, and the two numbers; checkpoints need neither, since the run sets them."""
        super().build()
        self.register_buffer("online", torch.zeros(()), persistent=False)
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    def enter_phase(self, online: bool) -> None:
        """Prepares for a run on data alone, or for one that acts too."""
        super().enter_phase(online)
        self.online.fill_(float(online))
        self.progress.zero_()

    def begin_update(self) -> None:
        """Counts the update, and notes how far an online run has come."""
        super().begin_update()
        if self.is_online:
            self.progress.fill_(self.run_done)

    def cooled(self, end: float) -> Tensor:
        """Returns the share of a weight that is left: 1 before, online falling linearly to 0, but not below `end`."""
        return (1.0 - self.progress).clamp(min=end)
