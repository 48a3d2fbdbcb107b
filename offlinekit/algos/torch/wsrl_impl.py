"""WSRL: Cal-QL offline and soft actor-critic online, a random few of many critics in each target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.algos.torch.cal_ql_impl import held_up
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.bases.phases import FreeOnline
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Objective

if TYPE_CHECKING:
    from offlinekit.algos.wsrl import WSRL


class WSRLImpl(FreeOnline, CQLImpl):
    """Cal-QL offline; online its critics' loss without the gap, which needs no recorded row; arXiv:2412.07762."""

    config: WSRL
    needs: ClassVar[tuple[str, ...]] = (*CQLImpl.needs, "returns")

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that losses read: online no returns, so that rows need not wait for the end of their episode."""
        return tuple(name for name in self.needs if name != "returns" or not self.is_online)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses; online those of policy and temperature are minimised at some updates alone."""
        objectives = super().build_objectives()
        for objective in objectives:
            if objective.name in ("actor", "temperature") and self.is_online:
                objective.every = self.config.online_policy_delay
        return objectives

    def bounded_values(self, sampled: Tensor, batch: Batch, some: slice) -> Tensor:
        """Returns max(Q(s, a), return of the data from s on) for the policy's actions, as Cal-QL does."""
        return held_up(sampled, batch.returns[some], self.config.n_actions)

    def draw_members(self) -> Tensor:
        """Draws the numbers of different critics, [M]; all subsets are equally likely."""
        return self.random.subset(self.config.n_critics, self.config.subset_size)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_{k in M} Q_target_k(s', a'), one M for all rows, with the options of CQL."""
        config, observations, members = self.config, batch.next_observations, self.draw_members()
        if config.max_backup:
            actions, _ = self.policy.sample(observations, config.n_actions)  # [n, B, A]
            values = self.target_q.values(observations, actions)[members]  # [M, n, B]
            by_critic = config.max_backup_order == "critic"
            best = values.amax(1).amin(0) if by_critic else values.amin(0).amax(0)
            return self.q.as_target(batch.rewards + batch.discounts * best)
        actions, log_probs = self.policy.sample(observations)
        lowest = self.q.lowest(self.target_q(observations, actions)[members])
        if config.soft_backup:
            lowest = lowest - self.log_temperature.exp() * log_probs
        target: Tensor = batch.rewards + batch.discounts * lowest
        return target
