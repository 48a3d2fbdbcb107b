"""A dataset's transitions on the device, whole minibatches of which are gathered by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.episodes import recorded_next
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.frame_stacking import check_history, check_stack
from offlinekit.envs.legal_actions import legal_of
from offlinekit.envs.past.sight import is_image
from offlinekit.errors import DatasetError
from offlinekit.sampling.batch import Batch, batch_class, with_axes
from offlinekit.sampling.frames import Frames
from offlinekit.sampling.n_step import NStep, discounted_sums, n_step_transitions, returns_to_go, single_steps
from offlinekit.sampling.named_columns import NamedColumns, Parts, own_columns
from offlinekit.sampling.packing import Column, PackedRows, action_digits, from_digits
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array, leaves, map_tree

if TYPE_CHECKING:
    from offlinekit.sampling.batch import TensorTree


class Located(NamedTuple):
    """Place of a minibatch.

    Attributes:
        places: In the packed table, [B].
        frames: What each uint8 leaf located.
        rows: int64 [B], if a column lies apart; else None.
    """

    places: Tensor
    frames: tuple[tuple[Tensor, bool], ...]
    rows: Tensor | None


class TransitionTable:
    """N rows as scaled n-step transitions: float columns packed in one table, uint8 observations beside it.

    Args:
        dataset: What to learn from.
        gamma: Discount factor of one step.
        n_step: Steps joined into one transition.
        device: Where the columns and batches live.
        scaling: Applied to the columns once.
        needs: Names of the columns that batches have beside the standard fields.
        frame_stack: Frames stacked into one observation.
        frame_pad: What stands before an episode's first frame, "zero" or "repeat".
        history: Rows of an episode that make one observation [history, ...]; the first row repeats before it.
        columns: [N, ...] by name, in place of the dataset's own or beside them.
        following: Names to float [N, ...], scaled, of the state of each row, and [E, ...] of the state that follows
            each episode's last row; a batch has those of the next state.
        owner: Name of the impl that needs the columns.
        n_spare: Rows of the packed table that are left for later ones.

    Attributes:
        has_next: bool [N], whether what follows a row was recorded, or the MDP ended with it.

    Raises:
        DatasetError: If n > 1 steps, frames or histories are wanted of unordered transitions, and for columns that are
            not there.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        gamma: float,
        n_step: int,
        device: torch.device,
        scaling: Scaling,
        needs: Iterable[str] = (),
        frame_stack: int = 1,
        frame_pad: str = "zero",
        history: int = 1,
        columns: Mapping[str, Array] | None = None,
        following: Mapping[str, tuple[Array, Array]] | None = None,
        owner: str = "",
        n_spare: int = 0,
    ) -> None:
        self.device, self.frame_stack, self.frame_pad, self.history = device, frame_stack, frame_pad, history
        self.ordered, self.discrete = dataset.next_observations is None, dataset.actions.ndim == 1
        self.gamma, self.ends = gamma, dataset.episode_ends
        check_history(history, self.ordered)
        names = tuple(name for name in dict.fromkeys(needs) if name not in Batch._fields)
        following = following or {}
        own = own_columns(dataset, [n for n in names if n not in following], columns or {}, owner)
        self.batch_class = batch_class(Batch, names, owner)
        rewards = dataset.rewards if scaling.reward is None else scaling.reward.transform(dataset.rewards)
        transitions = self._transitions(dataset, rewards, gamma, n_step)
        self.has_next = transitions.steps > 0
        steps = transitions.steps if n_step > 1 else None
        observed = self._observations(dataset, scaling)
        self.frames = self._frames(dataset, [c for c in observed if _is_raw(c)], transitions.next_rows, steps)
        windows = sum(not _is_raw(c) for c in observed)
        scalars = np.empty((len(dataset), 2), np.float32)
        scalars[:, 0], scalars[:, 1] = transitions.rewards, transitions.discounts
        del transitions  # What is done with makes room for the table.
        if {"returns", "lambda_returns"} & {*names} - {*own}:
            to_go = returns_to_go(dataset, rewards, gamma)
            own = {"returns": to_go, "lambda_returns": to_go, **own}
        if "imagined" in names:
            own = {"imagined": np.zeros(len(dataset), np.float32), **own}
        if "next_known" in names:
            own = {"next_known": recorded_next(dataset).astype(np.float32), **own}
        if "rows" in names:
            own = {"rows": np.arange(len(dataset)), **own}
        named = NamedColumns(names, own, following, device, n_spare > 0)
        head = [*(c for c in observed if not _is_raw(c)), *named.followed.values()]
        tail = [_actions(dataset, scaling), Column(scalars), *named.packed.values()]
        self.action = len(head)
        if "next_actions" in names:
            head.append(tail.pop(0))
        ends = dataset.episode_ends if self.ordered else np.arange(1, len(dataset) + 1)
        self.packed = PackedRows(head, tail, ends, steps, device, n_spare, windows, history)
        self.apart, self.in_table = named.apart, list(named.packed)
        first = self.action - len(named.followed)
        self.find = named.finders(first, self.action + 2, self._next_actions)

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
        past = [self.history] if self.history > 1 else []
        self.shapes = map_tree(lambda column: None if _is_raw(column) else [*past, *column.shape], tree)
        self.is_vector = isinstance(self.shapes, list) and len(self.shapes) == 1 + len(past)
        return leaves(tree)

    def _frames(
        self, dataset: MDPDataset, columns: list[Column], next_rows: Array, steps: Array | None
    ) -> list[Frames]:
        images = [c.rows for c in columns if is_image(c.rows.dtype, c.shape)]
        check_stack(images, self.frame_stack, self.frame_pad, self.ordered, dataset.observations)
        shared: dict[str, Any] = {"next_rows": next_rows, "steps": steps, "device": self.device}
        shared |= {
            "starts": np.repeat(dataset.episode_starts, dataset.episode_lengths()) if columns else None
        }
        if self.history > 1:
            legal = legal_of(dataset.observations)
            past = [1 if c.rows is legal else self.history for c in columns]
            each = zip(columns, past, strict=True)
            return [Frames(c.rows, c.final, stack=n, pad="repeat", apart=n > 1, **shared) for c, n in each]
        stacks = [self.frame_stack if is_image(c.rows.dtype, c.shape) else 1 for c in columns]
        pairs = zip(columns, stacks, strict=True)
        return [Frames(c.rows, c.final, stack=n, pad=self.frame_pad, **shared) for c, n in pairs]

    @property
    def by_row(self) -> bool:
        """Whether minibatches are located by the numbers of their rows too."""
        return bool(self.frames or self.apart)

    def gather(self, rows: Tensor) -> Batch:
        """Returns the transitions of rows, int64 [B], or with more axes before B, which every field then has."""
        flat = rows.reshape(-1)
        places = self.packed.places.index_select(0, flat)
        batch = self.fetch(self.locate(places, flat, len(flat))[0])
        return batch if rows.ndim == 1 else with_axes(batch, rows.shape)

    def locate(self, places: Tensor, rows: Tensor | None, batch_size: int) -> list[Located]:
        """Returns where K minibatches lie, which is cheaper for many at once.

        Args:
            places: [K * B], `self.packed.places` of their rows.
            rows: int64 [K * B]; None will do unless `by_row`.
            batch_size: B.
        """
        located = places.view(-1, batch_size).unbind()
        if rows is None:
            return [Located(place, (), None) for place in located]
        rows = rows.view(-1, batch_size)
        frames = [frames.locate(rows) for frames in self.frames]
        each = zip(*frames, strict=True) if frames else [()] * len(located)
        return list(map(Located, located, each, rows.unbind()))

    def fetch(self, located: Located) -> Batch:
        """Returns the transitions of a located minibatch."""
        now, after = self.packed.gather(located.places)
        rewards, discounts = now[self.action + 1].unbind(1)
        observations: TensorTree
        next_observations: TensorTree
        if self.is_vector:
            observations, next_observations = now[0], after[0]
        else:
            images = [frames.gather(index) for frames, index in zip(self.frames, located.frames, strict=True)]
            observations = self._tree(now, [pair[0] for pair in images])
            next_observations = self._tree(after, [pair[1] for pair in images])
        named = [find(now, after, located.rows) for find in self.find.values()]
        actions = self._as_actions(now[self.action])
        batch: Batch = self.batch_class(observations, actions, rewards, next_observations, discounts, *named)
        return batch

    def _as_actions(self, part: Tensor) -> Tensor:
        return from_digits(part) if self.discrete else part

    def _next_actions(self, now: Parts, after: Parts, rows: Tensor | None) -> Tensor:
        return self._as_actions(after[-1])

    def set_lambda_returns(self, values: Tensor, next_values: Tensor, decay: float) -> Tensor:
        """Writes the lambda-returns of all rows into the column of that name and returns them, [N].

        R_t = r_t + discount_t ((1 - decay) V(s_t+1) + decay R_t+1) within an episode, r + discount V(s') at its
        end, and V(s) where what followed was not recorded. Source: Sutton and Barto 2018, section 12.1.

        Args:
            values: V of the observations, [N].
            next_values: V of the next ones, [N].
            decay: Lambda, in [0, 1].
        """
        scalars = self.packed.column(self.action + 1)[self.packed.places]
        rewards, discounts = scalars.T.double().cpu().numpy()
        last = np.zeros(len(rewards), np.bool_)
        last[self.ends - 1] = True
        bootstrapped = np.where(last, 1.0, 1.0 - decay) * next_values.double().cpu().numpy()
        steps = np.where(self.has_next, rewards + discounts * bootstrapped, values.double().cpu().numpy())
        returns = torch.from_numpy(discounted_sums(steps, last, self.gamma * decay)).float().to(self.device)
        self.write("lambda_returns", returns)
        return returns

    def write(self, name: str, values: Tensor) -> None:
        """Writes new numbers [N, ...] into a column, which batches have from now on."""
        if name in self.apart:
            self.apart[name].copy_(values)
            return
        column = self.packed.column(self.action + 2 + self.in_table.index(name))
        column[self.packed.places] = values.reshape(len(values), -1)

    @property
    def refills(self) -> bool:
        """Whether `fetch_into` can be used: a minibatch is one gather of one table."""
        return self.is_vector and self.packed.steps is None

    def fetch_into(self, batch: Batch, located: Located) -> None:
        """Writes a located minibatch into one that `fetch` returned, whose float fields are views of one tensor."""
        table: Tensor = batch.observations._base  # type: ignore[union-attr, assignment]  # A view: see `refills`.
        torch.index_select(self.packed.window, 0, located.places, out=table)
        if located.rows is not None:
            for name, column in self.apart.items():
                torch.index_select(column, 0, located.rows, out=getattr(batch, name))
        if self.discrete:
            now, after = self.packed.split(table)
            _put_actions(batch.actions, now[self.action])
            if "next_actions" in self.find:
                _put_actions(batch.next_actions, after[-1])

    def _tree(self, packed: Sequence[Tensor], raw: Sequence[Tensor]) -> TensorTree:
        """Puts gathered leaves, [B, size] of packed ones, in their places in the tree of observations."""
        parts, frames = iter(packed), iter(raw)

        def leaf(shape: list[int] | None) -> Tensor:
            if shape is None:
                return next(frames)
            part = next(parts)
            return part.view(len(part), *shape)  # A history has its axis already.

        observations: TensorTree = map_tree(leaf, self.shapes)
        return observations


def _actions(dataset: MDPDataset, scaling: Scaling) -> Column:
    return Column(action_digits(dataset.actions, dataset.action_space), scaler=scaling.action)


def _put_actions(actions: Tensor, digits: Tensor) -> None:
    actions.copy_(digits.squeeze(1) if digits.shape[1] == 1 else from_digits(digits))


def _is_raw(column: Column) -> bool:
    return column.rows.dtype == np.uint8 and column.scaler is None
