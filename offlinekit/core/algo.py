"""Algo, the front of every algorithm: fit, predict, save, load, and the catalogue."""

from __future__ import annotations

import dataclasses
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, overload

from torch import Tensor
from typing_extensions import Unpack

from offlinekit.configured import Configured, default_of, fields_of
from offlinekit.core.agent import Agent
from offlinekit.core.catalogue import CatalogueEntry
from offlinekit.core.compatibility import check_dataset, check_same_range
from offlinekit.core.copying import Copied
from offlinekit.core.devices import find_device
from offlinekit.core.hyperparameters import (
    ActionScaler,
    Count,
    Device,
    EncoderLike,
    FramePad,
    NonNegative,
    ObservationScaler,
    OptimizerName,
    Positive,
    Probability,
    RewardScaler,
    Schedule,
    Steps,
)
from offlinekit.core.impl import Impl, check_impl_class
from offlinekit.core.persistence import PolicyFiles, as_plain, plain_config
from offlinekit.core.renames import migrated, renamed, renames_of, values_before
from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import stacked_space
from offlinekit.fields import Check
from offlinekit.interfaces import Sampler
from offlinekit.nn.isolation import trainable
from offlinekit.nn.random import derive
from offlinekit.sampling.blocks import sampler_for
from offlinekit.sampling.loss_weights import learned_rows
from offlinekit.sampling.scalers import Scaling
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.online.online_start import start_online
from offlinekit.training.run import Run
from offlinekit.training.setup.keywords import takes, takes_settings
from offlinekit.training.setup.settings import N_STEPS, RunSettings
from offlinekit.training.setup.start import start_run
from offlinekit.types import Array

if TYPE_CHECKING:
    from gymnasium import spaces

    from offlinekit.core.populations import Population
    from offlinekit.interfaces import EnvLike
    from offlinekit.sampling.batch import Minibatch

A = TypeVar("A", bound="Algo")
SCALERS = ("observation_scaler", "action_scaler", "reward_scaler")
NETWORKS = ("seed", "device", "impl_class", "frame_stack", *SCALERS)
"""Hyperparameters that decide on networks and their inputs outside of `Impl.build`."""
BATCHES = ("batch_size", "gamma", "n_step", "frame_pad")
"""Hyperparameters that samplers read when a run starts."""


class Algo(Configured, CatalogueEntry, Agent, PolicyFiles, Copied):
    """Base of all algorithms; a subclass adds its hyperparameters and names its `impl_class`.

    Raises:
        TypeError: For an unknown hyperparameter or one of another type.
        ValueError: For one out of its range.
    """

    batch_size: Annotated[Count, "Transitions in a minibatch."] = 256
    gamma: Annotated[Probability, "Discount factor of one step."] = 0.99
    n_step: Annotated[Count, "Steps joined into one transition before bootstrapping."] = 1
    frame_stack: Annotated[Count, "Images that make one observation, stacked along the channels."] = 1
    frame_pad: Annotated[FramePad, "What precedes an episode's first image: zeros, or it again."] = "zero"
    encoder: Annotated[EncoderLike, "'auto', 'mlp', 'cnn', an encoder or a module factory."] = "auto"
    observation_scaler: Annotated[ObservationScaler, "'standard', 'minmax' or a Scaler."] = None
    action_scaler: Annotated[ActionScaler, "To [-1, 1], by the bounds of space or data."] = "minmax"
    reward_scaler: Annotated[RewardScaler, "'standard', 'return', 'shift', 'clip'... or a Scaler."] = None
    optimizer: Annotated[OptimizerName, "Optimizer of every loss."] = "adam"
    weight_decay: Annotated[NonNegative, "Of the optimizer; decoupled with adamw."] = 0.0
    clip_grad_norm: Annotated[Positive | None, "Largest norm of a loss's gradient; None for no limit."] = None
    lr_schedule: Annotated[Schedule, "Of the learning rates over the run; cosine ends at 0."] = "constant"
    seed: Annotated[Steps | None, "Of networks, batches and noise; None draws one and records it."] = None
    device: Annotated[Device, "'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1'."] = "auto"
    impl_class: Annotated[
        Any, Check(check_impl_class, "subclass of Impl"), "The implementation; None for the algorithm's own."
    ] = None

    field_word: ClassVar[str] = "hyperparameter"
    known: ClassVar[dict[str, type[Algo]]] = {}
    not_in_files: ClassVar[tuple[str, ...]] = ()  # Hyperparameters that are no data: `load` takes them again.
    sampler_options: ClassVar[tuple[str, ...]] = ()  # Hyperparameters that a `make_sampler` of its own reads.
    run_class: ClassVar[type[Run]] = Run  # Of its training by `fit`.

    def __init_subclass__(cls, overwrite: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.family:
            cls.enter(Algo.known, overwrite)

    def __post_init__(self) -> None:
        self.seed_was_drawn = self.seed is None
        if self.seed is None:
            self.seed = secrets.randbelow(2**31)
        if self.impl_class is None:
            self.impl_class = type(self).impl_class
        self.history: list[dict[str, Any]] = []
        self.run_dir: Path | None = None
        self.experience: MDPDataset | None = None  # Of its last online run.
        self.dataset_name = "custom"
        self.scaling = Scaling()
        self.in_run = ""
        self._impl: Impl | None = None
        self.sampler: Sampler | None = None
        self.sampler_state: Tensor | None = None

    @classmethod
    def current_names(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns hyperparameters by their names of today, and warns of those of before."""
        current = renamed(cls, given)
        for old in given.keys() - current.keys():
            new = renames_of(cls)[old].new
            warnings.warn(
                f"{old!r} of {cls.__name__} is now {new!r}: give {new}={current[new]!r} for {old}={given[old]!r}",
                DeprecationWarning,
                stacklevel=3,
            )
        return current

    def migrated(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the hyperparameters of a run by the names of today, to compare with the algorithm's own.

        Those younger than the run have their defaults.
        """
        defaults = as_plain({one.name: default_of(one) for one in dataclasses.fields(self)})
        younger = {name: defaults[name] for name in self.config.keys() - config.keys()}
        adopted = {name: defaults[name] for name in self._adopted(config)}
        return {**younger, **migrated(type(self), config), **adopted}

    def begin_anew(self, config: Mapping[str, Any]) -> None:
        """Discards the networks, to make others with the seed of a run that has this config."""
        self._impl = None
        for name, value in {**self._adopted(config), "seed": config["seed"]}.items():
            setattr(self, name, value)

    def _adopted(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a run does as it was done before a new default, if the algorithm's own is that default."""
        begun, fields = migrated(type(self), config), fields_of(type(self))
        return {
            name: before
            for name, before in values_before(type(self)).items()
            if begun[name] == before and getattr(self, name) == default_of(fields[name])
        }

    def take_up(self, name: str, before: object) -> None:
        """Applies a hyperparameter that was set later to networks and optimizers.

        Raises:
            ValueError: For one that networks or batches were made with.
        """
        if self._impl is None or getattr(self, name) == before:
            return
        if self.in_run == "population" or (self.in_run and name in (*BATCHES, *self.sampler_options)):
            raise ValueError(f"{name} stays as it is while a {self.in_run} trains; set it between two fits")
        try:
            if name in NETWORKS or name in self._impl.built_from:
                raise ValueError(f"its networks were made with {name}={before!r}")
            self._impl.take_up(name)
        except ValueError as error:
            cls = type(self).__name__
            raise ValueError(
                f"{name} of a {cls} with networks stays as it is, since {error}; set it before fit, or make a new "
                f"{cls}({name}={getattr(self, name)!r})"
            ) from error

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters as plain data; what a policy file and a run folder hold."""
        return plain_config(self)

    def __repr__(self) -> str:
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "impl_class" and getattr(self, field.name) != default_of(field)
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"

    # Networks.

    @property
    def grad_step(self) -> int:
        """Updates taken so far."""
        return 0 if self._impl is None else self._impl.grad_step

    @property
    def has_value(self) -> bool:
        """Whether there is a `predict_value`."""
        return bool(self.impl_class.has_value)

    @property
    def is_stateful(self) -> bool:
        """Whether actions depend on earlier steps of the episode, so that `as_stateful` is the way to act."""
        return bool(self.impl_class.is_stateful)

    def build(self: A, dataset: MDPDataset) -> A:
        """Fits the scalers and makes the networks for a dataset, without training; `fit` does it as well.

        Raises:
            UnsupportedError: For a dataset of the other kind of actions, or actions that its networks cannot take.
        """
        self.check(dataset)
        if self._impl is None:
            action_scaler = self.action_scaler if self.action_kind == "continuous" else None
            scalers = (self.observation_scaler, action_scaler, self.reward_scaler)
            self.scaling = Scaling.fit(learned_rows(dataset), *scalers)
            self.make_impl(stacked_space(dataset.observation_space, self.frame_stack), dataset.action_space)
        else:
            check_same_range(type(self).__name__, self._impl.action_space, self.scaling.action, dataset)
        return self

    def check(self, dataset: MDPDataset) -> None:
        """Checks that the algorithm can learn from a dataset.

        Raises:
            TypeError: For something that is no dataset.
            UnsupportedError: For the other kind of actions, or shapes that its networks were not built for.
        """
        check_dataset(self, self._impl, dataset, Algo.known.values())

    @trainable()
    def make_impl(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Makes the networks for the given spaces, anew."""
        self._impl = self.impl_class(self, observation_space, action_space, find_device(self.device))

    # Training.

    @overload
    def fit(
        self, dataset: MDPDataset, n_steps: int = ..., *, seeds: int, **settings: Unpack[RunSettings]
    ) -> Population: ...

    @overload
    def fit(
        self: A,
        dataset: MDPDataset,
        n_steps: int = ...,
        *,
        seeds: None = ...,
        **settings: Unpack[RunSettings],
    ) -> A: ...

    @takes_settings
    def fit(
        self: A,
        dataset: MDPDataset,
        n_steps: int = N_STEPS,
        *,
        seeds: int | None = None,
        **settings: Unpack[RunSettings],
    ) -> A | Population:
        """Learns from a dataset; a second call goes on from where the first ended.

        Args:
            dataset: What to learn from.
            n_steps: Number of updates, exactly; with `resume`, of the whole run.
            seeds: How many members to train side by side, with this seed and those that follow it.
            settings: Further keywords, those of `RunSettings`.

        Returns:
            The algorithm itself; `history` has the rows, `run_dir` the folder. With `seeds`, the Population.

        Raises:
            UnsupportedError: For a dataset of the other kind of actions.
            TrainingError: If a loss is no longer finite.
            WriteError: If the run folder cannot be written; the checkpoints before stay.
            KeyboardInterrupt: At Ctrl-C, after a checkpoint was saved; Preempted, a kind of it, at other signals.
        """
        if seeds is not None:
            from offlinekit.core.populations import Population  # Here: it imports this module.

            return Population.of_seeds(self, seeds).fit(dataset, n_steps, **settings)
        with whole_runs():
            for _ in self.fitter(dataset, n_steps, **settings):
                pass
        return self

    @takes_settings
    def fitter(
        self, dataset: MDPDataset, n_steps: int = N_STEPS, **settings: Unpack[RunSettings]
    ) -> Iterator[tuple[int, dict[str, float]]]:
        """The run of `fit` as a generator, with the same keywords but `seeds`.

        Yields:
            (update, metrics) at each log and evaluation interval and after the last update. Between two of them
            Ctrl-C is the caller's.
        """
        yield from start_run(self, dataset, n_steps, **settings).steps()

    def sampling_weights_for(self, dataset: MDPDataset) -> Array | None:
        """Returns how likely the algorithm itself draws each row, [N]; None for equally."""
        return None

    @takes(OnlineSettings)
    def fit_online(
        self: A,
        env: EnvLike | Callable[[], EnvLike],
        n_steps: int,
        *,
        dataset: MDPDataset | None = None,
        **settings: Unpack[OnlineSettings],
    ) -> A:
        """Acts in an environment and learns from what it sees, from nothing or from where `fit` ended.

        Args:
            env: Where it acts, or a function that makes such an environment. Episode i starts from seed + i.
            n_steps: Environment steps, exactly; with `resume`, of the whole run.
            dataset: Recorded rows to learn from beside new ones, or None.
            settings: Further keywords, those of `OnlineSettings`.

        Returns:
            The algorithm itself; `history` has the rows, `run_dir` the folder with checkpoints and experience.

        Raises:
            UnsupportedError: For an algorithm that cannot act and learn from transitions.
            DatasetError: If environment and dataset do not fit.
            TrainingError: If a loss is no longer finite, or the environment fails; what was played is saved.
            KeyboardInterrupt: At Ctrl-C, at the end of the episode; Preempted, a kind of it, at other signals.
        """
        with whole_runs():
            for _ in self.fitter_online(env, n_steps, dataset=dataset, **settings):
                pass
        return self

    @takes(OnlineSettings)
    def fitter_online(
        self,
        env: EnvLike | Callable[[], EnvLike],
        n_steps: int,
        *,
        dataset: MDPDataset | None = None,
        **settings: Unpack[OnlineSettings],
    ) -> Iterator[tuple[int, dict[str, float]]]:
        """The run of `fit_online` as a generator, with the same keywords.

        Yields:
            (environment step, metrics) before the first step, at log and evaluation intervals and after the last.
        """
        yield from start_online(self, env, n_steps, dataset=dataset, **settings).steps()

    def make_sampler(self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any) -> Sampler:
        """Makes what draws the batches of a run; one that learns from windows of steps makes another sampler.

        Args:
            dataset: What to learn from.
            needs: Names of columns that batches have beside those of the impl's `needs`.
            settings: Further ones of `TransitionSampler`, such as `columns` and `sampling_weights`.
        """
        own: dict[str, Any] = {
            "batch_size": self.batch_size,
            "gamma": self.gamma,
            "n_step": self.n_step,
            "device": self.impl.device,
            "seed": derive(self.seed or 0, "batches"),
            "scaling": self.scaling,
            "needs": (*self.impl.needs, *needs),
            "owner": type(self.impl).__name__,
            "frame_stack": self.frame_stack,
            "frame_pad": self.frame_pad,
        }
        return sampler_for(dataset, **{**own, **settings})

    @property
    def samples_rows(self) -> bool:
        """Whether its batches are rows as they were recorded, so that a replay memory can hold them one by one."""
        return type(self).make_sampler is Algo.make_sampler

    def sample_batch(self, dataset: MDPDataset) -> Minibatch:
        """Draws one scaled minibatch of a dataset on the training device, for trying out losses."""
        self.build(dataset)
        sampler = self.make_sampler(dataset)
        if self.sampler is None:  # A run has learned its data already.
            self.impl.learn_data(dataset, sampler)
        return sampler.sample()
