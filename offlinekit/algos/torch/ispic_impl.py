"""In-sample policy iteration of two competitors: targets, filtered distances and the better action."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.nn.rows import bootstrapped
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.ispic import ISPIC


class ISPICImpl(ActorCriticImpl):
    """Agent i: policy pi_i and critic Q_i, i = 1, 2, each with half of the rows; arXiv:2306.05726, section 5."""

    config: ISPIC
    target_policy_too: ClassVar[bool] = True
    policy: DeterministicPolicy
    target_policy: DeterministicPolicy

    def build(self) -> None:
        """Makes both agents.

        Raises:
            UnsupportedError: For another number of critics than two.
        """
        if self.config.n_critics != 2:
            raise UnsupportedError(
                f"ISPIC has one critic for each of its two policies, got n_critics={self.config.n_critics}; "
                "leave it at 2"
            )
        super().build()

    def build_policy(self) -> DeterministicPolicy:
        """Makes both policies as one: observations -> [2, B, A]."""
        return DeterministicPolicy(self.make_network(self.action_size, members=2))

    def halves(self, batch: Batch) -> Tensor:
        """Returns which rows each agent learns from, [2, B] of 0 and 1: the first half is the first one's."""
        rows = torch.arange(len(batch.rewards), device=batch.rewards.device)
        first = (rows < len(batch.rewards) // 2).float()
        masks = torch.stack([first, 1.0 - first])
        return masks if batch.masks is None else masks * batch.masks

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_i Q_target_i(s', pi_target_i(s') + noise), [B] or [N, B], the same noise for both."""
        observations, bound = batch.next_observations, self.config.target_noise_clip
        noise = (self.config.target_noise * self.random.normal(*batch.actions.shape)).clamp(-bound, bound)
        actions = (self.target_policy(observations) + noise).clamp(-1.0, 1.0)
        outputs = self.target_q.apart(observations, actions)
        return batch.rewards + batch.discounts * self.q.lowest(outputs)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the squared errors of each agent in its rows."""
        return self.q.loss(self.q(batch.observations, batch.actions), q_tpn, self.halves(batch))

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the weighted distance minus the normalised value of each agent in its rows."""
        actions = self.policy(batch.observations)
        values = self.q.expected(self.q.apart(batch.observations, actions))
        halves, detached = self.halves(batch), values.detach()
        scales = self.config.alpha / self.batch_mean(bootstrapped(detached.abs(), halves), batch).clamp(
            min=1e-8
        )
        better = (detached.flip(0) > detached).float()  # Whether the other one's action is worth more.
        apart = better * (actions - actions.detach().flip(0)).square().mean(-1)
        share = self.config.reference_weight
        distances = share * apart + (1.0 - share) * (actions - batch.actions).square().mean(-1)
        rows = distances - scales[:, None] * values
        return bootstrapped(rows, halves), {"distance": bootstrapped(distances.detach() / 2, halves)}

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the action [B, A] of the agent that values its own more."""
        actions = self.policy(observations)
        return losses.best_actions(actions, self.q.expected(self.q.apart(observations, actions)))

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the action of `predict_best_action`."""
        return self.predict_best_action(observations)
