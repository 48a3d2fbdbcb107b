"""Minibatches of episodes that are played one after another, whose sampler is made anew at the end of each."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from offlinekit.datasets.editing.concatenation import concatenate
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.batch import Minibatch


class GrowingSampler:
    """Draws from whole episodes, for what a replay memory cannot hold: images, chunks, windows.

    Args:
        make_sampler: Of a dataset.
        dataset: What is drawn too, or None.
        capacity: The most new rows, but for the rest of an episode; the oldest episodes go.

    Attributes:
        n_usable: How many rows it draws from.
    """

    def __init__(
        self, make_sampler: Callable[[MDPDataset], Sampler], dataset: MDPDataset | None, capacity: int
    ) -> None:
        self.make_sampler, self.dataset, self.capacity = make_sampler, dataset, capacity
        self.played: MDPDataset | None = None
        self.sampler: Sampler | None = None
        self.n_usable = 0
        if dataset is not None:
            self._make(dataset)

    def add_episodes(self, episodes: MDPDataset) -> None:
        """Adds whole episodes, in the units of the data."""
        played = episodes if self.played is None else concatenate([self.played, episodes])
        n_old = int((len(played) - played.episode_ends > self.capacity - 1).sum())
        self.played = played[n_old:] if n_old else played
        self._make(self.played if self.dataset is None else concatenate([self.dataset, self.played]))

    def sample(self) -> Minibatch:
        """Draws the next minibatch."""
        assert self.sampler is not None  # For the type checker: there is one once `n_usable` is above 0.
        return self.sampler.sample()

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, beside the rows."""
        return Tensor() if self.sampler is None else self.sampler.state()

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned."""
        if self.sampler is not None and len(state):
            self.sampler.set_state(state)

    def _make(self, dataset: MDPDataset) -> None:
        reached = None if self.sampler is None else self.sampler.state()
        self.sampler, self.n_usable = self.make_sampler(dataset), len(dataset)
        if reached is not None:
            self.sampler.set_state(reached)
