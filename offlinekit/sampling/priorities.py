"""Rows drawn by how much is to be learned from them: prioritised replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offlinekit.sampling.batch import Batch
from offlinekit.sampling.sampler import TransitionSampler, fits

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

LEAST = 1e-6
"""Priority of a row without an error."""

FAN = 64
"""Numbers whose sum stands one level above them; a million numbers have four levels."""


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

    def __init__(self, dataset: MDPDataset, *, priorities: Priorities, **settings: Any) -> None:
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
        batch = self.shifted(self.gather(self._rows(self.drawn)))
        chosen = self.tree.numbers.index_select(0, self.drawn)
        weights = self.priorities.corrections(chosen, self.tree.total, self.n_usable)
        given = batch.weights if "weights" in batch._fields else None
        return batch.with_columns(weights=weights if given is None else weights * given)

    def refill(self, batch: Batch) -> bool:
        """Returns False: the weights of a minibatch lie in no table."""
        return False

    def update(self, losses: Tensor) -> None:
        """Updates priorities by the losses [B] of the rows of the last minibatch."""
        self.tree.write(self.drawn, self.priorities.of(losses))

    def state(self) -> Tensor:
        """Returns the generator and all priorities, as bytes."""
        numbers = self.tree.numbers.cpu().contiguous().view(torch.uint8)
        return torch.cat([self.generator.get_state(), numbers])

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        size = len(self.generator.get_state())
        if fits(state, size + 8 * self.n_usable, torch.uint8):
            generator, numbers = state.cpu().split_with_sizes([size, 8 * self.n_usable])
            self.generator.set_state(generator.clone())
            self.tree.replace(numbers.clone().view(torch.float64).to(self.device))


class SumTree:
    """Numbers [n], at least 0 and not all 0, below sums of 64 of them, sums of 64 sums and so on.

    Writing some and drawing some takes work for each level, not for each number, in memory that stays in place, so
    that a CUDA graph may hold both.

    Args:
        numbers: The first ones.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.n = len(numbers)
        self.levels = [_padded(numbers.double())]
        while self.levels[-1].shape[0] > 1:
            self.levels.append(_padded(self.levels[-1].sum(1)))

    @property
    def numbers(self) -> Tensor:
        """The numbers, float64 [n]."""
        return self.levels[0].view(-1)[: self.n]

    @property
    def total(self) -> Tensor:
        """Their sum, 0-d."""
        return self.levels[-1].sum()

    def write(self, index: Tensor, numbers: Tensor) -> None:
        """Replaces the numbers at places int64 [B]; of several for one place the largest stays."""
        flat = self.levels[0].view(-1)
        flat.index_fill_(0, index, 0.0)
        flat.scatter_reduce_(0, index, numbers.double(), "amax")
        self._sum_up(index)

    def replace(self, numbers: Tensor) -> None:
        """Replaces all numbers, [n]."""
        self.levels[0].view(-1)[: self.n] = numbers
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            upper.view(-1)[: len(lower)] = lower.sum(1)

    def draw(self, uniform: Tensor) -> Tensor:
        """Returns places int64 [B], each with a probability proportional to its number.

        Args:
            uniform: [B] in [0, 1).
        """
        left = uniform.double() * self.total
        block = torch.zeros_like(left, dtype=torch.int64)
        for level in reversed(self.levels):
            sums = level.index_select(0, block).cumsum(1)
            within = (sums <= left[:, None]).sum(1)
            last = (sums < sums[:, -1:]).sum(1)  # Of those above 0, where rounding leads beyond.
            within = torch.minimum(within, last)
            left = left - torch.where(
                within > 0, sums.gather(1, (within - 1).clamp(min=0)[:, None])[:, 0], 0.0
            )
            block = block * FAN + within
        return block

    def _sum_up(self, index: Tensor) -> None:
        """Recomputes the sums above some places."""
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            index = index // FAN
            upper.view(-1)[index] = lower.index_select(0, index).sum(1)


def _padded(numbers: Tensor) -> Tensor:
    """Returns numbers [n] as blocks [ceil(n / 64), 64], with zeros behind."""
    blocks = numbers.new_zeros(-(-len(numbers) // FAN), FAN)
    blocks.view(-1)[: len(numbers)] = numbers
    return blocks
