"""Data-parallel runs: the share of each batch that one process draws, from streams of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn.random import derive
from offlinekit.training.process_group import ProcessGroup

if TYPE_CHECKING:
    from offlinekit.interfaces import Trainable

RANK_0_ALONE = {
    "eval_env": None,
    "out": None,
    "resume": None,
    "progress": False,
    "tensorboard": False,
    "loggers": (),
    "callbacks": (),
}
"""Settings as they are in all processes but that of rank 0, which evaluates and writes."""

REMEDY = (
    "give them one seed=, and call algo.build(dataset) with the whole dataset before team.shard(dataset), so that "
    "scalers are fitted on all of it"
)


def share(algo: Trainable, team: ProcessGroup, common: Mapping[str, Any]) -> Callable[..., Sampler]:
    """Makes an algorithm ready for a run of several processes.

    Ranks from 1 on draw noise and batches from streams that follow from the seed, the rank and the updates taken.

    Args:
        algo: With networks, the same in all processes.
        team: The processes.
        common: Settings of the run as plain data, the same in all processes.

    Returns:
        What makes the sampler of this process, of `batch_size / team.size` rows.

    Raises:
        UnsupportedError: For an algorithm that learns from its whole dataset at once.
        ValueError: For a batch size that cannot be divided, or algorithms or settings that differ.
    """
    name = type(algo).__name__
    if algo.impl.learns_whole_dataset:
        raise UnsupportedError(
            f"{name} learns from its whole dataset at once, of which {team.size} processes have a part each; "
            "train it in one process"
        )
    if algo.batch_size % team.size:
        raise ValueError(
            f"batch_size={algo.batch_size} must be divisible by the {team.size} processes of the run"
        )
    described = [name, algo.config, algo.scaling.to_json(), algo.grad_step, common]
    team.check_same("algorithm, scalers and settings", described, REMEDY)
    tensors = {k: v for k, v in algo.impl.state_tensors().items() if not k.startswith("random.")}
    team.check_same("networks and optimizers", tensors, REMEDY)
    if not team.is_rank_zero:
        algo.impl.random.generator.manual_seed(derive(_seed(algo, team), "noise"))
        algo.sampler = algo.sampler_state = None
    return lambda algo, dataset, **settings: _make_sampler(algo, team, dataset, settings)


def _seed(algo: Trainable, team: ProcessGroup) -> int:
    """Returns what the streams of a process follow from; that of rank 0 is the algorithm's own."""
    own: int = algo.seed or 0
    return own if team.is_rank_zero else derive(own, f"rank {team.rank} from update {algo.grad_step}")


def _make_sampler(
    algo: Trainable, team: ProcessGroup, dataset: MDPDataset, settings: dict[str, Any]
) -> Sampler:
    """Returns the algorithm's sampler with this process's share of rows and its seed."""
    part = copy.copy(algo)
    vars(part).update(
        batch_size=algo.batch_size // team.size, seed=_seed(algo, team)
    )  # The networks are made.
    sampler: Sampler = part.make_sampler(dataset, **settings)
    return sampler
