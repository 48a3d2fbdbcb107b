"""Base of fronts that choose several actions at once."""

from __future__ import annotations

from typing import Annotated, Any

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count
from offlinekit.datasets import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.chunks import chunked


class Chunking(Algo):
    """An action is a chunk of those of several steps, played out one after another; it acts by `as_stateful`."""

    n_step: Annotated[Count, "Actions in a chunk, which are also the steps joined before bootstrapping."] = 5

    def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Makes what draws transitions of chunks."""
        return super().make_sampler(chunked(dataset, self.n_step), **settings)
