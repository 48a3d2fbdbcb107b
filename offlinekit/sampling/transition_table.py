"""A dataset's transitions on the device, whole minibatches of which are gathered by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.frame_stacking import check_stack, is_image
from offlinekit.errors import DatasetError
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.frames import Frames
from offlinekit.sampling.n_step import NStep, discounted_sums, n_step_transitions, returns_to_go, single_steps
from offlinekit.sampling.packing import Column, PackedRows
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array, leaves, map_tree

MOST_ACTIONS = 1 << 24
"""Whole numbers below this are exact in float32."""

Located: TypeAlias = tuple[Tensor, tuple[tuple[Tensor, bool], ...]]
"""Where a minibatch lies: places in the packed table, and what each uint8 leaf located."""


class TransitionTable:
    """N rows as scaled n-step transitions: float columns packed in one table, uint8 observations beside it.

    Args:
        dataset: What to learn from.
        gamma: Discount factor of one step.
        n_step: Steps joined into one transition.
        device: Where the columns and batches live.
        scaling: Applied to the columns once.
        frame_stack: Frames stacked into one observation.
        frame_pad: What stands before an episode's first frame, "zero" or "repeat".
        returns: [N], where the returns to go are known already.
        choices: Float [N, ...], scaled, what a policy does in the state of each row, and [E, ...] in the state that
            follows each episode's last row; `next_actions` then holds those of the next state.

    Attributes:
        has_next: bool [N], whether what follows a row was recorded, or the MDP ended with it.
        has_next_action: bool [N], whether the action after it was too, or the MDP ended with it.

    Raises:
        DatasetError: Where n > 1 steps or frames are asked of unordered transitions.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        gamma: float,
        n_step: int,
        device: torch.device,
        scaling: Scaling,
        frame_stack: int = 1,
        frame_pad: str = "zero",
        returns: Array | None = None,
        choices: tuple[Array, Array] | None = None,
    ) -> None:
        self.device, self.frame_stack, self.frame_pad = device, frame_stack, frame_pad
        self.ordered = dataset.next_observations is None
        self.gamma, self.ends = gamma, dataset.episode_ends
        rewards = dataset.rewards if scaling.reward is None else scaling.reward.transform(dataset.rewards)
        found = self._transitions(dataset, rewards, gamma, n_step)
        self.has_next = found.steps > 0
        self.has_next_action = self.has_next & ((found.next_rows < len(dataset)) | (found.discounts == 0))
        steps = found.steps if n_step > 1 else None
        seen = self._observations(dataset, scaling)
        self.frames = self._frames(dataset, [c for c in seen if _is_raw(c)], found.next_rows, steps)
        scalars = np.empty((len(dataset), 3), np.float32)
        scalars[:, 0], scalars[:, 1] = found.rewards, found.discounts
        del found  # What is done with makes room for the table.
        scalars[:, 2] = returns_to_go(dataset, rewards, gamma) if returns is None else returns
        head = [c for c in seen if not _is_raw(c)] + [_actions(dataset, scaling)]
        self.action = len(head) - 1
        if choices is not None:
            head.append(Column(*choices))
        self.choice_shape = None if choices is None else choices[0].shape[1:]
        tail = [Column(scalars)] + ([] if dataset.masks is None else [Column(dataset.masks)])
        self.n_head, self.has_masks, self.discrete = len(head), len(tail) == 2, dataset.actions.ndim == 1
        ends = dataset.episode_ends if self.ordered else np.arange(1, len(dataset) + 1)
        self.packed = PackedRows(head, tail, ends, steps, device)

    def _transitions(self, dataset: MDPDataset, rewards: Array, gamma: float, n_step: int) -> NStep:
        if self.ordered:
            return n_step_transitions(dataset, rewards, gamma, n_step)
        if n_step == 1:
            return single_steps(dataset, rewards, gamma)
        raise DatasetError(
            f"n_step={n_step} needs rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); use n_step=1"
        )

    def _observations(self, dataset: MDPDataset, scaling: Scaling) -> list[Column]:
        """Returns the leaves of the observations, and keeps the shape of their tree."""
        final = dataset.final_observations if self.ordered else dataset.next_observations
        affines = scaling.observation or map_tree(lambda _: None, dataset.observations)
        tree = map_tree(Column, dataset.observations, final, affines)
        self.shapes = map_tree(lambda column: None if _is_raw(column) else list(column.shape), tree)
        self.is_vector = isinstance(self.shapes, list) and len(self.shapes) == 1
        return leaves(tree)

    def _frames(
        self, dataset: MDPDataset, columns: list[Column], next_rows: Array, steps: Array | None
    ) -> list[Frames]:
        images = [c.rows for c in columns if is_image(c.rows.dtype, c.shape)]
        check_stack(images, self.frame_stack, self.frame_pad, self.ordered)
        shared: dict[str, Any] = {"next_rows": next_rows, "steps": steps, "device": self.device}
        shared |= {
            "starts": np.repeat(dataset.episode_starts, dataset.episode_lengths()) if columns else None
        }
        stacks = [self.frame_stack if is_image(c.rows.dtype, c.shape) else 1 for c in columns]
        pairs = zip(columns, stacks, strict=True)
        return [Frames(c.rows, c.final, stack=n, pad=self.frame_pad, **shared) for c, n in pairs]

    def gather(self, rows: Tensor) -> Batch:
        """Returns the transitions of rows, int64 [B], or with more axes before B, which every field then has."""
        flat = rows.reshape(-1)
        places = self.packed.places.index_select(0, flat)
        batch = self.fetch(self.locate(places, flat, len(flat))[0])
        if rows.ndim == 1:
            return batch
        fields = {
            name: _with_axes(field, rows.shape) for name, field in batch._asdict().items() if name != "masks"
        }
        masks = None if batch.masks is None else batch.masks.T.view(*rows.shape, -1).movedim(-1, -2)
        return Batch(**fields, masks=masks)

    def locate(self, places: Tensor, rows: Tensor | None, batch_size: int) -> list[Located]:
        """Returns where K minibatches lie, which is cheaper for many at once.

        Args:
            places: [K * B], `self.packed.places` of their rows.
            rows: int64 [K * B]; None will do where no leaf is uint8.
            batch_size: B.
        """
        located = places.view(-1, batch_size).unbind()
        if rows is None:
            return [(place, ()) for place in located]
        frames = [frames.locate(rows.view(-1, batch_size)) for frames in self.frames]
        each = zip(*frames, strict=True) if frames else [()] * len(located)
        return list(zip(located, each, strict=True))

    def fetch(self, located: Located) -> Batch:
        """Returns the transitions of a located minibatch."""
        now, following = self.packed.gather(located[0])
        rewards, discounts, returns = now[self.n_head].unbind(1)
        actions, next_actions = now[self.action], following[self.n_head - 1]
        if self.discrete:
            actions = actions.squeeze(1).long()
        if self.choice_shape is not None:
            next_actions = next_actions.view(len(actions), *self.choice_shape)
        elif self.discrete:
            next_actions = next_actions.squeeze(1).long()
        if self.is_vector:
            observations, next_observations = now[0], following[0]
        else:
            seen = [frames.gather(index) for frames, index in zip(self.frames, located[1], strict=True)]
            observations = self._tree(now, [pair[0] for pair in seen])
            next_observations = self._tree(following, [pair[1] for pair in seen])
        masks = now[-1].T if self.has_masks else None
        return Batch(
            observations, actions, rewards, next_observations, next_actions, discounts, returns, masks
        )

    def set_lambda_returns(self, values: Tensor, next_values: Tensor, decay: float) -> Tensor:
        """Replaces the returns of all rows by lambda-returns and returns these, [N].

        R_t = r_t + discount_t ((1 - decay) V(s_t+1) + decay R_t+1) within an episode, r + discount V(s') at its
        end, and V(s) where what followed was not recorded. Source: Sutton and Barto 2018, section 12.1.

        Args:
            values: V of the observations, [N].
            next_values: V of the next ones, [N].
            decay: Lambda, in [0, 1].
        """
        start = sum(self.packed.head_sizes)
        rewards, discounts = self.packed.table[self.packed.places, start : start + 2].T.double().cpu().numpy()
        last = np.zeros(len(rewards), np.bool_)
        last[self.ends - 1] = True
        bootstrapped = np.where(last, 1.0, 1.0 - decay) * next_values.double().cpu().numpy()
        steps = np.where(self.has_next, rewards + discounts * bootstrapped, values.double().cpu().numpy())
        returns = torch.from_numpy(discounted_sums(steps, last, self.gamma * decay)).float().to(self.device)
        self.packed.table[self.packed.places, start + 2] = returns
        return returns

    @property
    def refills(self) -> bool:
        """Whether `fetch_into` can be used: a minibatch is one gather of one table."""
        return self.is_vector and self.packed.steps is None

    def fetch_into(self, batch: Batch, located: Located) -> None:
        """Writes a located minibatch into one that `fetch` returned, whose float fields are views of one tensor."""
        table: Tensor = batch.observations._base  # type: ignore[union-attr, assignment]  # A view: see `refills`.
        torch.index_select(self.packed.window, 0, located[0], out=table)
        if self.discrete:
            found = table.split_with_sizes(self.packed.window_sizes, 1)
            batch.actions.copy_(found[self.action].squeeze(1))
            if self.choice_shape is None:
                batch.next_actions.copy_(found[-1].squeeze(1))

    def _tree(self, packed: Sequence[Tensor], raw: Sequence[Tensor]) -> Any:
        """Puts gathered leaves, [B, size] of packed ones, in their places in the tree of observations."""
        parts, frames = iter(packed), iter(raw)

        def leaf(shape: list[int] | None) -> Tensor:
            if shape is None:
                return next(frames)
            part = next(parts)
            return part.view(len(part), *shape)

        return map_tree(leaf, self.shapes)


def _with_axes(tree: Any, shape: Sequence[int]) -> Any:
    """Returns a tree of [B, ...] with several axes in place of B."""
    return map_tree(lambda leaf: leaf.view(*shape, *leaf.shape[1:]), tree)


def _actions(dataset: MDPDataset, scaling: Scaling) -> Column:
    if dataset.actions.ndim == 1 and dataset.actions.max() >= MOST_ACTIONS:
        raise DatasetError(
            f"discrete actions must be below {MOST_ACTIONS:,}, got {dataset.actions.max():,}; "
            "give actions that never occur no number"
        )
    return Column(dataset.actions, scaler=scaling.action)


def _is_raw(column: Column) -> bool:
    return column.rows.dtype == np.uint8 and column.scaler is None
