"""Models that turn noise into actions as the data hold them, and the choice among what they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from offlinekit.algos.torch import functional
from offlinekit.algos.torch.networks import Network
from offlinekit.algos.torch.objectives import Loss
from offlinekit.algos.torch.random import Random
from offlinekit.errors import UnsupportedError
from offlinekit.types import Batch, TensorTree, first_leaf

Judge: TypeAlias = Callable[[TensorTree, Tensor], Tensor]


class Generator(nn.Module):
    """Noise -> actions; a subclass says how it is learned and how noise is carried.

    Args:
        network: Observations and what it sees of a point on the way, [..., B, X] -> [..., B, A].
        random: The agent's random numbers.
        action_size: A.
        noise_size: Z, random numbers that make one action.
    """

    def __init__(self, network: Network, random: Random, action_size: int, noise_size: int) -> None:
        super().__init__()
        self.network, self.random = network, random
        self.action_size, self.noise_size = action_size, noise_size

    def loss(self, observations: TensorTree, actions: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns the loss of the data's actions [B, A], each number weighted where weights [B, A] are given."""
        raise UnsupportedError(f"{type(self).__name__} must define loss()")

    def transport(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns the actions [..., B, A] in [-1, 1] that normal noise [..., B, Z] becomes."""
        raise UnsupportedError(f"{type(self).__name__} must define transport()")

    def sample(self, observations: TensorTree, *n: int) -> tuple[Tensor, None]:
        """Draws actions [*n, B, A]; they have no density."""
        noise = self.random.normal(*n, len(first_leaf(observations)), self.noise_size)
        return self.transport(observations, noise), None


class BestOf(nn.Module):
    """One of N actions of a model of the behaviour, by a judge: observations and actions [N, B, A] -> [N, B].

    Args:
        behaviour: Makes the actions.
        n_candidates: N.
    """

    noise: Tensor

    def __init__(self, behaviour: Generator, n_candidates: int) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.register_buffer("noise", torch.randn(n_candidates, 1, behaviour.noise_size))

    def mode(self, observations: TensorTree, judge: Judge) -> Tensor:
        """Returns the best action [B, A] from noise that is always the same."""
        noise = self.noise.expand(-1, first_leaf(observations).shape[0], -1)
        candidates = self.behaviour.transport(observations, noise)
        return functional.best_actions(candidates, judge(observations, candidates))

    def sample(self, observations: TensorTree, judge: Judge) -> Tensor:
        """Returns the best action [B, A] from noise drawn anew for each row."""
        candidates, _ = self.behaviour.sample(observations, len(self.noise))
        return functional.best_actions(candidates, judge(observations, candidates))

    def draw(self, observations: TensorTree, judge: Judge) -> Tensor:
        """Draws one of N new actions with the softmax of the judge's values as probabilities, [B, A]."""
        candidates, _ = self.behaviour.sample(observations, len(self.noise))
        index = self.behaviour.random.categorical(judge(observations, candidates).T)
        return functional.select_samples(candidates, index)


class BestOfImpl:
    """Put before an implementation, makes its policy the best of N actions of a model that clones."""

    policy: BestOf

    def judge(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the values [N, B] of actions [N, B, A], by which one is chosen."""
        raise UnsupportedError(f"{type(self).__name__} must define judge()")

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the cloning loss of the model, towards the data's actions."""
        return self.policy.behaviour.loss(batch.observations, batch.actions)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A] of N actions from noise that is always the same."""
        return self.policy.mode(observations, self.judge)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A] of N actions drawn anew."""
        return self.policy.sample(observations, self.judge)
