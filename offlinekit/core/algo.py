"""Algo, the front of every algorithm: fit, predict, save, load, and the catalogue."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, SupportsIndex, TypeVar, overload

from torch import Tensor
from typing_extensions import Unpack

from offlinekit.configured import Configured, default_of, describe
from offlinekit.core import catalogue, compatibility, copying, persistence, renames
from offlinekit.core import hyperparameters as kinds
from offlinekit.core.devices import find_device
from offlinekit.core.hyperparameters import apply_to_networks, plain_config, refuse_others
from offlinekit.core.impl import Impl, check_impl_class
from offlinekit.core.presets import Preset, find, published
from offlinekit.core.stateful_actor import StatefulActor
from offlinekit.core.units import Converter, prepared_policy
from offlinekit.datasets import MDPDataset
from offlinekit.envs.past.layouts import as_seen
from offlinekit.errors import NotFittedError
from offlinekit.fields import Check, Described
from offlinekit.ground.hints import answers_guesses
from offlinekit.interfaces import Sampler
from offlinekit.load_budget import budgeted
from offlinekit.nn.isolation import trainable
from offlinekit.nn.random import derive
from offlinekit.sampling.blocks import sampler_for
from offlinekit.sampling.loss_weights import learned_rows
from offlinekit.sampling.scalers import Scaling
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.loggers import History
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.online.online_start import start_online
from offlinekit.training.run import Run
from offlinekit.training.setup.keywords import takes, takes_settings
from offlinekit.training.setup.settings import N_STEPS, RunSettings
from offlinekit.training.setup.start import start_run
from offlinekit.types import Array

if TYPE_CHECKING:
    from gymnasium import spaces
    from numpy.typing import ArrayLike

    from offlinekit.core.populations import Population
    from offlinekit.core.sharing.card import CardFacts
    from offlinekit.envs.callable_policies import Act
    from offlinekit.interfaces import EnvSource
    from offlinekit.sampling.batch import Minibatch
    from offlinekit.tables.table_schema import TableSchema
    from offlinekit.training.engines.recorded_policy import Choose
    from offlinekit.types import ArrayTree, RowsLike

A = TypeVar("A", bound="Algo")


class Algo(Configured):
    """Base of all algorithms; a subclass adds its hyperparameters and names its `impl_class`.

    Raises:
        TypeError: For an unknown hyperparameter or one of another type.
        ValueError: For one out of its range.
    """

    batch_size: Annotated[kinds.Count, "Transitions in a minibatch."] = 256
    gamma: Annotated[kinds.Probability, "Discount factor of one step."] = 0.99
    n_step: Annotated[kinds.Count, "Steps joined into one transition before bootstrapping."] = 1
    frame_stack: Annotated[kinds.Count, "Images that make one observation, stacked along the channels."] = 1
    frame_pad: Annotated[kinds.FramePad, "What precedes an episode's first image, or that again."] = "zero"
    history_length: Annotated[kinds.History, "Rows that make one observation, the newest included."] = 1
    encoder: Annotated[kinds.EncoderLike, "'auto', [256, 256], 'cnn', an encoder or a factory."] = "auto"
    observation_scaler: Annotated[kinds.ObservationScaler, "'standard', 'minmax' or a Scaler."] = None
    action_scaler: Annotated[kinds.ActionScaler, "To [-1, 1], by the bounds of space or data."] = "minmax"
    reward_scaler: Annotated[kinds.RewardScaler, "'standard', 'return', 'shift'... or a Scaler."] = None
    optimizer: Annotated[kinds.OptimizerName, "Optimizer of every loss."] = "adam"
    weight_decay: Annotated[kinds.NonNegative, "Of the optimizer; decoupled with adamw."] = 0.0
    clip_grad_norm: Annotated[
        kinds.Positive | None, "Largest norm of a loss's gradient; None for no limit."
    ] = None
    lr_schedule: Annotated[kinds.Schedule, "Of the rates over the run; others end at 0."] = "constant"
    seed: Annotated[kinds.Steps | None, "Of networks, batches and noise; None draws one and records it."] = (
        None
    )
    device: Annotated[kinds.Device, "'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1'."] = "auto"
    impl_class: Annotated[
        Any, Check(check_impl_class, "subclass of Impl"), "The implementation; None for the algorithm's own."
    ] = None

    family: ClassVar[str] = ""
    action_kind: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    short_name: ClassVar[str] = ""
    field_word: ClassVar[str] = "hyperparameter"
    known: ClassVar[dict[str, type[Algo]]] = {}
    not_in_files: ClassVar[tuple[str, ...]] = ()  # Hyperparameters that are no data: `load` takes them again.
    sampler_options: ClassVar[tuple[str, ...]] = ()  # Hyperparameters that a `make_sampler` of its own reads.
    online_settings: ClassVar[Mapping[str, Any]] = {}  # Of `fit_online`, in place of its own defaults.
    run_class: ClassVar[type[Run]] = Run  # Of its training by `fit`.

    def __init_subclass__(cls, overwrite: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.family:
            catalogue.enter(cls, Algo.known, overwrite)

    def __post_init__(self) -> None:
        self.seed_was_drawn = self.seed is None
        if self.seed is None:
            self.seed = secrets.randbelow(2**31)
        if self.impl_class is None:
            self.impl_class = type(self).impl_class
        self.history = History()
        self.run_dir: Path | None = None
        self.experience: MDPDataset | None = None  # Of its last online run.
        self.dataset_name = "custom"
        self.scaling = Scaling()
        self.in_run = ""
        self._impl: Impl | None = None
        self.sampler: Sampler | None = None
        self.sampler_state: Tensor | None = None

    @classmethod
    def catalogue_name(cls) -> str:
        """Returns the name on the command line, such as "td3_plus_bc"; `short_name` if the class has one."""
        return catalogue.name_of(cls)

    @classmethod
    def summary(cls) -> str:
        """Returns one line on the algorithm."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def hyperparameters(cls) -> dict[str, Described]:
        """Returns name, default, range and meaning of each hyperparameter."""
        return describe(cls)

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """Returns the published settings by dataset: what differs from the defaults, updates and source."""
        return published(cls.catalogue_name())

    @classmethod
    def preset(cls: type[A], dataset: str, **hyperparameters: Any) -> A:
        """Makes the algorithm with the settings published for a dataset.

        Args:
            dataset: Name of the dataset, such as "hopper-medium-v2".
            hyperparameters: Those to set otherwise.

        Raises:
            ValueError: If none were published for it; lists those that were.
        """
        settings = find(cls.catalogue_name(), dataset).hyperparameters
        return cls(**{**settings, **cls.current_names(hyperparameters)})

    @classmethod
    def current_names(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns hyperparameters by their names of today, and warns of those of before."""
        return renames.current_names(cls, given)

    def migrated(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the hyperparameters of a run by the names of today, to compare with the algorithm's own."""
        return renames.migrated_run(self, config)

    def begin_anew(self, config: Mapping[str, Any]) -> None:
        """Discards the networks, to make others with the seed of a run that has this config."""
        self._impl = None
        for name, value in {**renames.adopted(self, config), "seed": config["seed"]}.items():
            setattr(self, name, value)

    def take_up(self, name: str, before: object) -> None:
        """Applies a hyperparameter that was set later to networks and optimizers.

        Raises:
            ValueError: For one that networks or batches were made with.
        """
        if self._impl is not None and getattr(self, name) != before:
            apply_to_networks(self, self._impl, name, before)

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

    @property
    def impl(self) -> Impl:
        """The implementation with its networks.

        Raises:
            NotFittedError: Before `fit`, `build` or `load`.
        """
        if self._impl is None:
            name = type(self).__name__
            raise NotFittedError(f"this {name} has no networks yet; call fit(dataset), or {name}.load(path)")
        return self._impl

    @property
    def grad_step(self) -> int:
        """Updates taken so far."""
        return 0 if self._impl is None else self._impl.grad_step

    @property
    def has_value(self) -> bool:
        """Whether there is a `predict_value`."""
        return bool(self.impl_class.has_value)

    @property
    def schema(self) -> TableSchema | None:
        """What the columns mean of the table that it has learned from, or None; `predict` takes rows by it."""
        return self.scaling.schema

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
            action = self.action_scaler if self.action_kind == "continuous" else None
            scalers = self.observation_scaler, action, self.reward_scaler
            self.scaling = Scaling.fit(learned_rows(dataset), *scalers)
            self.make_impl(compatibility.space_to_learn(self, dataset), dataset.action_space)
        else:
            built, scaler = self._impl.action_space, self.scaling.action
            compatibility.check_same_range(type(self).__name__, built, scaler, dataset)
        return self

    def refuse_foreign(self, name: str) -> None:
        """Refuses a new attribute that is a hyperparameter of other algorithms alone."""
        refuse_others(name, self, Algo.known.values())

    def check(self, dataset: MDPDataset) -> None:
        """Checks that the algorithm can learn from a dataset.

        Raises:
            TypeError: For something that is no dataset.
            UnsupportedError: For the other kind of actions, or shapes that its networks were not built for.
        """
        compatibility.check_dataset(self, self._impl, dataset, Algo.known.values())

    @trainable()
    def make_impl(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Makes the networks for the given spaces, anew."""
        seen = as_seen(observation_space, self.frame_stack, self.history_length)
        self._impl = self.impl_class(self, seen, action_space, find_device(self.device))

    @answers_guesses
    def predict(
        self, observations: RowsLike, *, legal_actions: ArrayLike | None = None, labels: bool = False
    ) -> Array:
        """Returns the greedy actions.

        Args:
            observations: [B, ...] or one observation, in the units of the data; a tree of such for dict or tuple
                observations; rows of a table (a DataFrame, dicts) for a policy that learned from one by a schema.
            legal_actions: [B, A] or [A] of 0 and 1, where the data had them, unless the observations have.
            labels: Whether actions come as the labels of that schema.

        Returns:
            [B, A] of the dtype of a Box [A], float32 of other Boxes, int64 [B], or labels; without B for one.

        Raises:
            NotFittedError: Without networks.
            ValueError: For another shape, numbers and actions not finite in float32, wrong rows and legal actions.
        """
        return self._converter.act(observations, self.impl.predict_best_action, legal_actions, labels)

    @answers_guesses
    def sample_action(
        self, observations: RowsLike, *, legal_actions: ArrayLike | None = None, labels: bool = False
    ) -> Array:
        """Returns actions drawn from the policy, as `predict` does; greedy if it is deterministic."""
        return self._converter.act(observations, self.impl.sample_action, legal_actions, labels)

    @answers_guesses
    def predict_value(
        self,
        observations: RowsLike,
        actions: ArrayLike | None = None,
        *,
        legal_actions: ArrayLike | None = None,
    ) -> Array:
        """Returns the estimated discounted return, in units of the scaled reward.

        Args:
            observations: As for `predict`.
            actions: The actions to value, in the units of the data or as labels; None for the greedy ones.
            legal_actions: As for `predict`.

        Returns:
            float32 [B], or a float32 scalar for one observation.

        Raises:
            UnsupportedError: If the algorithm learns no value function.
        """
        return self._converter.value(observations, actions, self.impl.predict_value, legal_actions)

    def as_stateful(self, target_return: float | None = None, *, sample: bool = False) -> StatefulActor:
        """Returns what acts step by step: `actor.reset()`, then `actor.predict(observation, reward)` each step.

        Args:
            target_return: Return to reach, for a model that takes one, in units of the data; None is its
                hyperparameter `target_return`.
            sample: Whether actions are drawn from the policy, in place of the greedy ones.

        Raises:
            NotFittedError: Without networks.
            UnsupportedError: For a target return if the algorithm takes none.
        """
        return StatefulActor(self, target_return, sample)

    def acting(self, sample: bool, prepare: Callable[[Choose], Choose]) -> Act:
        """Returns `sample_action`, or else `predict`, by the policy that `prepare` makes of the impl's."""
        return prepared_policy(self, Algo, sample, prepare)

    @property
    def _converter(self) -> Converter:
        impl = self.impl
        return Converter(impl.observation_space, impl.action_space, self.scaling, impl.device)

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
        env: EnvSource,
        n_steps: int = N_STEPS,
        *,
        dataset: MDPDataset | None = None,
        **settings: Unpack[OnlineSettings],
    ) -> A:
        """Acts in an environment and learns from what it sees, from nothing or from where `fit` ended.

        Args:
            env: Where it acts: an environment, a function that makes one, or a name. Episode i starts from seed + i.
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
        env: EnvSource,
        n_steps: int = N_STEPS,
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
            "needs": (*self.impl.needed, *needs),
            "owner": type(self.impl).__name__,
            **kinds.views_of(self, self.impl.observation_space),
        }
        return sampler_for(dataset, **{**own, **settings})

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns what a run of `fit` draws from: rows of the dataset, to which a subclass adds rows of its own."""
        compatibility.warn_of_foreign_actions(self, dataset)
        return recorded

    def fit_doubt(self, dataset: MDPDataset) -> str:
        """Returns why what was learned cannot be used yet, and the remedy; empty if nothing speaks against it."""
        return ""

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

    def restore(self, path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Restores the state of a policy file or a checkpoint; hyperparameters stay as they are.

        Raises:
            FileFormatError: For a file that does not fit.
        """
        persistence.restore(self, path, header, tensors)

    def save(self, path: str | Path, *, run: Mapping[str, Any] | None = None) -> Path:
        """Writes the whole state, from which acting and training go on exactly, as one file of data; returns its path.

        Args:
            path: Of the file, atomically replaced; ".okt" by custom.
            run: The state of a run, in its checkpoints.
        """
        return persistence.save(self, Path(path), run)

    def export(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        observations: ArrayTree | None = None,
        tolerance: float = 1e-5,
        **facts: Unpack[CardFacts],
    ) -> Path:
        """Writes the greedy policy with its scalers for other programs, compared with `predict`, and its card.

        Args:
            path: Of the file, atomically replaced.
            format: "onnx", "torch-export", "torchscript" or "numpy"; None takes it from the suffix of `path`.
            observations: [B, ...] rows to compare with; None draws some.
            tolerance: Largest difference, in units of an action scaled to [-1, 1], or of the action if larger.
            facts: For the card beside, such as policy.onnx.md: `dataset`, `report`, `intended_use` and `run`.

        Raises:
            UnsupportedError: For a policy that remembers its episode, or has operations that a format lacks.
            ExportError: If the actions differ; nothing is written.
        """
        from offlinekit.core.export import export  # Here: torch's exporters take long to import.

        return export(self, Path(path), format, observations, tolerance, **facts)

    @classmethod
    def load(
        cls: type[A],
        path: str | Path,
        *,
        device: str = "auto",
        impl_class: type[Impl] | None = None,
        max_bytes: int | None = None,
        **given: Any,
    ) -> A:
        """Reads a policy that `save` wrote.

        Args:
            path: Of the file or a run folder (its last policy or newest checkpoint), or a name such as "zoo:...".
            device: Where the networks go.
            impl_class: The implementation it was trained with, if this process has not defined it.
            max_bytes: That its networks may take; None goes by the file's tensors, see docs/reliability.md.
            given: Hyperparameters that files cannot hold: `encoder` and `critic_encoder` factories.

        Raises:
            FileNotFoundError: If there is no file.
            FileFormatError: For a file that is none of ours, is damaged, holds another algorithm or needs a class not
                known here; for one whose networks are larger, or take more to act, than its tensors account for.
        """
        with budgeted(max_bytes):
            algo: A = persistence.load(Path(path), cls, device, impl_class, given)
        return algo

    # Copies, by pickle and copy, are independent.

    def __getstate__(self) -> dict[str, Any]:
        return copying.state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        copying.set_state(self, state)

    def __copy__(self: A) -> A:
        return copying.from_state(type(self), copying.state_of(self))

    def __deepcopy__(self: A, memo: dict[int, Any]) -> A:
        return copying.deep_copy(self, memo)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return copying.reduced(self)
