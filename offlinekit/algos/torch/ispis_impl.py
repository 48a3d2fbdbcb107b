"""In-sample policy iteration towards a snapshot: TD3+BC with a second reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.ispis import ISPIS


class ISPISImpl(TD3PlusBCImpl):
    """L = w |pi(s) - mu(s)|^2 + (1 - w) |pi(s) - a|^2 - lambda Q(s, pi(s)), mu an earlier pi; arXiv:2306.05726."""

    config: ISPIS

    def build(self) -> None:
        """Makes the networks of TD3, the newest snapshot of the policy and the one before, the reference."""
        super().build()
        self.newest = self.make_target(self.policy, 1.0, "snapshot_interval")
        self.reference = self.make_target(self.newest, 1.0, "snapshot_interval")
        self.targets.reverse()  # The reference takes what the newest was before that takes the policy.

    def distances(self, actions: Tensor, batch: Batch) -> Tensor:
        """Returns the weighted squared distances [B] of actions [B, A] from the reference and from the data."""
        with torch.no_grad():
            references = self.reference(batch.observations)
        weight = self.config.reference_weight
        apart = losses.squared_error(actions, references)
        distances: Tensor = weight * apart + (1.0 - weight) * losses.squared_error(actions, batch.actions)
        return distances

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the weighted distances minus the normalised value."""
        actions = self.policy(batch.observations)
        values = self.q.values(batch.observations, actions, members=1)[0]
        scale = self.config.alpha / self.batch_mean(values.detach().abs(), batch).clamp(min=1e-8)
        distances = self.distances(actions, batch)
        return distances - scale * values, {"distance": distances.detach()}
