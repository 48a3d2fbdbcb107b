"""Calibrated Q-learning: CQL with one bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.sampling.batch import Batch

if TYPE_CHECKING:
    from offlinekit.algos.cal_ql import CalQL


class CalQLImpl(CQLImpl):
    """The gap pushes the policy's values down no further than the data's returns; arXiv:2303.05479, eq. (5.1)."""

    config: CalQL
    needs: ClassVar[tuple[str, ...]] = (*CQLImpl.needs, "returns")

    def bounded_values(self, sampled: Tensor, batch: Batch, some: slice) -> Tensor:
        """Returns max(Q(s, a), return of the data from s on) for the policy's actions, Q(s, a) for random ones."""
        return held_up(sampled, batch.returns[some], self.config.n_actions)


def held_up(sampled: Tensor, returns: Tensor, n: int) -> Tensor:
    """Returns values of sampled actions, those of the policy no lower than the returns; arXiv:2303.05479, eq. (5.1).

    Args:
        sampled: [K, 3n, R], of n random actions and then of 2n of the policy.
        returns: Of the data, from the states on, [R].
        n: Actions of each kind.
    """
    return torch.cat([sampled[:, :n], torch.maximum(sampled[:, n:], returns)], 1)
