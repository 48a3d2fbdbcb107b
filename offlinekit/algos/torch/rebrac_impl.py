"""ReBRAC: TD3 with a penalty in the actor's loss and one in the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.core.bases.cooling import Cooling
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.rebrac import ReBRAC


class ReBRACImpl(Cooling, TD3Impl):
    """Behaviour-regularised TD3 with decoupled penalties; arXiv:2305.09836, algorithm 1.

    Online the actor's penalty falls to a share of it, and the targets' is a share from the first update on.
    """

    config: ReBRAC
    needs: ClassVar[tuple[str, ...]] = (*TD3Impl.needs, "next_actions")

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma (min_k Q_target_k(s', a') - critic_penalty |a' - a'_data|^2)."""
        actions = self.smoothed_actions(batch.next_observations)
        distances = (actions - batch.next_actions).square().sum(-1)
        values = self.q.lowest(self.target_q(batch.next_observations, actions))
        config = self.config
        penalty = config.critic_penalty * torch.where(self.online > 0, config.online_critic_share, 1.0)
        target: Tensor = batch.rewards + batch.discounts * (values - penalty * distances)
        return target

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the weighted squared distance to the data's actions minus the normalised value."""
        actions = self.policy(batch.observations)
        values = self.q.values(batch.observations, actions).amin(0)
        scale = 1.0 / self.batch_mean(values.detach().abs(), batch).clamp(min=1e-8)
        distances = (actions - batch.actions).square().sum(-1)
        penalty = self.config.actor_penalty * self.cooled(self.config.cooling_end)
        return penalty * distances - scale * values, {"distance": distances.detach()}
