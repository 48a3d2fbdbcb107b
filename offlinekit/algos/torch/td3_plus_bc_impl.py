"""TD3+BC: TD3 with one term in the actor's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.td3_plus_bc import TD3PlusBC


class TD3PlusBCImpl(TD3Impl):
    """L_actor = (pi(s) - a)^2 - lambda Q(s, pi(s)), lambda = alpha / mean |Q|; arXiv:2106.06860, eq. (5)."""

    config: TD3PlusBC

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the normalised value term plus the squared distance to the data's actions, row by row."""
        actions = self.policy(batch.observations)
        values = self.q.values(batch.observations, actions, members=1)[0]
        scale = self.config.alpha / self.batch_mean(values.detach().abs(), batch).clamp(min=1e-8)
        cloning = losses.squared_error(actions, batch.actions)
        return cloning - scale * values, {"bc_loss": cloning.detach()}
