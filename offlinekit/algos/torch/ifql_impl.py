"""Implicit flow Q-learning: IQL's values, a flow that clones, the best of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.algos.torch.bfn_impl import BestOf, BestOfImpl
from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.bases.behaviour_models import make_flow
from offlinekit.sampling.batch import TensorTree

if TYPE_CHECKING:
    from offlinekit.algos.ifql import IFQL


class IFQLImpl(BestOfImpl, IQLImpl):  # type: ignore[misc]  # A policy in place of IQL's Gaussian.
    """IQL whose policy is the best by min_k Q_k of N actions of a flow; arXiv:2502.02538."""

    config: IFQL  # type: ignore[assignment]  # It has what IQL's losses read.

    def build_policy(self) -> BestOf:  # type: ignore[override]  # As above.
        """Makes the flow and the choice among its actions."""
        return BestOf(make_flow(self), self.config.n_candidates)

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the lowest of the critics' values [N, B] of actions [N, B, A]."""
        return self.q.values(observations, actions).amin(0)
