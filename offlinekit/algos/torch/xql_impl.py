"""Extreme Q-learning: implicit Q-learning with Gumbel regression of the value."""

from __future__ import annotations

from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss


class XQLImpl(IQLImpl):
    """V(s) = temperature log E_data exp(Q(s, a) / temperature) by regression; arXiv:2301.02328, algorithm 1."""

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the Gumbel loss of V(s) towards Q_target(s, a), eq. (11)."""
        values = self.value(batch.observations).squeeze(-1)
        errors = self.data_values(batch) - values
        loss = losses.gumbel_loss(errors, self.config.temperature, self.config.max_exponent)
        return loss, {"value": values.detach()}
