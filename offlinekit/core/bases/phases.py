"""Implementations whose losses are others once a run acts as well."""

from __future__ import annotations

from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective


class FreeOnline(ActorCriticImpl):
    """Put before an implementation with a conservative gap, leaves the gap and its weight out of online runs."""

    def build_objectives(self) -> list[Objective]:
        """Returns the losses; online alpha is learned no more."""
        objectives = super().build_objectives()
        for objective in objectives:
            if objective.name == "alpha" and self.is_online:
                objective.last = 0
        return objectives

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the loss with the gap; online the temporal-difference loss alone."""
        if self.is_online:
            return ActorCriticImpl.compute_critic_loss(self, batch, q_tpn)
        return super().compute_critic_loss(batch, q_tpn)
