"""Twin delayed DDPG: targets and losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.td3 import TD3


class TD3Impl(ActorCriticImpl):
    """y = r + gamma min_k Q_target_k(s', clip(pi_target(s') + noise)); arXiv:1802.09477, algorithm 1."""

    config: TD3
    target_policy_too: ClassVar[bool] = True
    policy: DeterministicPolicy
    target_policy: DeterministicPolicy

    def build_policy(self) -> DeterministicPolicy:
        """Makes the deterministic policy."""
        return DeterministicPolicy(self.make_network(self.action_size))

    def smoothed_actions(self, observations: TensorTree) -> Tensor:
        """Returns the actions of the target policy with clipped noise [B, A]."""
        actions = self.target_policy(observations)
        bound = self.config.target_noise_clip
        noise = (self.config.target_noise * self.random.normal(*actions.shape)).clamp(-bound, bound)
        smoothed: Tensor = (actions + noise).clamp(-1.0, 1.0)
        return smoothed

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target [B] or [N, B] at smoothed target actions."""
        actions = self.smoothed_actions(batch.next_observations)
        outputs = self.target_q(batch.next_observations, actions)
        return batch.rewards + batch.discounts * self.q.lowest(outputs)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the values of the policy's actions by the first critic."""
        return -self.q.values(batch.observations, self.policy(batch.observations), members=1)[0]
