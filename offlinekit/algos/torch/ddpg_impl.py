"""Deep deterministic policy gradient: target and loss of the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.ddpg import DDPG


class DDPGImpl(ActorCriticImpl):
    """y = r + gamma Q_target(s', pi_target(s')), pi climbs Q; arXiv:1509.02971, algorithm 1."""

    config: DDPG
    target_policy_too: ClassVar[bool] = True
    policy: DeterministicPolicy
    target_policy: DeterministicPolicy

    def build_policy(self) -> DeterministicPolicy:
        """Makes the deterministic policy."""
        return DeterministicPolicy(self.make_network(self.action_size))

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target [B] or [N, B] at the actions of the target policy."""
        observations = batch.next_observations
        outputs = self.target_q(observations, self.target_policy(observations))
        return batch.rewards + batch.discounts * self.q.lowest(outputs)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the values of the policy's actions by the first critic."""
        return -self.q.values(batch.observations, self.policy(batch.observations), members=1)[0]
