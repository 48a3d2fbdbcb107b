"""Protocols between rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import gymnasium
    from numpy.typing import ArrayLike
    from torch import Tensor

    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl
    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.batch import Minibatch
    from offlinekit.sampling.scalers import Scaling
    from offlinekit.training.loggers import History
    from offlinekit.training.run import Run
    from offlinekit.types import Array


class Policy(Protocol):
    """An object that acts, such as an algorithm."""

    def predict(self, observations: Any, /) -> ArrayLike:
        """Returns the actions [B] or [B, A] on observations [B, ...]."""


PolicyLike: TypeAlias = "Policy | Callable[[Any], ArrayLike]"
"""A policy, or a function of observations [B, ...] that returns actions [B] or [B, A]."""


class ValueModel(Protocol):
    """A model that estimates the values of actions."""

    def predict_value(self, observations: Any, actions: Array | None = None, /) -> Array:
        """Returns the values [B] of actions; None stands for the greedy ones."""


class LegacyEnv(Protocol):
    """An environment of the legacy gym API."""

    reset: Callable[..., Any]
    step: Callable[..., Any]

    @property
    def observation_space(self) -> object:
        """Space of observations, of gymnasium or gym."""

    @property
    def action_space(self) -> object:
        """Space of actions, of gymnasium or gym."""


EnvLike: TypeAlias = "gymnasium.Env[Any, Any] | LegacyEnv"
"""An environment that is given: one of gymnasium's API, or of legacy gym's."""

EnvSource: TypeAlias = "EnvLike | Callable[[], EnvLike | None] | str"
"""An environment, a function that makes one, or its name."""

Evaluator: TypeAlias = "Callable[[Algo, MDPDataset], float | Mapping[str, float]]"
"""Measures an algorithm on a dataset: one number, or several by name."""


class BatchSource(Protocol):
    """Minibatches, one after another.

    All have the same fields, and these the same dtypes and shapes. A source may offer more, which engines look for:

    - `generator`, a torch.Generator: `sample` can then be a part of a CUDA graph. What its draws depend on, such as
      how many rows there are, then has to lie in tensors on the device, since a replay runs no Python.
    - `refill(batch) -> bool` draws the next minibatch into the memory of an earlier one, or returns False.

    A source whose rows come and go, or are drawn by numbers that change, draws no further ahead than their last
    change.
    """

    def sample(self) -> Minibatch:
        """Draws the next minibatch."""


class Sampler(BatchSource, Protocol):
    """The batches of a run, which goes on from where it stood."""

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from."""

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""


class Trainable(Protocol):
    """An algorithm, as a run trains it.

    Attributes:
        impl: Its networks, with objectives and updates.
        impl_class: Their class.
        sampler: What draws its batches, once a run has made one.
        sampler_state: Where a sampler yet to be made is to go on.
        seed: Of networks, batches and noise.
        batch_size: Rows in a minibatch.
        scaling: The fitted scalers.
        seed_was_drawn: Whether the seed was drawn, as none was given.
        dataset_name: Of what it learned from last.
        history: The rows of its last run.
        run_dir: The folder of its last run.
        experience: What it has played in its last online run.
        in_run: "run" or "population" while one trains it, else empty.
    """

    impl_class: type[Impl]
    sampler: Sampler | None
    sampler_state: Tensor | None
    seed: int | None
    batch_size: int
    scaling: Scaling
    seed_was_drawn: bool
    dataset_name: str
    history: History
    run_dir: Path | None
    experience: MDPDataset | None
    in_run: str

    @property
    def run_class(self) -> type[Run]:
        """The class of its runs."""

    @property
    def impl(self) -> Impl:
        """The networks."""

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters as plain data."""

    @property
    def grad_step(self) -> int:
        """Updates taken so far."""

    def migrated(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns hyperparameters of an earlier version as this one has them."""

    def begin_anew(self, config: Mapping[str, Any]) -> None:
        """Discards the networks, to make others with the seed of a run that has this config."""

    def check(self, dataset: MDPDataset) -> None:
        """Checks that it can learn from a dataset."""

    def build(self, dataset: MDPDataset) -> Trainable:
        """Makes the networks, if there are none."""

    def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Makes what draws batches of a dataset."""

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns what a run draws from, given a sampler of the dataset."""

    def save(self, path: str | Path, *, run: Mapping[str, Any] | None = None) -> Path:
        """Writes its whole state."""

    def restore(self, path: Path, header: Mapping[str, Any], tensors: dict[str, Any]) -> None:
        """Restores the state of a file."""
