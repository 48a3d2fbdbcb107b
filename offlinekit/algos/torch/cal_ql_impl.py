"""Calibrated Q-learning: CQL with one bound."""

from __future__ import annotations

import torch
from torch import Tensor

from offlinekit.algos.torch.cql_impl import CQLImpl


class CalQLImpl(CQLImpl):
    """The gap pushes the policy's values down no further than the data's returns; arXiv:2303.05479, eq. (5.1)."""

    def bounded_values(self, sampled: Tensor, returns: Tensor) -> Tensor:
        """Returns max(Q(s, a), return of the data from s on) for the policy's actions, Q(s, a) for random ones."""
        n = self.config.n_actions
        return torch.cat([sampled[:, :n], torch.maximum(sampled[:, n:], returns)], 1)
