"""Targets by a few critics of an ensemble, drawn anew for each update."""

from __future__ import annotations

from torch import Tensor

from offlinekit.core.impl import Impl


class RandomSubset(Impl):
    """Put before an implementation whose front has `n_critics` and `subset_size`, draws some of its critics."""

    def draw_members(self) -> Tensor:
        """Draws the numbers of different critics, [M]; all subsets are equally likely."""
        return self.random.uniform(self.config.n_critics).argsort()[: self.config.subset_size]
