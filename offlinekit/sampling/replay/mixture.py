"""Minibatches of which an exact share of rows was recorded and the rest is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from offlinekit.interfaces import Sampler
from offlinekit.sampling.batch import Batch, Minibatch
from offlinekit.types import map_tree

B = TypeVar("B", bound="Minibatch")


class MixedSampler:
    """Draws minibatches [recorded rows; new rows], round(share * B) of them recorded in every one.

    Args:
        recorded: Of the dataset.
        new: Of what was played since.
        batch_size: B, of both as of the mixture.
        share: Returns the share, in [0, 1], that the next minibatch has.
    """

    def __init__(self, recorded: Sampler, new: Sampler, batch_size: int, share: Callable[[], float]) -> None:
        self.recorded, self.new, self.batch_size, self.share = recorded, new, batch_size, share

    def sample(self) -> Minibatch:
        """Draws the next minibatch."""
        n_recorded = round(self.share() * self.batch_size)
        if n_recorded in (0, self.batch_size):
            return (self.recorded if n_recorded else self.new).sample()
        first = first_rows(self.recorded.sample(), n_recorded)
        return joined([first, first_rows(self.new.sample(), self.batch_size - n_recorded)])

    def state(self) -> Tensor:
        """Returns the states of both, as bytes, behind the size and the dtype of the first."""
        states = [self.recorded.state(), self.new.state()]
        sizes = torch.tensor([part.numel() * part.element_size() for part in states], device="cpu")
        kinds = torch.tensor([part.dtype == torch.int64 for part in states], device="cpu")
        parts = [sizes.view(torch.uint8), kinds.view(torch.uint8), *(_as_bytes(part) for part in states)]
        return torch.cat(parts)

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned."""
        sizes, kinds, rest = state.cpu().split_with_sizes([16, 2, len(state) - 18])
        parts = rest.split_with_sizes(sizes.clone().view(torch.int64).tolist())
        for sampler, part, is_int in zip((self.recorded, self.new), parts, kinds.tolist(), strict=True):
            sampler.set_state(part.clone().view(torch.int64 if is_int else torch.uint8))


def first_rows(batch: B, n: int) -> B:
    """Returns the first n rows of a minibatch."""
    return _by_field(lambda field, axis: field.narrow(axis, 0, n), [batch])


def joined(batches: Sequence[B]) -> B:
    """Returns the rows of minibatches of the same columns one after another, as one minibatch."""
    return _by_field(lambda *parts: torch.cat(parts[:-1], parts[-1]), batches)


def _by_field(function: Callable[..., Tensor], batches: Sequence[B]) -> B:
    """Returns function(leaf of each batch, axis of the rows) of every leaf; `masks` [K, B] have theirs last."""
    names = batches[0]._fields

    def combine(name: str) -> object:
        axis = 1 if name == "masks" and isinstance(batches[0], Batch) else 0
        fields = [getattr(batch, name) for batch in batches]
        return None if fields[0] is None else map_tree(lambda *leaves: function(*leaves, axis), *fields)

    fields: Any = map(combine, names)
    return type(batches[0])(*fields)


def _as_bytes(state: Tensor) -> Tensor:
    return state.cpu().contiguous().view(torch.uint8)
