"""Minibatches of transitions: columns on the device once, a batch is a gather."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.past.layouts import layouts_of
from offlinekit.errors import DatasetError
from offlinekit.sampling.batch import Batch, with_axes
from offlinekit.sampling.frames import random_shift
from offlinekit.sampling.loss_weights import scaled_weights, weights_of
from offlinekit.sampling.n_step import drawable_rows, n_step_transitions, returns_to_go
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.transition_table import Located, TransitionTable
from offlinekit.sampling.weights import Chooser, check_weights
from offlinekit.types import Array, leaves, map_tree

__all__ = ["TransitionSampler", "n_step_transitions", "returns_to_go"]

BATCHES_AT_ONCE = 64
"""Minibatches whose rows are drawn together."""

CUDA_STATE_BYTES = 16
"""Of the state of a generator on a GPU."""
ROWS_AT_ONCE = 1 << 20
"""The most rows that are drawn together, unless one minibatch has more."""


class TransitionSampler:
    """Draws minibatches of n-step transitions with replacement, uniformly or by weights of rows.

    Row numbers are drawn for many minibatches at once, each minibatch is gathered when it is needed. Its
    float fields are views of one packed tensor.

    Args:
        dataset: What to learn from.
        batch_size: B.
        gamma: Discount factor of one step.
        n_step: Steps joined into one transition.
        device: Where the columns and batches live.
        seed: Of the sampler's own generator.
        scaling: Applied to the columns once.
        needs: Names of the columns that batches have beside the standard fields. Rows without a next observation are
            left out if "next_observations" is among them, and rows without a next action if "next_actions" is, but
            for those where the MDP ended.
        frame_stack: How many images [C, H, W] of an episode are stacked into one [frame_stack * C, H, W].
        frame_pad: What stands before an episode's first image: "zero", or "repeat" for that image again.
        history: How many rows of an episode make one observation [history, ...]; its first row repeats before it.
        image_shift: Pixels by which images of drawn minibatches are shifted at random; 0 leaves them.
        rows: int64, the only rows to draw; None for all.
        columns: [N, ...] by name, in place of the dataset's own or beside them, for `needs`.
        following: Columns of the next state, as for `TransitionTable`.
        sampling_weights: [N], how likely each row is drawn; None for equally.
        owner: Name of the impl whose `needs` they are, for messages.
        n_spare: As for `TransitionTable`.

    Attributes:
        n_rows: How many rows the dataset has.
        n_usable: How many of them can be drawn.
        usable: Their numbers, int64 [n_usable] on the device, or None if these are all rows.
        generator: The sampler's own.

    Raises:
        DatasetError: If no row can be sampled, for weights that cannot be, for columns that are not there, or
            if n > 1 steps, frames, histories or next actions are wanted of unordered transitions.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        batch_size: int,
        gamma: float,
        n_step: int,
        device: torch.device,
        seed: int,
        scaling: Scaling,
        needs: Sequence[str] = ("next_observations",),
        frame_stack: int = 1,
        frame_pad: str = "zero",
        history: int = 1,
        image_shift: int = 0,
        rows: Array | None = None,
        columns: Mapping[str, Array] | None = None,
        following: Mapping[str, tuple[Array, Array]] | None = None,
        sampling_weights: Array | None = None,
        owner: str = "",
        n_spare: int = 0,
    ) -> None:
        self.device, self._on_cuda = device, device.type == "cuda"
        weights = weights_of(dataset)
        if weights is not None:
            needs, columns = (*needs, "weights"), {**(columns or {}), "weights": weights}
        self.columns = TransitionTable(
            dataset,
            gamma=gamma,
            n_step=n_step,
            device=device,
            scaling=scaling,
            frame_stack=frame_stack,
            frame_pad=frame_pad,
            history=history,
            needs=needs,
            columns=columns,
            following=following,
            owner=owner,
            n_spare=n_spare,
        )
        self.image_shift = image_shift
        self.layouts = layouts_of(dataset.observations, frame_stack)
        if image_shift and not any(layout is not None for layout in leaves(self.layouts)):
            raise DatasetError(
                f"random_shift={image_shift} moves uint8 images, and there are none among the observations; use 0"
            )
        if "next_actions" in needs and not self.columns.ordered:
            raise DatasetError(
                "this algorithm learns from the action that follows in the data, but this dataset holds unordered "
                "transitions (next_observations differ from the following rows); give rows in temporal order"
            )
        allowed = drawable_rows(dataset, n_step, needs)
        if columns is not None and "weights" in columns:
            allowed &= columns["weights"] > 0
        usable = torch.from_numpy(np.flatnonzero(allowed) if rows is None else rows[allowed[rows]])
        if not len(usable):
            raise DatasetError(
                self._why_none(needs, rows, None if columns is None else columns.get("weights"))
            )
        self.usable = None if rows is None and len(usable) == len(dataset) else usable.to(device)
        self.n_usable, self.n_rows = len(usable), len(dataset)
        places = self.columns.packed.places
        self._places = places if self.usable is None else places.index_select(0, self.usable)
        self._choose_by(sampling_weights)
        if weights is not None:
            scaled = torch.from_numpy(scaled_weights(dataset, usable.numpy()))
            self.columns.write("weights", scaled.to(device))
        self._begin(batch_size, seed)

    def _why_none(self, needs: Sequence[str], rows: Array | None, weights: Array | None) -> str:
        """Returns what rows lack of which none can be drawn."""
        has_next = self.columns.has_next if rows is None else self.columns.has_next[rows]
        whose = "no row"
        if weights is not None:
            weighed = (weights if rows is None else weights[rows]) > 0
            if has_next[~weighed].any():
                has_next, whose = has_next[weighed], "no row of weight above 0"
        if "next_actions" in needs and has_next.any():
            return (
                f"{whose} has a next action to learn from, which is that of the next row; episodes that end in "
                "timeouts have none at their last row: give episodes of several rows, or terminals where they ended"
            )
        return f"{whose} has a next observation to learn from; give next_observations or terminals"

    def _begin(self, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self._block_state = self.generator.get_state()
        self._drawn = torch.empty((0, batch_size), dtype=torch.int64, device=self.device)
        self._located: list[Located] = []
        self._taken = 0

    def _choose_by(self, sampling_weights: Array | None) -> None:
        if sampling_weights is not None:
            check_weights(sampling_weights, self.n_rows)
            sampling_weights = sampling_weights[self.usable_rows().cpu().numpy()]
        self._chooser = Chooser(self.n_usable, sampling_weights, self.device)

    def twin(self, batch_size: int, seed: int, sampling_weights: Array | None = None) -> TransitionSampler:
        """Returns a sampler of the same columns that draws by a generator of its own, and by weights [N] if given."""
        twin = copy.copy(self)
        if sampling_weights is not None:
            twin._choose_by(sampling_weights)
        twin._begin(batch_size, seed)
        return twin

    def sample(self) -> Batch:
        """Draws the next minibatch."""
        if self._on_cuda and torch.cuda.is_current_stream_capturing():
            return self.shifted(self.gather(self.next_rows()))
        return self.shifted(self.columns.fetch(self._next()))

    def shifted(self, batch: Batch) -> Batch:
        """Returns a minibatch whose images were shifted at random, those of now and next by shifts of their own."""
        if not self.image_shift:
            return batch

        def shift(leaf: Tensor, channels_last: bool | None) -> Tensor:
            if channels_last is None or leaf.dtype != torch.uint8:
                return leaf
            return random_shift(leaf, self.image_shift, self.generator, channels_last=channels_last)

        now = map_tree(shift, batch.observations, self.layouts)
        after = map_tree(shift, batch.next_observations, self.layouts)
        return batch._replace(observations=now, next_observations=after)

    def refill(self, batch: Batch) -> bool:
        """Draws the next minibatch into the memory of one that `sample` returned, which saves its views.

        Returns:
            False if that cannot be done, with images or several steps; nothing is drawn then.
        """
        if not self.columns.refills:
            return False
        self.columns.fetch_into(batch, self._next())
        return True

    def _next(self) -> Located:
        """Returns where the next minibatch lies."""
        number = self._advance()
        if not self._located:
            self._locate_block()
        return self._located[number]

    def _advance(self) -> int:
        """Takes the next minibatch of the block, of a new one if it is used up, and returns its number there."""
        if self._taken == len(self._drawn):
            self._draw_block()
        self._taken += 1
        return self._taken - 1

    def next_rows(self) -> Tensor:
        """Draws the next minibatch as `sample` does, and returns the numbers of its rows alone, int64 [B].

        While a CUDA graph is captured the draw becomes part of it, so that each replay draws anew.
        """
        if self._on_cuda and torch.cuda.is_current_stream_capturing():
            return self._rows(self._draw(1))
        number = self._advance()
        return self._rows(self._drawn[number])

    def sample_with(self, twins: Sequence[TransitionSampler]) -> Batch:
        """Draws the next minibatch of this sampler and of its twins, whose places are known, by one gather.

        Returns:
            Fields [M, B, ...], of itself and then of each twin.
        """
        places = [sampler._next().places for sampler in (self, *twins)]
        batch = self.columns.fetch(Located(torch.cat(places), (), None))
        return with_axes(batch, (len(places), self.batch_size))

    @property
    def locates_ahead(self) -> bool:
        """Whether `sample_with` serves: minibatches are located in the table alone, and no draw is part of a graph."""
        return type(self) is TransitionSampler and not self._on_cuda and not self.columns.by_row

    def skip(self, n_batches: int) -> None:
        """Skips minibatches, of which row numbers alone are drawn."""
        for _ in range(n_batches):
            self._advance()

    def usable_rows(self) -> Tensor:
        """Returns the numbers of all rows that can be drawn, int64 [n_usable]."""
        return torch.arange(self.n_usable, device=self.device) if self.usable is None else self.usable

    def gather(self, index: Tensor) -> Batch:
        """Returns the transitions of the given rows, int64 [B] or with more axes before B."""
        return self.columns.gather(index)

    def _draw(self, n_batches: int) -> Tensor:
        """Draws which of the usable rows come next, [n_batches * B]."""
        return self._chooser.draw(n_batches * self.batch_size, self.generator)

    def _rows(self, drawn: Tensor) -> Tensor:
        return drawn if self.usable is None else self.usable.index_select(0, drawn)

    def _draw_block(self) -> None:
        self._block_state, self._located, self._taken = self.generator.get_state(), [], 0
        drawn = self._draw(max(min(BATCHES_AT_ONCE, ROWS_AT_ONCE // self.batch_size), 1))
        self._drawn = drawn.view(-1, self.batch_size)

    def _locate_block(self) -> None:
        drawn = self._drawn.view(-1)
        rows = self._rows(drawn) if self.columns.by_row else None
        self._located = self.columns.locate(self._places.index_select(0, drawn), rows, self.batch_size)

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, as bytes: the generator now, the generator before
        the block of row numbers in use, and how many minibatches of the block are taken.
        """
        taken = torch.tensor([self._taken], device="cpu").view(torch.uint8)
        return torch.cat([self.generator.get_state(), self._block_state, taken])

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        size = len(self._block_state)
        if not fits(state, 2 * size + 8, torch.uint8):
            return
        now, before, taken = state.cpu().split_with_sizes([size, size, 8])
        self._drawn, self._located, self._taken = self._drawn[:0], [], 0
        self.generator.set_state(before.clone())
        self._block_state = before.clone()
        if n_taken := int(taken.clone().view(torch.int64)):
            self._draw_block()
            self._taken = min(n_taken, len(self._drawn))  # Of a smaller batch a block has more.
        self.generator.set_state(now.clone())


def fits(state: Tensor, size: int, dtype: torch.dtype) -> bool:
    """Returns whether a state is of a sampler's kind; warns if it is not."""
    if state.shape == (size,) and state.dtype == dtype:
        return True
    apart = len(torch.Generator().get_state()) - CUDA_STATE_BYTES
    has_moved = state.dtype == dtype and abs(state.numel() - size) in (apart, 2 * apart)
    reason = (
        "the data lay on another device"
        if has_moved
        else "they are drawn in another way now, such as by priorities, in blocks from a file or from other rows"
    )
    warnings.warn(
        f"minibatches are drawn anew, not where the last fit of the algorithm stood: {reason}", stacklevel=3
    )
    return False
