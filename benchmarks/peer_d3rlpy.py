"""d3rlpy 2.8.1 as a process of `updates.py`; it runs in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import d3rlpy
import torch
from d3rlpy.algos import (
    AWACConfig,
    BCConfig,
    CQLConfig,
    DiscreteCQLConfig,
    DoubleDQNConfig,
    IQLConfig,
    SACConfig,
    TD3PlusBCConfig,
)
from worker import DISCRETE, random_data, serve

DEVICE = dict(pair.split("=") for pair in sys.argv[1:]).get("device", "cpu:0")
CONFIGS: dict[str, Callable[[], Any]] = {
    "bc": lambda: BCConfig(batch_size=256),
    "td3_plus_bc": TD3PlusBCConfig,
    "iql": IQLConfig,
    "awac": lambda: AWACConfig(batch_size=256),
    "cql": lambda: CQLConfig(alpha_learning_rate=0.0),
    "sac": lambda: SACConfig(n_critics=10),
    "double_dqn": lambda: DoubleDQNConfig(batch_size=256),
    "discrete_cql": lambda: DiscreteCQLConfig(batch_size=256),
}


def make(name: str, n: int = 1) -> Iterator[int]:
    """Samples a batch and takes one update again and again, without d3rlpy's logging; yields each n."""
    discrete = name in DISCRETE
    dataset = d3rlpy.dataset.MDPDataset(
        **random_data(name),
        action_space=d3rlpy.ActionSpace.DISCRETE if discrete else d3rlpy.ActionSpace.CONTINUOUS,
        action_size=2 if discrete else 3,
    )
    algo = CONFIGS[name]().create(device=DEVICE)
    algo.build_with_dataset(dataset)
    while True:
        for _ in range(n):
            algo.update(dataset.sample_transition_batch(algo.config.batch_size))
        yield n


if __name__ == "__main__":
    serve(make, torch.set_num_threads)
