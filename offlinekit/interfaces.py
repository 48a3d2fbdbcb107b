"""The protocols by which rooms know one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.batch import Minibatch

Evaluator: TypeAlias = "Callable[[Algo, MDPDataset], float | Mapping[str, float]]"
"""Measures an algorithm on a dataset: one number, or several by name."""


class BatchSource(Protocol):
    """Minibatches, one after another.

    All have the same fields, and these the same dtypes and shapes. A source may offer more, which engines look for:

    - `generator`, a torch.Generator: `sample` can then be a part of a CUDA graph. What its draws depend on, such as
      how many rows there are, then has to lie in tensors on the device, since a replay runs no Python.
    - `refill(batch) -> bool` draws the next minibatch into the memory of an earlier one, or returns False.

    A source whose rows come and go, or are drawn by numbers that change, draws no further ahead than their last
    change.
    """

    def sample(self) -> Minibatch:
        """Draws the next minibatch."""


class Sampler(BatchSource, Protocol):
    """The batches of a run, which goes on from where it stood."""

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from."""

    def set_state(self, state: Tensor) -> None:
        """Goes on from a state that `state` returned; one of another kind warns and changes nothing."""
