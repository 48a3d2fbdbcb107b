"""Best of N from a flow: a flow that clones, critics of the best of its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_flow
from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.generator import Generator
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.bfn import BFN


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


class BFNImpl(BestOfImpl, ActorCriticImpl):
    """y = r + gamma Q_target(s', a*), a* the best by Q of N actions of the flow at s'; arXiv:2507.07969."""

    config: BFN

    def build_policy(self) -> BestOf:
        """Makes the flow and the choice among its actions."""
        return BestOf(make_flow(self), self.config.n_candidates)

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the values [N, B] of actions [N, B, A], the mean or the lowest of the critics."""
        values = self.q.values(observations, actions)
        return values.mean(0) if self.config.target_value == "mean" else values.amin(0)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma Q_target(s', a*), [B] or [N, B], Q the mean or the lowest of the critics."""
        actions = self.policy.sample(batch.next_observations, self.action_values)
        outputs = self.target_q(batch.next_observations, actions)
        value = outputs.mean(0) if self.config.target_value == "mean" else self.q.lowest(outputs)
        return batch.rewards + batch.discounts * value
