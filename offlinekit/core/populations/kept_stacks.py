"""Stacks that outlive a fit: the same members take their program up again, with the state they have by then."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from offlinekit.core.impl import Impl
from offlinekit.core.populations.grouping import differing_numbers
from offlinekit.core.populations.held import held
from offlinekit.core.populations.stack import refresh, stack
from offlinekit.core.populations.stacked_sampling import StackedSource
from offlinekit.training.engines.updates import tensors_of

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import Trainable


@dataclass
class _Kept:
    """A stack, and all that its program was recorded with."""

    impls: list[Impl]
    constants: Mapping[str, Any]
    whole: Impl


class KeptStacks:
    """Makes stacks of members, and gives those of an earlier fit back to the same members.

    A program holds as constants what its members agreed in, so it serves again only while they do; recording one
    takes as long as hundreds of updates.

    Args:
        varying: Hyperparameters that are inputs of programs even while members agree in them.
    """

    def __init__(self, varying: Collection[str] = ()) -> None:
        self.varying = frozenset(varying)
        self.dataset: MDPDataset | None = None
        self._kept: list[_Kept] = []

    def begin(self, dataset: MDPDataset) -> None:
        """Forgets the stacks if the next fit learns from other data."""
        if dataset is not self.dataset:
            self.dataset, self._kept = dataset, []

    def stack(self, algos: Sequence[Trainable], sampler: StackedSource) -> Impl:
        """Returns the impl that updates all members at once, from their state.

        Raises:
            NotStackable: If the losses cannot be one program.
        """
        impls, numbers = [algo.impl for algo in algos], differing_numbers(algos, self.varying)
        constants = _constants(algos[0], numbers, sampler)
        for kept in self._kept:
            if _same(kept.impls, impls) and kept.constants == constants:
                refresh(kept.whole, impls, numbers)
                return kept.whole
        whole = stack(impls, numbers, sampler)
        ours = {id(impl) for impl in impls}
        self._kept = [kept for kept in self._kept if not ours & {id(impl) for impl in kept.impls}]
        if not any(impl.learns_whole_dataset for impl in impls):
            self._kept.append(_Kept(impls, constants, whole))
        return whole


def _constants(algo: Trainable, numbers: Mapping[str, Any], sampler: StackedSource) -> dict[str, Any]:
    """Returns what a program holds as constants: hyperparameters, shapes of batches, the phase of the run."""
    constants = {name: value for name, value in algo.config.items() if name not in (*numbers, "seed")}
    batch = [(leaf.shape, leaf.dtype) for leaf in tensors_of(sampler.example())]
    threads = torch.get_num_threads()
    return {
        **constants,
        "held": held(algo),
        "batch": batch,
        "inputs": tuple(numbers),
        "is_online": algo.impl.is_online,
        "threads": threads,
        "precision": torch.get_float32_matmul_precision(),
    }


def _same(one: Sequence[Impl], other: Sequence[Impl]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
