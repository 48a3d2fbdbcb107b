"""Minibatches: trees of tensors, transitions and windows of steps."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch

Tensor: TypeAlias = torch.Tensor


TensorTree: TypeAlias = "Tensor | dict[str, TensorTree] | tuple[TensorTree, ...]"


Metrics: TypeAlias = dict[str, Tensor]
"""Names to 0-d tensors without gradient; they become floats at the log interval only."""


class Batch(NamedTuple):
    """One minibatch of B transitions, on the training device, already scaled.

    Targets read `batch.rewards + batch.discounts * value_of(batch.next_observations)`.
    """

    observations: TensorTree  # [B, ...]
    actions: Tensor  # [B, A] float, scaled to [-1, 1]; or [B] int64 for discrete actions.
    rewards: Tensor  # [B], discounted sum over the n steps.
    next_observations: TensorTree  # [B, ...], n steps later; of the same episode.
    next_actions: Tensor  # As actions, n steps later; zeros where the episode holds none. FQE: see its impl.
    discounts: Tensor  # [B], gamma ** n, and 0 where the MDP ended within the n steps.
    returns: Tensor  # [B], discounted sum of rewards to the end of the episode.
    masks: Tensor | None = None  # [K, B], 1 where ensemble member k may learn from the row.


class TrajectoryBatch(NamedTuple):
    """B windows of K steps each of one episode, shorter ones padded by zeros on the left."""

    observations: TensorTree  # [B, K, ...].
    actions: Tensor  # [B, K, A] float, scaled to [-1, 1]; or [B, K] int64 for discrete actions.
    rewards: Tensor  # [B, K].
    returns_to_go: Tensor  # [B, K], discounted sum of rewards from the step to the end of its episode.
    terminals: Tensor  # [B, K] bool, whether the MDP ended with the step.
    timesteps: Tensor  # [B, K] int64, steps since the episode began.
    masks: Tensor  # [B, K] bool, True at steps, False at padding.
