"""BRED: agents that learn apart offline, by CQL, and as one policy online, by SAC."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import PolicyEnsemble
from offlinekit.nn.rows import bootstrapped, mean_weights, row_weights
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.bred import BRED


class BREDImpl(SACImpl):
    """CQL of each of M agents offline; online SAC with the policy that has their moments; arXiv:2107.00591.

    Critics [M * K] lie agent by agent, K of each. Order: temperature, actor, critics.
    """

    config: BRED
    policy: PolicyEnsemble

    @property
    def n_members(self) -> int:
        """Critics of all agents."""
        return int(self.config.n_agents * self.config.n_critics)

    def build_policy(self) -> PolicyEnsemble:
        """Makes the squashed Gaussian policies of all agents."""
        network = self.make_network(2 * self.action_size, members=self.config.n_agents)
        return PolicyEnsemble(network, self.random, (self.config.log_std_min, 2.0))

    def by_agent(self, values: Tensor) -> Tensor:
        """Returns what critics [M * K, ...] give, by agent: [M, K, ...]."""
        return values.reshape(self.config.n_agents, self.config.n_critics, *values.shape[1:])

    def of_critics(self, values: Tensor) -> Tensor:
        """Returns what agents have [M, ...] for each of their critics: [M * K, ...]."""
        return values.repeat_interleave(self.config.n_critics, 0)

    def lowest_of_agents(self, outputs: Tensor) -> Tensor:
        """Returns the lowest critic of each agent: [M * K, ..., B] -> [M, ..., B]."""
        return torch.stack([self.q.lowest(own) for own in self.by_agent(outputs)])

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_mk(s', a') for each critic of agent m, a' its own; online the policy's,
        less temperature log pi(a'|s').
        """
        if self.is_online:
            actions, log_probs = self.policy.sample(batch.next_observations)
            outputs, entropy = self.target_q(batch.next_observations, actions), log_probs
        else:
            own, _ = self.policy.sample_each(batch.next_observations)
            outputs, entropy = self.target_q.apart(batch.next_observations, self.of_critics(own)), None
        values = self.lowest_of_agents(outputs)
        if entropy is not None:
            values = values - self.log_temperature.exp() * entropy
        return self.of_critics(batch.rewards + batch.discounts * values)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of all critics; offline plus alpha times their conservative gap."""
        outputs = self.q(batch.observations, batch.actions)
        td_loss = self.q.loss(outputs, q_tpn, batch.masks)
        if self.is_online:
            return td_loss
        gap = self.conservative_gap(batch, self.q.expected(outputs))
        loss = td_loss + self.config.alpha * gap
        return loss, {"td_loss": td_loss.detach(), "conservative_gap": gap.detach()}

    def conservative_gap(self, batch: Batch, data: Tensor) -> Tensor:
        """Returns the sum over critics of the mean of logsumexp_j(Q(s, a_j) - log density) - Q(s, a) [].

        Args:
            batch: B rows.
            data: Values of the data's actions, [M * K, B].
        """
        n, agents = self.config.n_actions, self.config.n_agents
        uniform = self.random.uniform(agents, n, *batch.actions.shape, low=-1.0, high=1.0)
        with torch.no_grad():
            now, log_now = self.policy.sample_each(batch.observations, n)  # [M, n, B, A]
            later, log_later = self.policy.sample_each(batch.next_observations, n)
        actions = torch.cat([uniform, now, later], 1)
        log_uniform = torch.full_like(log_now, -self.action_size * math.log(2.0))  # The box [-1, 1]^A.
        densities = torch.cat([log_uniform, log_now, log_later], 1)
        sampled = self.q.expected(
            self.q.apart(batch.observations, self.of_critics(actions))
        )  # [M * K, 3n, B]
        pushed = losses.soft_maximum(sampled - self.of_critics(densities))
        weights = mean_weights(bootstrapped(data, batch.masks), row_weights(batch))
        return (weights * (pushed - data)).sum()

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns temperature log pi_m(a|s) - min_k Q_mk(s, a), [M, B]; online of the one policy and the mean, [B]."""
        temperature = self.log_temperature.detach().exp()
        if self.is_online:
            actions, log_probs = self.policy.sample(batch.observations)
            values = self.by_agent(self.q.values(batch.observations, actions)).amin(1).mean(0)
            return temperature * log_probs - values
        actions, log_probs = self.policy.sample_each(batch.observations)
        outputs = self.q.expected(self.q.apart(batch.observations, self.of_critics(actions)))
        return temperature * log_probs - self.by_agent(outputs).amin(1)

    def log_probs_of_draws(self, batch: Batch) -> Tensor:
        """Returns log pi of drawn actions [B]; offline the mean over agents."""
        if self.is_online:
            return super().log_probs_of_draws(batch)
        return self.policy.sample_each(batch.observations)[1].mean(0)
