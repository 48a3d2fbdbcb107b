"""REDQ: soft actor-critic with many critics, a random few of them in each target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.redq import REDQ


class REDQImpl(SACImpl):
    """Targets by M of N critics drawn at random, an actor on the mean of all; arXiv:2101.05982, algorithm 1.

    Order: critics, actor, temperature; the last two at every `policy_delay`-th update.
    """

    config: REDQ

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the critics, the actor and the temperature."""
        return [self.critic_objective(), self.actor_objective(), self.temperature_objective()]

    def draw_members(self) -> Tensor:
        """Draws the numbers of different critics, [M]; all subsets are equally likely."""
        return self.random.subset(self.config.n_critics, self.config.subset_size)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma (min_{k in M} Q_target_k(s', a') - temperature log pi(a'|s')), one M for all rows."""
        members = self.draw_members()
        actions, log_probs = self.policy.sample(batch.next_observations)
        values = self.q.lowest(self.target_q(batch.next_observations, actions)[members])
        target: Tensor = batch.rewards + batch.discounts * (values - self.log_temperature.exp() * log_probs)
        return target

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns temperature log pi(a|s) - mean_k Q_k(s, a) of each row."""
        actions, log_probs = self.policy.sample(batch.observations)
        values = self.q.values(batch.observations, actions).mean(0)
        return self.log_temperature.detach().exp() * log_probs - values
