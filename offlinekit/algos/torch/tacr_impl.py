"""Transformer actor-critic with regularisation: TD3+BC whose actor sees the steps before."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from offlinekit.algos.torch.decision_transformer_impl import DecisionTransformerImpl
from offlinekit.nn import losses
from offlinekit.nn.encoders import resolve_encoder
from offlinekit.nn.networks import QFunction
from offlinekit.nn.rows import learned_steps, window_rows
from offlinekit.sampling.batch import TensorTree
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import map_tree

if TYPE_CHECKING:
    from offlinekit.algos.tacr import TACR
    from offlinekit.sampling.batch import TrajectoryBatch


class TACRImpl(DecisionTransformerImpl):
    """L_actor = (pi(h_t) - a_t)^2 - lambda Q(s_t, pi(h_t)), h_t the window up to s_t; Lee and Moon 2023."""

    config: TACR  # type: ignore[assignment]  # Both are sequence models.
    has_value: ClassVar[bool] = True

    def build(self) -> None:
        """Makes the transformer, the critics and the targets of both."""
        super().build()
        config = self.config
        encoder = resolve_encoder(config.critic_encoder or config.encoder, self.observation_space)
        self.q = QFunction(
            encoder, self.observation_space, self.random, config.n_critics, action_size=self.action_size
        )
        self.target_q = self.make_target(self.q)
        self.target_policy = self.make_target(self.policy)

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss, then the actor's."""
        config = self.config
        critic = self.objective("critic", self.critic_loss, [self.q], config.critic_learning_rate)
        actor = self.objective(
            "actor",
            self.compute_actor_loss,
            [self.policy],
            config.actor_learning_rate,
            warmup_steps=config.warmup_steps,
            clip_grad_norm=config.actor_clip_grad_norm,
        )
        return [critic, actor]

    def conditions(self, batch: TrajectoryBatch) -> Tensor:
        """Returns the further input of the actor [B, K]: the reward of the step before, or scaled returns to go."""
        if self.config.reads_returns:
            return super().conditions(batch)
        return torch.cat([torch.zeros_like(batch.rewards[:, :1]), batch.rewards[:, :-1]], 1)

    def compute_target(self, batch: TrajectoryBatch) -> Tensor:  # type: ignore[override]  # Of windows.
        """Returns the critics' target [B, K]; in a last step, whose next one is not in the window, the reward."""
        actions = self.best_of(self.outputs(batch, self.target_policy))
        bound = self.config.target_noise_clip
        noise = (self.config.target_noise * self.random.normal(*actions.shape)).clamp(-bound, bound)
        smoothed = (actions + noise).clamp(-1.0, 1.0).flatten(0, 1)
        values = self.q.lowest(self.target_q(_flat(batch.observations), smoothed))
        following = F.pad(values.view_as(batch.rewards)[:, 1:], (0, 1))
        target: Tensor = batch.rewards + self.config.gamma * following
        return target

    def compute_critic_loss(self, batch: TrajectoryBatch, q_tpn: Tensor) -> Loss:  # type: ignore[override]  # As above.
        """Returns the squared error in steps whose next one is known, or that ended the MDP."""
        known = learned_steps(batch).clone()
        known[:, -1] &= batch.terminals[:, -1]
        outputs = self.q(_flat(batch.observations), batch.actions.flatten(0, 1))
        errors = losses.temporal_difference_loss(outputs, q_tpn.flatten())
        return window_rows(errors.view(-1, *known.shape), known)

    def compute_actor_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns the normalised value term plus the squared distance to the data's actions, of each window."""
        actions, steps = self.best_of(self.outputs(batch)), learned_steps(batch)
        flat = self.q.values(_flat(batch.observations), actions.flatten(0, 1), members=1)[0]
        values = flat.view_as(batch.rewards)
        size = self.batch_mean(window_rows(values.detach().abs(), steps), batch)
        scale = self.config.alpha / size.clamp(min=1e-8)
        cloning = losses.squared_error(actions, batch.actions)
        loss = window_rows(cloning - scale * values, steps)
        return loss, {"bc_loss": window_rows(cloning.detach(), steps)}

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]; of the first action of an episode if they are None."""
        chosen = self.predict_best_action(observations) if actions is None else actions
        return self.q.values(observations, chosen).mean(0)


def _flat(observations: TensorTree) -> TensorTree:
    """Returns observations [B, K, ...] as [B * K, ...]."""
    return map_tree(lambda leaf: leaf.flatten(0, 1), observations)
