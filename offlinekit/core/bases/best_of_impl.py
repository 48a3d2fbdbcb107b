"""The best of several actions that a model of the behaviour generates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.generator import Generator
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss
from offlinekit.types import first_leaf

ActionValues: TypeAlias = Callable[[TensorTree, Tensor], Tensor]


class BestOf(nn.Module):
    """One of N actions of a model of the behaviour, by their values: observations and actions [N, B, A] -> [N, B].

    Args:
        behaviour: Makes the actions.
        n_candidates: N.
    """

    noise: Tensor
    candidate_noise = "noise"

    def __init__(self, behaviour: Generator, n_candidates: int) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.register_buffer("noise", torch.randn(n_candidates, 1, behaviour.noise_size))

    def mode(self, observations: TensorTree, action_values: ActionValues) -> Tensor:
        """Returns the best action [B, A] from noise that is always the same."""
        noise = self.noise.expand(-1, first_leaf(observations).shape[0], -1)
        candidates = self.behaviour.transport(observations, noise)
        return losses.best_actions(candidates, action_values(observations, candidates))

    def sample(self, observations: TensorTree, action_values: ActionValues) -> Tensor:
        """Returns the best action [B, A] from noise drawn anew for each row."""
        candidates, _ = self.behaviour.sample(observations, len(self.noise))
        return losses.best_actions(candidates, action_values(observations, candidates))

    def draw(self, observations: TensorTree, action_values: ActionValues) -> Tensor:
        """Draws one of N new actions with the softmax of their values as probabilities, [B, A]."""
        candidates, _ = self.behaviour.sample(observations, len(self.noise))
        index = self.behaviour.random.categorical(action_values(observations, candidates).T)
        return losses.select_samples(candidates, index)


class BestOfImpl:
    """Put before an implementation, makes its policy the best of N actions of a model that clones."""

    policy: BestOf

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the values [N, B] of actions [N, B, A], by which one is chosen."""
        raise UnsupportedError(f"{type(self).__name__} must define action_values()")

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the cloning loss of the model, towards the data's actions."""
        return self.policy.behaviour.loss(batch.observations, batch.actions)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A] of N actions from noise that is always the same."""
        return self.policy.mode(observations, self.action_values)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A] of N actions drawn anew."""
        return self.policy.sample(observations, self.action_values)
