"""Conservative Q-learning: SAC with a conservative gap in the critics' loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.nn import losses
from offlinekit.nn.block_sums import sum_in_blocks
from offlinekit.nn.rows import bootstrapped, mean_weights, row_weights
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective, Rows
from offlinekit.types import rows

if TYPE_CHECKING:
    from offlinekit.algos.cql import CQL

BLOCK = 2048
"""State-action pairs valued at a time, so that the layers' outputs stay in the cache."""


class CQLImpl(SACImpl):
    """L = L_TD + alpha E[log integral exp Q(s, a) da - Q(s, a_data)]; arXiv:2006.04779, eq. (4)."""

    config: CQL

    def build(self) -> None:
        """Makes the networks of SAC and log alpha, which starts at `alpha` if it is learned."""
        super().build()
        start = 1.0 if self.config.gap_threshold is None else max(self.config.alpha, 1e-8)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(start)))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of SAC, led by alpha's if a threshold is given, so that it is learned."""
        if self.config.gap_threshold is None:
            return super().build_objectives()
        rate = self.config.alpha_learning_rate
        alpha = self.objective("alpha", self.compute_alpha_loss, [self.log_alpha], rate)
        return [alpha, *super().build_objectives()]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_k(s', a'); with the entropy, or the best of many a', if set."""
        if self.config.soft_backup:
            return super().compute_target(batch)
        observations = batch.next_observations
        if not self.config.max_backup:
            actions, _ = self.policy.sample(observations)
            return batch.rewards + batch.discounts * self.q.lowest(self.target_q(observations, actions))
        actions, _ = self.policy.sample(observations, self.config.n_actions)  # [M, B, A]
        values = self.target_q.values(observations, actions)  # [K, M, B]
        by_critic = self.config.max_backup_order == "critic"
        best = values.amax(1).amin(0) if by_critic else values.amin(0).amax(0)
        target: Tensor = batch.rewards + batch.discounts * best
        return self.q.as_target(target)

    def sampled_actions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Draws random actions and the policy's at s and at s': [3n, B, A], with log-densities [3n, B]."""
        n, size = self.config.n_actions, self.action_size
        uniform = self.random.uniform(n, *batch.actions.shape, low=-1.0, high=1.0)
        with torch.no_grad():
            now, log_now = self.policy.sample(batch.observations, n)
            later, log_later = self.policy.sample(batch.next_observations, n)
        log_uniform = torch.full_like(log_now, -size * math.log(2.0))  # The box [-1, 1]^A.
        return torch.cat([uniform, now, later]), torch.cat([log_uniform, log_now, log_later])

    def conservative_gap(self, batch: Batch, data: Tensor) -> Tensor:
        """Returns the sum over critics of the mean gap [], one logsumexp over all sampled actions at s.

        Args:
            batch: B rows.
            data: Values of the data's actions, [K, B].
        """
        actions, densities = self.sampled_actions(batch)
        pushed_masks, data_masks = self.gap_masks(batch)
        weights = mean_weights(bootstrapped(data, pushed_masks), row_weights(batch))
        held = weights
        if data_masks is not pushed_masks:
            held = mean_weights(bootstrapped(data, data_masks), row_weights(batch))

        def soft_maxima(some: slice) -> Tensor:
            sampled = self.q.values(rows(batch.observations, some), actions[:, some])  # [K, 3n, B]
            sampled = self.bounded_values(sampled, batch, some)
            values = losses.soft_maximum(sampled, densities[:, some], self.config.temperature)
            return (weights[:, some] * values).sum()

        size = BLOCK // len(actions) if self.q.network.rows_are_independent else len(batch.rewards)
        pushed = sum_in_blocks(soft_maxima, len(batch.rewards), max(size, 1), list(self.q.parameters()))
        gap = pushed - (held * data).sum()
        threshold = self.config.gap_threshold
        return gap if threshold is None else gap - threshold * weights.sum()

    def gap_masks(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Returns which rows' states values are pushed down at, and which rows' actions they are held up at, [K, B].

        Both are 1 for a row that counts, or None for all rows; a subclass may part them.
        """
        return batch.masks, batch.masks

    def bounded_values(self, sampled: Tensor, batch: Batch, some: slice) -> Tensor:
        """Returns the values of sampled actions that enter the gap; a subclass may bound them.

        Args:
            sampled: [K, 3n, R] in the order of `sampled_actions`.
            batch: B rows.
            some: R of them, those of `sampled`.
        """
        return sampled

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss plus alpha times the conservative gap."""
        outputs = self.q(batch.observations, batch.actions)
        td_loss = self.q.loss(outputs, q_tpn, batch.masks)
        gap = self.conservative_gap(batch, self.q.expected(outputs))
        loss = td_loss + self.alpha() * gap
        return loss, {"td_loss": td_loss.detach(), "conservative_gap": gap.detach()}

    def alpha(self) -> Tensor | float:
        """Returns the weight of the gap, without gradient."""
        if self.config.gap_threshold is None:
            alpha: float = self.config.alpha
            return alpha
        return self.log_alpha.detach().exp().clamp(max=1e6)

    def compute_alpha_loss(self, batch: Batch) -> Loss:
        """Returns -alpha * (gap - threshold), which grows alpha while the gap is above its threshold."""
        with torch.no_grad():
            data = self.q.values(batch.observations, batch.actions)
            gap = self.conservative_gap(batch, data)
        alpha = self.log_alpha.exp().clamp(max=1e6)
        return Rows(extra=-alpha * gap), {"alpha": alpha.detach()}
