"""Best of N from a flow: a flow that clones, critics of the best of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_flow
from offlinekit.core.bases.best_of_impl import BestOf, BestOfImpl
from offlinekit.sampling.batch import Batch, TensorTree

if TYPE_CHECKING:
    from offlinekit.algos.bfn import BFN


class BFNImpl(BestOfImpl, ActorCriticImpl):
    """y = r + gamma Q_target(s', a*), a* the best by Q of N actions of the flow at s'; arXiv:2507.07969."""

    config: BFN

    def build_policy(self) -> BestOf:
        """Makes the flow and the choice among its actions."""
        return BestOf(make_flow(self), self.config.n_candidates)

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the values [N, B] of actions [N, B, A], the mean or the lowest of the critics."""
        values = self.q.values(observations, actions)
        return values.mean(0) if self.config.target_value == "mean" else values.amin(0)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma Q_target(s', a*), [B] or [N, B], Q the mean or the lowest of the critics."""
        actions = self.policy.sample(batch.next_observations, self.action_values)
        outputs = self.target_q(batch.next_observations, actions)
        value = outputs.mean(0) if self.config.target_value == "mean" else self.q.lowest(outputs)
        return batch.rewards + batch.discounts * value
