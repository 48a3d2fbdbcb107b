"""The losses of implicit Q-learning, whatever the actions: expectile value, critics, weighted cloning."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.networks import QFunction
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss


class ImplicitValues:
    """Put before an implementation with a state `value`, gives it the losses of arXiv:2110.06169, algorithm 1."""

    config: Any
    policy: Any
    q: QFunction
    value: Any

    def data_values(self, batch: Batch) -> Tensor:
        """Returns min_k Q_target_k(s, a) of the data's actions [B], without gradient."""
        raise UnsupportedError(f"{type(self).__name__} must define data_values()")

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the expectile loss of V(s) towards Q_target(s, a), eq. (5)."""
        values = self.value(batch.observations).squeeze(-1)
        errors = self.data_values(batch) - values
        return losses.expectile_loss(errors, self.config.expectile), {"value": values.detach()}

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma V(s'), eq. (6); [B], or [1, B] as one sample for quantiles."""
        target: Tensor = batch.rewards + batch.discounts * self.value(batch.next_observations).squeeze(-1)
        return self.q.as_target(target)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -exp(beta (Q_target - V)) log pi(a|s) of each row, the weight bounded, eq. (7)."""
        advantages = self.data_values(batch) - self.value(batch.observations).squeeze(-1).detach()
        weights = losses.exponential_weights(advantages, self.config.beta, self.config.max_weight)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}
