"""The protocols by which rooms know one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

Evaluator: TypeAlias = "Callable[[Algo, MDPDataset], float | Mapping[str, float]]"
"""Measures an algorithm on a dataset: one number, or several by name."""


class Trainable(Protocol):
    """What a run trains: an algorithm, as far as a run knows it.

    Attributes:
        impl: Its networks, with objectives and updates.
        impl_class: The class of these.
        sampler: What draws its batches, once a run has made one.
        sampler_state: Where a sampler yet to be made is to go on.
        seed: Of networks, batches and noise.
        seed_was_drawn: Whether nobody chose the seed.
        dataset_name: Of what it learned from last.
        history: The rows of its last run.
        run_dir: The folder of its last run.
    """

    impl_class: Any
    sampler: Any
    sampler_state: Any
    seed: int | None
    seed_was_drawn: bool
    dataset_name: str
    history: list[dict[str, Any]]
    run_dir: Path | None

    @property
    def impl(self) -> Any:
        """The networks."""

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters as plain data."""

    @property
    def grad_step(self) -> int:
        """Updates taken so far."""

    def check(self, dataset: MDPDataset) -> None:
        """Checks that it can learn from a dataset."""

    def build(self, dataset: MDPDataset) -> Trainable:
        """Makes the networks, if there are none."""

    def make_sampler(self, dataset: MDPDataset) -> Any:
        """Makes what draws batches of a dataset."""

    def save(self, path: str | Path, *, run: Mapping[str, Any] | None = None) -> Path:
        """Writes its whole state."""

    def restore(self, path: Path, header: Mapping[str, Any], tensors: dict[str, Any]) -> None:
        """Takes up the state that a file holds."""
