"""Rows drawn by how much is to be learned from them: prioritised replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offlinekit.sampling.batch import Batch
from offlinekit.sampling.sampler import TransitionSampler, fits
from offlinekit.sampling.sum_tree import SumTree

LEAST = 1e-6
"""What a row is drawn with that has no error left."""


@dataclass(frozen=True)
class Priorities:
    """By what rows are drawn: P(i) = p_i^alpha / sum_j p_j^alpha, corrected by weights (N P(i))^-beta / max_j.

    p_i is the square root of the row's loss when it was last drawn, of squared errors |TD error|, over the members of
    an ensemble their root mean square; 1 before. Source: Schaul et al. 2016, arXiv:1511.05952, section 3.3 and 3.4.

    Args:
        objective: Whose losses count, such as "critic".
        alpha: In [0, 1]; 0 draws uniformly.
        beta: In [0, 1]; 1 corrects fully what the draw has changed, 0 not at all.

    Raises:
        ValueError: For numbers out of range.
    """

    objective: str = "critic"
    alpha: float = 0.6
    beta: float = 0.4

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")

    def of(self, losses: Tensor) -> Tensor:
        """Returns p^alpha of losses [B]."""
        return (losses.double().abs().sqrt() + LEAST) ** self.alpha

    def corrections(self, numbers: Tensor, total: Tensor, n: int) -> Tensor:
        """Returns the weights (N P)^-beta of drawn rows, divided by the largest among them, float32 [B].

        Args:
            numbers: p^alpha of the rows, [B].
            total: The sum over all rows.
            n: N.
        """
        weights = (n * numbers / total) ** -self.beta
        return (weights / weights.max()).float()


class PrioritySampler(TransitionSampler):
    """Draws each minibatch by the losses of the rows in earlier ones, one row from each of B equal shares of P.

    Args:
        dataset: What to learn from.
        priorities: How rows are drawn.
        settings: Of `TransitionSampler`.

    Attributes:
        tree: p^alpha of the rows that can be drawn.
        drawn: int64 [B], places in the tree of the rows of the last minibatch.
    """

    tree: SumTree
    drawn: Tensor

    def __init__(self, dataset: Any, *, priorities: Priorities, **settings: Any) -> None:
        self.priorities = priorities
        super().__init__(dataset, **settings)

    def _begin(self, batch_size: int, seed: int) -> None:
        super()._begin(batch_size, seed)
        self.tree = SumTree(torch.ones(self.n_usable, device=self.device))
        self.shares = torch.arange(batch_size, dtype=torch.float64, device=self.device)

    def sample(self) -> Batch:
        """Draws the next minibatch, with the weights that correct the draw."""
        uniform = torch.rand(
            self.batch_size, generator=self.generator, device=self.device, dtype=torch.float64
        )
        self.drawn = self.tree.draw((self.shares + uniform) / self.batch_size)
        batch = self.gather(self._rows(self.drawn))
        chosen = self.tree.numbers.index_select(0, self.drawn)
        weights = self.priorities.corrections(chosen, self.tree.total, self.n_usable)
        given = batch.weights if "weights" in batch._fields else None
        return batch.with_columns(weights=weights if given is None else weights * given)

    def refill(self, batch: Batch) -> bool:
        """Returns False: the weights of a minibatch lie in no table."""
        return False

    def update(self, losses: Tensor) -> None:
        """Takes up the losses [B] of the rows of the last minibatch."""
        self.tree.write(self.drawn, self.priorities.of(losses))

    def state(self) -> Tensor:
        """Returns the generator and all priorities, as bytes."""
        numbers = self.tree.numbers.cpu().contiguous().view(torch.uint8)
        return torch.cat([self.generator.get_state(), numbers])

    def set_state(self, state: Tensor) -> None:
        """Goes on from a state that `state` returned; one of another kind warns and changes nothing."""
        size = len(self.generator.get_state())
        if fits(state, size + 8 * self.n_usable, torch.uint8):
            generator, numbers = state.cpu().split_with_sizes([size, 8 * self.n_usable])
            self.generator.set_state(generator.clone())
            self.tree.replace(numbers.clone().view(torch.float64).to(self.device))
