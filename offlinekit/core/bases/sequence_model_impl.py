"""Base of the implementations of sequence models: acting with a window of the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from offlinekit.core.impl import Impl
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import CNNEncoder, Encoder, MLPEncoder
from offlinekit.nn.transformer import TrajectoryTransformer
from offlinekit.nn.trunks import is_image, space_leaves
from offlinekit.sampling.batch import TensorTree, TrajectoryBatch
from offlinekit.training.engines.updates import tensors_of
from offlinekit.types import first_leaf, map_tree

if TYPE_CHECKING:
    from gymnasium import spaces

    from offlinekit.core.bases.sequence_model import SequenceModel


class SequenceImpl(Impl):
    """A `policy` over windows of steps; the memory of an episode is its last window, padded on the left."""

    config: SequenceModel
    has_value: ClassVar[bool] = False
    is_stateful: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ()
    policy: TrajectoryTransformer

    def build(self) -> None:
        """Makes the policy, and a place for the best return in the data."""
        self.policy = self.build_policy()
        self.best_return: Tensor
        self.register_buffer("best_return", torch.zeros(()))

    def build_policy(self) -> TrajectoryTransformer:
        """Makes the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define build_policy()")

    def make_embedding(self) -> nn.Module:
        """Makes the embedding of observations: linear, behind an encoder if there is one."""
        chosen: Encoder = self.config.encoder
        if chosen == "auto":
            seen = any(is_image(leaf) for leaf in space_leaves(self.observation_space))
            chosen = CNNEncoder(hidden_sizes=()) if seen else MLPEncoder(hidden_sizes=())
        return self.make_network(self.config.width, encoder=chosen)

    # What the policy says.

    def conditions(self, batch: TrajectoryBatch) -> Tensor:
        """Returns the input of the policy beside observations and actions, [B, K]: scaled returns to go."""
        scale: float = self.config.return_scale
        return batch.returns_to_go / scale

    def outputs(self, batch: TrajectoryBatch, policy: nn.Module | None = None) -> Tensor:
        """Returns the outputs of the policy, or of another one, at each step, [B, K, ...]."""
        outputs: Tensor = (policy or self.policy)(
            self.conditions(batch), batch.observations, batch.actions, batch.timesteps, batch.valid
        )
        return outputs

    def best_of(self, outputs: Tensor) -> Tensor:
        """Returns the greedy actions of outputs [B, ...]."""
        return outputs

    def drawn_from(self, outputs: Tensor) -> Tensor:
        """Returns actions drawn by outputs [B, ...]; the greedy ones if the policy is deterministic."""
        return self.best_of(outputs)

    def best_actions(self, batch: TrajectoryBatch) -> Tensor:
        """Returns the greedy actions in the last step of each window, [B, A] or [B]."""
        return self.best_of(self.outputs(batch)[:, -1])

    # Acting.

    def begin_episode(self, target_return: float | None) -> TrajectoryBatch:
        """Returns a window of padding [1, K], in whose last place stands the return to reach.

        Args:
            target_return: In units of the data; None takes the hyperparameter, or else the best in the data.

        Raises:
            UnsupportedError: For a target if the model takes no returns to go.
        """
        config, device = self.config, self.device
        if not config.reads_returns:
            super().begin_episode(target_return)  # Which refuses a target.
        wanted = config.target_return if target_return is None else target_return

        def padding(space: spaces.Space[Any]) -> Tensor:
            dtype = torch.uint8 if space.dtype == "uint8" else torch.float32
            return torch.zeros((1, config.context, *(space.shape or ())), dtype=dtype, device=device)

        shape = (1, config.context)
        zeros, steps = torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.int64, device=device)
        to_go, none = zeros.clone(), torch.zeros(shape, dtype=torch.bool, device=device)
        to_go[:, -1] = self.best_return if wanted is None else wanted
        continuous = torch.zeros((*shape, self.action_size), device=device)
        return TrajectoryBatch(
            _over_space(padding, self.observation_space),
            steps.clone() if hasattr(self.action_space, "n") else continuous,
            zeros,
            to_go,
            none,
            steps,
            none,
        )

    def take_steps(
        self, observations: TensorTree, rewards: Tensor, memories: Sequence[Any], sample: bool
    ) -> tuple[Tensor, Sequence[Any]]:
        """Returns the actions after the newest observations, and the windows that end with them."""
        past = TrajectoryBatch(*map_tree(lambda *parts: torch.cat(parts), *map(tuple, memories)))
        window = self.extended(past, observations, rewards)
        outputs = self.outputs(window)[:, -1]
        actions = self.drawn_from(outputs) if sample else self.best_of(outputs)
        window.actions[:, -1] = actions
        split = zip(*(torch.split(leaf, 1) for leaf in tensors_of(window)), strict=True)
        return actions, [_like(window, parts) for parts in split]

    def extended(self, past: TrajectoryBatch, observations: TensorTree, rewards: Tensor) -> TrajectoryBatch:
        """Returns windows [B, K] with a new last step, whose action is not known yet.

        Args:
            past: What has been seen and done, [B, K].
            observations: The newest, [B, ...].
            rewards: Of the last actions, [B]; the first step has none.
        """
        begun = past.valid[:, -1]
        earned = torch.where(begun, rewards, 0.0)
        to_go = past.returns_to_go[:, -1]
        left = torch.where(begun, (to_go - earned) / self.config.to_go_gamma, to_go)
        times = torch.where(begun, past.timesteps[:, -1] + 1, 0)
        paid = torch.cat([past.rewards[:, :-1], earned.unsqueeze(1)], 1)
        return TrajectoryBatch(
            map_tree(_shifted, past.observations, observations),
            _shifted(past.actions, torch.zeros_like(past.actions[:, -1])),
            _shifted(paid, torch.zeros_like(earned)),
            _shifted(past.returns_to_go, left),
            past.terminals,
            _shifted(past.timesteps, times),
            _shifted(past.valid, torch.ones_like(begun)),
        )

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions, each observation taken for the first of an episode."""
        return self._first_actions(observations, sample=False)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns drawn actions, each observation taken for the first of an episode."""
        return self._first_actions(observations, sample=True)

    def _first_actions(self, observations: TensorTree, sample: bool) -> Tensor:
        rewards = torch.zeros(len(first_leaf(observations)), device=self.device)
        memories = [self.begin_episode(None)] * len(rewards)
        return self.take_steps(observations, rewards, memories, sample)[0]


def _shifted(old: Tensor, new: Tensor) -> Tensor:
    """Returns [B, K, ...] without the first and with a new last step [B, ...]."""
    return torch.cat([old[:, 1:], new.unsqueeze(1)], 1)


def _like(batch: TrajectoryBatch, parts: Sequence[Tensor]) -> TrajectoryBatch:
    """Returns a batch built as another one from its leaves."""
    rest = iter(parts)
    return TrajectoryBatch(*map_tree(lambda _: next(rest), tuple(batch)))


def _over_space(function: Callable[[spaces.Space[Any]], Tensor], space: spaces.Space[Any]) -> TensorTree:
    """Returns a tree with a function of each leaf of a nested space."""
    if hasattr(space, "spaces"):
        parts = space.spaces
        if isinstance(parts, dict):
            return {key: _over_space(function, part) for key, part in parts.items()}
        return tuple(_over_space(function, part) for part in parts)
    return function(space)
