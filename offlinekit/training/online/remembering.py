"""Where an online run keeps its rows, and what draws minibatches of them and of recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.memory import memory_limit
from offlinekit.nn.random import derive
from offlinekit.sampling.block_reader import is_mapped, row_bytes
from offlinekit.sampling.loss_weights import weighted
from offlinekit.sampling.n_step import drawable_rows
from offlinekit.sampling.priorities import Priorities
from offlinekit.sampling.replay.growing import GrowingSampler
from offlinekit.sampling.replay.mixture import MixedSampler
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.replay.tree_replay import PrioritizedReplay
from offlinekit.training.online.balanced_replay import BalancedReplay

if TYPE_CHECKING:
    from gymnasium import spaces

    from offlinekit.core.algo import Algo
    from offlinekit.training.setup.start import MakeSampler
    from offlinekit.types import Array

MEMORY_SHARE = 0.5
"""Of the memory at hand that recorded rows may take."""


def make_memory(
    algo: Algo,
    dataset: MDPDataset | None,
    example: MDPDataset,
    share: tuple[float, float] | None,
    capacity: int,
    done: Callable[[], float],
    first_share: float | None = None,
    priorities: Priorities | None = None,
    weights: Array | None = None,
    make_sampler: MakeSampler | None = None,
) -> tuple[Sampler, ReplayMemory | GrowingSampler]:
    """Returns what minibatches are drawn from, and what new rows go to.

    Args:
        algo: What learns.
        dataset: Recorded rows, or None.
        example: One row, as new ones are.
        share: Of recorded rows in minibatches, at the start and the end; None to draw them and new ones alike.
        capacity: The most new rows.
        done: Returns the share of the run that is done.
        first_share: With balanced replay, that of the first new rows in minibatches.
        priorities: By what rows are drawn, or None for all alike.
        weights: Loss weights [N] of recorded rows, beside which each new row has weight 1; or None.
        make_sampler: What draws recorded rows apart from new ones; None for a sampler of the algorithm's own.

    Raises:
        ValueError: For balanced replay without a dataset, and for priorities beside another rule of drawing.
        UnsupportedError: For balanced replay or priorities of rows that a replay memory cannot hold, and for recorded
            rows beside new ones that lie in a file and are more than memory may hold.
    """
    if priorities is not None and (first_share is not None or share not in (None, (0.0, 0.0))):
        raise ValueError(
            "priorities say how often each row is drawn, and mixing says it of recorded ones; give mixing='append' or "
            "mixing='none' with them"
        )
    kept = dataset if share is None else None
    if kept is not None:
        _check_size(kept)
    own = weights if weights is None or kept is not None else weights[:0]
    memory = _new_rows(algo, kept, example, capacity, own)
    if first_share is not None:
        return _balanced(algo, memory, first_share), memory
    if priorities is not None:
        rows = _single_rows(algo, memory, "priorities draw", "leave priorities out")
        seed = derive(algo.seed or 0, "prioritised replay")
        return PrioritizedReplay(rows, priorities, seed, algo.impl.device), memory
    recorded = None
    if dataset is not None and share not in (None, (0.0, 0.0)):
        learned = weighed(dataset, weights)
        recorded = (make_sampler or type(algo).make_sampler)(algo, learned)
        algo.impl.learn_data(learned, recorded)
    if recorded is None or share is None:
        return memory, memory
    start, end = share
    return MixedSampler(recorded, memory, algo.batch_size, lambda: start + (end - start) * done()), memory


def weighed(dataset: MDPDataset, weights: Array | None) -> MDPDataset:
    """Returns what draws its first rows with loss weights, and rows after them with 1; without weights the dataset."""
    if weights is None:
        return dataset
    return weighted(dataset, np.concatenate([weights, np.ones(len(dataset) - len(weights))]))


def _check_size(dataset: MDPDataset) -> None:
    """Refuses to hold all rows of a dataset in a file if memory would not."""
    n_bytes = len(dataset) * row_bytes(dataset)
    if is_mapped(dataset) and n_bytes > MEMORY_SHARE * memory_limit():
        raise UnsupportedError(
            f"recorded rows among new ones are held in memory, but those of {dataset.name!r} take {n_bytes:,} bytes; "
            "give mixing='symmetric', which draws them from their file, or a part of them, dataset[:1000]"
        )


def _balanced(algo: Algo, memory: ReplayMemory | GrowingSampler, first_share: float) -> BalancedReplay:
    """Returns what draws recorded rows that look like new ones more often."""
    rows = _single_rows(algo, memory, "mixing='balanced' compares", "take mixing='symmetric'")
    if not rows.n_kept:
        raise ValueError(
            "mixing='balanced' weighs recorded rows by how they look like new ones; give dataset="
        )
    impl = algo.impl
    action_space = cast("spaces.Box | spaces.Discrete", impl.action_space)  # Of all that impls are made for.
    return BalancedReplay(
        rows, impl.observation_space, action_space, first_share, algo.seed or 0, impl.device
    )


def _single_rows(algo: Algo, memory: ReplayMemory | GrowingSampler, what: str, remedy: str) -> ReplayMemory:
    """Returns a memory of single rows.

    Raises:
        UnsupportedError: For another; says what does something with rows, and the remedy.
    """
    if isinstance(memory, ReplayMemory):
        return memory
    raise UnsupportedError(
        f"{what} rows one by one, which a replay memory holds, but {type(algo).__name__} learns from images, chunks or "
        f"the whole dataset here; {remedy}"
    )


def _new_rows(
    algo: Algo, kept: MDPDataset | None, example: MDPDataset, capacity: int, weights: Array | None
) -> ReplayMemory | GrowingSampler:
    """Returns a replay memory, or what grows by episodes for batches that are no single rows of numbers.

    Args:
        algo: What learns.
        kept: Recorded rows that are drawn like new ones, or None.
        example: One row.
        capacity: The most new rows.
        weights: Loss weights of the kept rows, or None.
    """

    def learned(data: MDPDataset) -> Sampler:
        data = weighed(data, weights)
        sampler = algo.make_sampler(data)
        algo.impl.learn_data(data, sampler)
        return sampler

    if algo.samples_rows and not algo.impl.learns_whole_dataset:
        seed = derive(algo.seed or 0, "new rows")  # Another than that of recorded rows.
        how: dict[str, Any] = {"capacity": capacity, "keep": kept is not None, "seed": seed}
        try:
            rows = weighed(example if kept is None else kept, weights)
            return cast("ReplayMemory", algo.make_sampler(rows, **how))
        except UnsupportedError:
            pass  # Images, say: then it grows by episodes.
    if kept is not None and weights is not None:
        drawn = (weights > 0) & drawable_rows(kept, algo.n_step, algo.impl.needed)
        weights = weights / weights[drawn].mean()
    return GrowingSampler(learned, kept, capacity)
