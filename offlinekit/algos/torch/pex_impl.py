"""PEX: the offline policy, frozen, beside a new one, and a choice between their actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.nn import losses
from offlinekit.nn.isolation import chosen_by
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.nn.random import copy_module
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.pex import PEX


class PEXImpl(IQLImpl):
    """a ~ softmax over {frozen mode, draw of the new policy} of min_k Q_k / T; arXiv:2302.00935.

    The first online run after an update freezes the policy and makes a new one; offline all is IQL.

    Attributes:
        expanded: 1 once there are two policies, else 0; [].
    """

    config: PEX
    frozen_policy: GaussianPolicy
    expanded: Tensor

    def build(self) -> None:
        """Makes the networks of IQL and room for the policy that is frozen."""
        super().build()
        self.frozen_policy = copy_module(self.policy).requires_grad_(False)
        self.register_buffer("expanded", torch.zeros(()))
        self.chooses = False  # Whether losses are those of two policies.

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of IQL; online the rate of the new policy follows no schedule."""
        objectives = super().build_objectives()
        for objective in objectives:
            if objective.name == "actor" and self.chooses:
                objective.schedule = "constant"
        return objectives

    def begin_online(self) -> None:
        """Expands the policy before the first run that acts, if something was learned before it."""
        if self.grad_step and not self.expanded:
            self.expand()

    def enter_phase(self, online: bool) -> None:
        """Prepares for a run: losses are those of two policies online, once there are two."""
        self.chooses = online and bool(self.expanded)
        super().enter_phase(online)

    @torch.no_grad()
    def expand(self) -> None:
        """Freezes the policy, and begins it and its optimizer anew."""
        self.frozen_policy.load_state_dict(self.policy.state_dict())
        fresh = type(self)(self.config, self.observation_space, self.action_space, self.device)
        self.policy.load_state_dict(fresh.policy.state_dict())
        for own, new in zip(self.objectives, fresh.objectives, strict=True):
            if own.name == "actor":
                own.load_state_tensors(new.state_tensors())
        self.expanded.fill_(1.0)

    def logits(self, observations: TensorTree, frozen: Tensor, own: Tensor) -> Tensor:
        """Returns min_k Q_k(s, a) / T of the frozen policy's actions and of the new one's, [B, 2]."""
        values = self.q.values(observations, torch.stack([frozen, own])).amin(0)  # [2, B]
        return self.config.inverse_temperature * values.T

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A], drawn from the new policy or those of the frozen one; before, from the policy."""
        own, _ = self.policy.sample(observations)
        frozen = self.frozen_policy.mode(observations)
        logits = self.logits(observations, frozen, own)
        chosen = self.random.categorical(logits)[:, None]
        drawn = torch.where((self.expanded > 0) & (chosen == 0), frozen, own)
        return chosen_by(logits, drawn)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the mode [B, A] of the policy whose mode is worth more; before, that of the policy."""
        own, frozen = self.policy.mode(observations), self.frozen_policy.mode(observations)
        logits = self.logits(observations, frozen, own)
        allowed = logits[:, :1] + 1e30 * (self.expanded - 1.0)  # The least before there are two policies.
        values = torch.cat([logits[:, 1:], allowed], 1)
        return losses.best_actions(torch.stack([own, frozen]), values.T)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the loss of IQL; online that of actions which the two policies choose now, in place of the data's."""
        if not self.chooses:
            return super().compute_actor_loss(batch)
        with torch.no_grad():
            actions = self.sample_action(batch.observations)
            values = self.target_q.values(batch.observations, actions).amin(0)
            advantages = values - self.value(batch.observations).squeeze(-1)
        weights = losses.exponential_weights(advantages, self.config.beta, self.config.max_weight)
        loss = -weights * self.policy.log_prob(batch.observations, actions)
        return loss, {"advantage": advantages, "weight": weights}
