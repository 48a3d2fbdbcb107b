"""Windows of consecutive steps, for models of sequences: columns on the device once, a batch is a gather."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.frame_stacking import check_stack
from offlinekit.envs.past.sight import is_image
from offlinekit.errors import DatasetError
from offlinekit.sampling.batch import TrajectoryBatch, batch_class, with_axes
from offlinekit.sampling.frames import PaddedRows
from offlinekit.sampling.loss_weights import (
    COLUMN,
    LEARNED,
    learned_column,
    scaled_weights,
    weights_of,
)
from offlinekit.sampling.n_step import returns_to_go
from offlinekit.sampling.named_columns import COMPUTED, exact, own_columns, with_extras
from offlinekit.sampling.packing import action_digits, from_digits
from offlinekit.sampling.sampler import fits
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.weights import Chooser
from offlinekit.types import Array, leaves, map_tree

if TYPE_CHECKING:
    from offlinekit.sampling.batch import TensorTree

ANCHORS = ("first", "last", "episode")


class TrajectorySampler:
    """Draws windows of steps with replacement: a row, and those before or after it.

    Args:
        dataset: What to learn from, in temporal order.
        context: K, the most steps of a window.
        batch_size: B.
        device: Where the columns and batches live.
        seed: Of the sampler's own generator.
        gamma: Discount factor of the returns to go; 1, as Decision Transformers have it.
        scaling: Applied to the columns once; rewards before they are summed.
        anchor: Whether the drawn row is the "last" of its window, as when a model acts, or the "first", as
            Decision Transformers are trained; windows then shorten towards an episode's end. With "episode" the first
            rows of episodes alone are drawn, so that windows are whole episodes of up to `context` rows; an episode has
            the mean loss weight of its rows.
        sampling_weights: [N], how likely each row is drawn; None for equally. So drawn, an episode is as likely as
            it is long; with `1 / length` as the weight of its rows all episodes are equally likely.
        frame_stack: How many images [C, H, W] of an episode make one observation [frame_stack * C, H, W].
        frame_pad: What stands before an episode's first image: "zero", or "repeat" for that image again.
        needs: Names of the columns that windows have beside the standard fields.
        columns: [N, ...] by name, in place of the dataset's own or beside them, for `needs`.
        owner: Name of the impl whose `needs` they are, for messages.

    Raises:
        ValueError: For a context or batch size below 1, or an unknown anchor or pad rule.
        DatasetError: For transitions in no order of time, weights that cannot be, or frames that cannot be stacked.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        context: int,
        batch_size: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        gamma: float = 1.0,
        scaling: Scaling | None = None,
        anchor: str = "last",
        sampling_weights: Array | None = None,
        frame_stack: int = 1,
        frame_pad: str = "zero",
        needs: Sequence[str] = (),
        columns: Mapping[str, Array] | None = None,
        owner: str = "",
    ) -> None:
        _check(dataset, context, batch_size, anchor)
        self.context, self.batch_size, self.device = context, batch_size, torch.device(device)
        self._set_weights(dataset, sampling_weights, anchor)
        weighted = () if self._weights is None else ("weights",)
        names = [name for name in needs if name not in (*TrajectoryBatch._fields, *weighted)]
        given = {**(columns or {}), **learned_column(dataset)}
        names += [LEARNED] if LEARNED in given else []
        self._names = tuple(dict.fromkeys((*names, *weighted)))
        self._batch_class = batch_class(TrajectoryBatch, self._names, owner)
        named = _named_columns(dataset, names, given, owner)
        self._set_columns(dataset, scaling or Scaling(), gamma, named)
        self._first, self._last = (
            torch.from_numpy(bound).to(self.device) for bound in _windows(dataset, context, anchor)
        )
        self._offsets = torch.arange(1 - context, 1, device=self.device)
        self._stack, self._pad = frame_stack, frame_pad
        if frame_stack > 1:
            images = [leaf for leaf in leaves(dataset.observations) if is_image(leaf.dtype, leaf.shape[1:])]
            check_stack(images, frame_stack, frame_pad, True, dataset.observations)
            starts = np.repeat(dataset.episode_starts, dataset.episode_lengths())
            self._starts = torch.from_numpy(np.append(starts, len(dataset))).to(self.device)
            self._back = torch.arange(1 - frame_stack, 1, device=self.device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def _set_weights(self, dataset: MDPDataset, sampling_weights: Array | None, anchor: str) -> None:
        """Chooses the rows that can be drawn, those of positive loss weight, and keeps these weights."""
        self._weights = self._usable = None
        weights = weights_of(dataset)
        usable = np.arange(len(dataset)) if weights is None else np.flatnonzero(weights)
        if anchor == "episode":
            usable = dataset.episode_starts
            dataset = dataset if weights is None else _weighing_alike(dataset, weights)
        if weights is not None:
            self._weights = torch.from_numpy(scaled_weights(dataset, usable)).to(self.device)
        if len(usable) < len(dataset):
            self._usable = torch.from_numpy(usable).to(self.device)
            sampling_weights = None if sampling_weights is None else sampling_weights[usable]
        self._chooser = Chooser(len(usable), sampling_weights, self.device)

    def _set_columns(
        self, dataset: MDPDataset, scaling: Scaling, gamma: float, named: Mapping[str, Array]
    ) -> None:
        """Packs all float columns into one table, a last row of zeros for padding; images, whole numbers and flags lie
        beside it.
        """
        rewards = dataset.rewards if scaling.reward is None else scaling.reward.transform(dataset.rewards)
        steps = np.arange(len(dataset)) - np.repeat(dataset.episode_starts, dataset.episode_lengths())
        to_go = returns_to_go(dataset, rewards, gamma)
        self._discrete = dataset.actions.ndim == 1
        actions = action_digits(dataset.actions, dataset.action_space)
        actions = actions if scaling.action is None else scaling.action.transform(actions)
        observations = scaling.observations(dataset.observations)
        floats = [leaf for leaf in leaves(observations) if leaf.dtype != np.uint8]
        numbers = named.get("rows")
        self._numbers = None if numbers is None else torch.from_numpy(exact(numbers)).to(self.device)
        named = {name: column for name, column in named.items() if name != "rows"}  # A window has one.
        packed = {name: column for name, column in named.items() if column.dtype.kind == "f"}
        self._packed = {name: column.shape[1:] for name, column in packed.items()}
        self._apart = {n: _padded(exact(c)).to(self.device) for n, c in named.items() if n not in packed}
        columns = [*floats, actions, rewards, to_go, dataset.terminals, steps, *packed.values()]
        flat = [column.reshape(len(dataset), -1) for column in columns]
        table = np.zeros((len(dataset) + 1, sum(column.shape[1] for column in flat)), np.float32)
        np.concatenate(flat, axis=1, out=table[:-1], casting="unsafe")
        self._table = torch.from_numpy(table).to(self.device)
        self._sizes = [column.shape[1] for column in flat]
        self._shapes = map_tree(
            lambda leaf: None if leaf.dtype == np.uint8 else list(leaf.shape[1:]), observations
        )
        self._images = [
            PaddedRows(leaf, self.device) for leaf in leaves(observations) if leaf.dtype == np.uint8
        ]

    def twin(self, batch_size: int, seed: int) -> TrajectorySampler:
        """Returns a sampler of the same columns that draws by a generator of its own."""
        twin = copy.copy(self)
        twin.batch_size = batch_size
        twin.generator = torch.Generator(device=self.device).manual_seed(seed)
        return twin

    @property
    def columns(self) -> Tensor:
        """The columns shared with its twins."""
        return self._table

    def sample(self) -> TrajectoryBatch:
        """Draws the next minibatch."""
        return self.gather(self.next_rows())

    def next_rows(self) -> Tensor:
        """Draws the rows that the next windows end or begin with, int64 [B]."""
        drawn = self._chooser.draw(self.batch_size, self.generator)
        return drawn if self._usable is None else self._usable.index_select(0, drawn)

    def gather(self, index: Tensor) -> TrajectoryBatch:
        """Returns the windows of given rows, int64 [B], or with more axes before B, which every field then has."""
        if index.ndim > 1:
            return with_axes(self.gather(index.reshape(-1)), index.shape)
        at = self._last.index_select(0, index)[:, None] + self._offsets
        valid = at >= self._first.index_select(0, index)[:, None]
        at = torch.where(valid, at, len(self._table) - 1).view(-1)
        parts = self._table.index_select(0, at).split_with_sizes(self._sizes, 1)
        n_standard = len(parts) - len(self._packed)
        *floats, actions, rewards, to_go, terminals, steps = (
            part.view(len(index), self.context, -1) for part in parts[:n_standard]
        )
        frames = [self._frames(leaf, at) for leaf in self._images]
        images = [leaf.view(len(index), self.context, *leaf.shape[1:]) for leaf in frames]
        batch: TrajectoryBatch = self._batch_class(
            self._tree(floats, images),
            from_digits(actions) if self._discrete else actions,
            rewards.squeeze(-1),
            to_go.squeeze(-1),
            terminals.squeeze(-1).bool(),
            steps.squeeze(-1).long(),
            valid,
            *self._named(index, at, parts[n_standard:]),
        )
        return batch

    def _named(self, index: Tensor, at: Tensor, packed: Sequence[Tensor]) -> list[Tensor]:
        """Returns the columns that stand beside the standard fields."""
        shape = len(index), self.context
        parts = zip(self._packed.items(), packed, strict=True)
        numbers = index if self._numbers is None else self._numbers.index_select(0, index)
        columns = {"rows": numbers, **{name: part.view(*shape, *own) for (name, own), part in parts}}
        for name, column in self._apart.items():
            columns[name] = column.index_select(0, at).view(*shape, *column.shape[1:])
        if self._weights is not None:
            columns["weights"] = self._weights.index_select(0, index)
        return [columns[name] for name in self._names]

    def _frames(self, leaf: PaddedRows, at: Tensor) -> Tensor:
        """Returns the images of rows [M], as stacks if `frame_stack` is above 1."""
        if self._stack == 1 or len(leaf.shape) != 3:
            return leaf.take(at)
        index, first = at[:, None] + self._back, self._starts.index_select(0, at)[:, None]
        blank = first if self._pad == "repeat" else leaf.n_rows
        index = torch.where(index < first, blank, index).view(-1)
        return leaf.take(index).view(len(at), -1, *leaf.shape[1:])

    def _tree(self, floats: list[Tensor], images: list[Tensor]) -> TensorTree:
        """Puts gathered leaves in their places in the tree of observations."""
        packed, raw = iter(floats), iter(images)

        def leaf(shape: list[int] | None) -> Tensor:
            if shape is None:
                return next(raw)
            part = next(packed)
            return part.view(*part.shape[:2], *shape)

        return map_tree(leaf, self._shapes)

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, as bytes."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        if fits(state, len(self.generator.get_state()), torch.uint8):
            self.generator.set_state(state.cpu())


def _check(dataset: MDPDataset, context: int, batch_size: int, anchor: str) -> None:
    for name, number in (("context", context), ("batch_size", batch_size)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if anchor not in ANCHORS:
        raise ValueError(f"anchor must be one of {', '.join(map(repr, ANCHORS))}, got {anchor!r}")
    check_order(dataset, "BC or DiscreteBC")


def check_order(dataset: MDPDataset, instead: str) -> None:
    """Checks that the rows of a dataset follow one another in time.

    Args:
        dataset: What windows are to be cut from.
        instead: Names of algorithms that need no windows.

    Raises:
        DatasetError: For unordered transitions.
    """
    if dataset.next_observations is not None:
        raise DatasetError(
            "windows need rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); order them, or learn by an algorithm of transitions, "
            f"such as {instead}"
        )


def rows_around(rows: Tensor, ends: Tensor, steps: Tensor) -> Tensor:
    """Returns the rows that lie so many steps from each row, or the first or last of its episode, int64 [..., M].

    Args:
        rows: int64 [...].
        ends: Of all episodes, the numbers of the rows behind them, int64 [E].
        steps: int64 [M]; negative ones lie before the row.
    """
    episodes = torch.searchsorted(ends, rows.contiguous(), right=True)
    first = torch.cat([torch.zeros_like(ends[:1]), ends])[episodes]
    return (rows.unsqueeze(-1) + steps).clamp(first.unsqueeze(-1), ends[episodes].unsqueeze(-1) - 1)


def _named_columns(
    dataset: MDPDataset, names: Sequence[str], given: Mapping[str, Array], owner: str
) -> dict[str, Array]:
    """Returns the columns of steps [N, ...] that windows have beside the standard fields.

    Raises:
        DatasetError: For those that single transitions alone have.
    """
    if others := [name for name in names if name in ("masks", *COMPUTED) and name != "rows"]:
        raise DatasetError(
            f"windows of steps have no column {others[0]!r}; take it out of `needs` of {owner or 'the impl'}"
        )
    return own_columns(dataset, names, given, owner)


def _weighing_alike(dataset: MDPDataset, weights: Array) -> MDPDataset:
    """Returns a dataset in which all rows of an episode have the mean of their loss weights."""
    lengths = dataset.episode_lengths()
    means = np.add.reduceat(weights, dataset.episode_starts) / lengths
    return with_extras(dataset, {COLUMN: np.repeat(means, lengths)})


def _windows(dataset: MDPDataset, context: int, anchor: str) -> tuple[Array, Array]:
    """Returns the earliest row that each row's window may have, and its last row, int64 [N] each."""
    row, lengths = np.arange(len(dataset)), dataset.episode_lengths()
    if anchor == "last":
        return np.repeat(dataset.episode_starts, lengths), row
    return row, np.minimum(np.repeat(dataset.episode_ends, lengths), row + context) - 1


def _padded(leaf: Array) -> Tensor:
    """Returns [N, ...] with a row of zeros behind."""
    return torch.from_numpy(np.concatenate([leaf, np.zeros((1, *leaf.shape[1:]), leaf.dtype)]))
