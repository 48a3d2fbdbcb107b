"""PRDC, with the search of both over the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Compared, Pair
from d3rlpy.algos import PRDCConfig
from sklearn.neighbors import NearestNeighbors

from offlinekit.algos import PRDC
from offlinekit.nn.neighbours import Neighbours


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients; 500 random rows stand for the dataset."""
    pair = Pair(PRDC, PRDCConfig)
    pair.copy_policies()
    generator = torch.Generator().manual_seed(2)
    observations = torch.randn(500, pair.batch.observations.shape[1], generator=generator)
    actions = torch.tanh(torch.randn(500, pair.batch.actions.shape[1], generator=generator))
    pair.ours.neighbours = Neighbours(observations, actions, pair.ours.config.state_weight)
    keys = torch.cat([pair.ours.config.state_weight * observations, actions], 1).numpy()
    pair.peers._nbsr = NearestNeighbors(n_neighbors=1).fit(keys)
    yield from pair.critics()
    yield from pair.actor()
