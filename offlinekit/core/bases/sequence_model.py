"""Base of sequence models, front and implementation: windows of steps, and acting with a window of the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Finite, Interval, OneRow, Positive, Steps, views_of
from offlinekit.core.impl import Impl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import embedding_encoder
from offlinekit.nn.isolation import acting
from offlinekit.nn.random import derive
from offlinekit.nn.transformer import TrajectoryTransformer
from offlinekit.sampling.batch import TensorTree, TrajectoryBatch
from offlinekit.sampling.n_step import returns_to_go
from offlinekit.sampling.windows import TrajectorySampler
from offlinekit.training.engines.updates import tensors_of
from offlinekit.types import Array, first_leaf, map_tree, row_parts

if TYPE_CHECKING:
    from gymnasium import spaces

A = TypeVar("A", bound="SequenceModel")
ROWS_AT_ONCE = 1_024


class SequenceModel(Algo):
    """A causal transformer over windows of steps; it acts by `as_stateful`."""

    context: Annotated[Count, "Steps of a window, the newest included."] = 20
    n_layers: Annotated[Count, "Blocks of the transformer."] = 3
    n_heads: Annotated[Count, "Heads of its attention; a divisor of the width."] = 1
    width: Annotated[Count, "Numbers of a token."] = 128
    dropout: Annotated[float, Interval("[0, 1)"), "Share of tokens' numbers and of attention dropped."] = 0.1
    max_timestep: Annotated[Count, "Distinct timesteps; later ones count as the last."] = 1_000
    return_scale: Annotated[Positive, "What returns to go are divided by."] = 1_000.0
    target_return: Annotated[Finite | None, "Return to act for, in units of the data; None: best."] = None
    warmup_steps: Annotated[Steps, "First updates, in which the learning rate grows from 0."] = 10_000
    batch_size: Annotated[Count, "Windows in a minibatch."] = 64
    history_length: Annotated[OneRow, "Always 1: windows of `context` steps are its memory."] = 1

    sampler_options: ClassVar[tuple[str, ...]] = ("context",)

    def check_together(self) -> None:
        """Checks that heads divide the width, that no steps are joined, and that returns to go are not scaled twice."""
        if self.width % self.n_heads:
            raise ValueError(f"n_heads must divide width={self.width}, got {self.n_heads}")
        if self.n_step != 1:
            raise ValueError(f"n_step must be 1, got {self.n_step}: windows hold single steps")
        if self.reads_returns and self.reward_scaler is not None:
            raise ValueError(
                f"{type(self).__name__} scales returns by return_scale; reward_scaler must be None, "
                f"got {self.reward_scaler!r}"
            )

    @property
    def reads_returns(self) -> bool:
        """Whether returns to go are among the inputs of the model."""
        return True

    @property
    def to_go_gamma(self) -> float:
        """Discount factor of the returns to go."""
        return self.gamma

    def build(self: A, dataset: MDPDataset) -> A:
        """Fits the scalers, makes the networks, and notes the best return, the default of `target_return`."""
        super().build(dataset)
        cast("SequenceImpl", self.impl).best_return.fill_(
            float(returns_to_go(dataset, dataset.rewards, self.to_go_gamma)[dataset.episode_starts].max())
        )
        return self

    def make_sampler(
        self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any
    ) -> TrajectorySampler:
        """Makes what draws windows of the dataset, each beginning with a row drawn uniformly.

        Raises:
            UnsupportedError: For priorities, and for an encoder that has images shifted.
        """
        if settings.pop("priorities", None) is not None:
            raise UnsupportedError(
                f"{type(self).__name__} learns from windows, whose losses are those of many rows; rows cannot be "
                "drawn by them, so leave out priorities"
            )
        if views_of(self, self.impl.observation_space)["image_shift"]:
            raise UnsupportedError(
                f"windows of images are not shifted; use an encoder of random_shift=0 for {type(self).__name__}"
            )
        return TrajectorySampler(
            dataset,
            **{
                "context": self.context,
                "batch_size": self.batch_size,
                "device": self.impl.device,
                "seed": derive(self.seed or 0, "batches"),
                "gamma": self.to_go_gamma,
                "scaling": self.scaling,
                "anchor": "first",
                "frame_stack": self.frame_stack,
                "frame_pad": self.frame_pad,
                "needs": (*self.impl.needed, *needs),
                "owner": type(self.impl).__name__,
                **settings,
            },
        )

    def predict_rows(self, dataset: MDPDataset) -> Array:
        """Returns the greedy actions in all rows, each after what the data did and earned before it.

        Args:
            dataset: In temporal order.

        Returns:
            [N, A] in the units of the data, of the dtype of the action space, or int64 [N].
        """
        sampler = self.make_sampler(dataset, anchor="last")
        impl = cast("SequenceImpl", self.impl)
        with torch.no_grad(), acting():
            return np.concatenate(
                [
                    self._converter.unscaled(
                        impl.best_actions(sampler.gather(torch.from_numpy(part).to(impl.device)))
                    )
                    for part in row_parts(np.arange(len(dataset)), ROWS_AT_ONCE)
                ]
            )


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
        encoder = embedding_encoder(self.config.encoder, self.observation_space)
        return self.make_network(self.config.width, encoder=encoder)

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
        zeros, steps = (
            torch.zeros(shape, device=device, dtype=torch.float32),
            torch.zeros(shape, dtype=torch.int64, device=device),
        )
        to_go, none = zeros.clone(), torch.zeros(shape, dtype=torch.bool, device=device)
        to_go[:, -1] = self.best_return if wanted is None else wanted
        continuous = torch.zeros((*shape, self.action_size), device=device, dtype=torch.float32)
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
        rewards = torch.zeros(len(first_leaf(observations)), device=self.device, dtype=torch.float32)
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
