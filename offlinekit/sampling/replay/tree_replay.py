"""Minibatches of a replay memory whose rows are drawn by numbers of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from offlinekit.sampling.batch import Batch
from offlinekit.sampling.priorities import Priorities, SumTree
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import fits


class TreeReplay:
    """Draws rows with probabilities proportional to numbers in a tree; a subclass says which, and samples.

    Args:
        memory: Holds recorded rows, whose first number is 1, and new ones.
        first: Number that new rows begin with.
        generator: Of the draws.

    Attributes:
        tree: Numbers of the recorded rows and then of the new ones.
        first: The present one, float64, [].
    """

    def __init__(self, memory: ReplayMemory, first: float, generator: torch.Generator) -> None:
        self.memory, self.batch_size, self.generator = memory, memory.batch_size, generator
        device = generator.device
        self.first = torch.tensor(first, dtype=torch.float64, device=device)
        numbers = torch.zeros(memory.n_kept + memory.capacity, device=device)
        numbers[: memory.n_kept] = 1.0
        self.tree, self.n_admitted = SumTree(numbers), 0
        self.shares = torch.arange(self.batch_size, dtype=torch.float64, device=device)

    @property
    def n_usable(self) -> int:
        """How many rows can be drawn."""
        return self.memory.n_usable

    def draw(self) -> Tensor:
        """Returns places int64 [B] of the memory, one from each of B equal shares of the numbers."""
        self._admit()
        uniform = torch.rand(
            self.batch_size, generator=self.generator, device=self.shares.device, dtype=torch.float64
        )
        return self.tree.draw((self.shares + uniform) / self.batch_size)

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, beside the rows, as bytes."""
        self._admit()
        return torch.cat(
            [part.detach().cpu().contiguous().view(-1).view(torch.uint8) for part in self._state()]
        )

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        self._admit()
        sizes = [part.numel() * part.element_size() for part in self._state()]
        if not fits(state, sum(sizes), torch.uint8):
            return
        parts = [part.clone() for part in state.cpu().split_with_sizes(sizes)]
        self.generator.set_state(parts[0])
        numbers = self.tree.numbers.clone()
        numbers[: self.n_usable] = parts[1].view(torch.float64).to(numbers.device)
        self.tree.replace(numbers)
        for own, part in zip(self._learned(), parts[2:], strict=True):
            own.detach().copy_(part.view(own.dtype).view(own.shape))

    def _admit(self) -> None:
        """Gives rows that came since the last time their first number."""
        places = self.memory.places_since(self.n_admitted)
        if len(places):
            self.tree.write(places, self.first.expand(places.shape))
        self.n_admitted = self.memory.n_added

    def _state(self) -> list[Tensor]:
        return [self.generator.get_state(), self.tree.numbers[: self.n_usable], *self._learned()]

    def _learned(self) -> list[Tensor]:
        """Returns what the draws follow from beside the generator and the numbers."""
        return [self.first]


class PrioritizedReplay(TreeReplay):
    """Draws rows by the losses that they had when they were last drawn, new ones as the largest so far.

    Source: Schaul et al. 2016, arXiv:1511.05952, algorithm 1; the rules of `Priorities`.

    Args:
        memory: Holds the rows.
        priorities: How they are drawn.
        seed: Of the draws.
        device: Where the rows lie.

    Attributes:
        drawn: int64 [B], places of the rows of the last minibatch.
    """

    drawn: Tensor

    def __init__(self, memory: ReplayMemory, priorities: Priorities, seed: int, device: torch.device) -> None:
        super().__init__(memory, 1.0, torch.Generator(device=device).manual_seed(seed))
        self.priorities = priorities

    def sample(self) -> Batch:
        """Draws the next minibatch, with the weights that correct the draw."""
        self.drawn = self.draw()
        chosen = self.tree.numbers.index_select(0, self.drawn)
        weights = self.priorities.corrections(chosen, self.tree.total, self.n_usable)
        batch = self.memory.gather(self.drawn)
        given = batch.weights if "weights" in batch._fields else None
        return batch.with_columns(weights=weights if given is None else weights * given)

    def update(self, losses: Tensor) -> None:
        """Updates priorities by the losses [B] of the rows of the last minibatch."""
        numbers = self.priorities.of(losses)
        self.tree.write(self.drawn, numbers)
        self.first.copy_(torch.maximum(self.first, numbers.max()))
