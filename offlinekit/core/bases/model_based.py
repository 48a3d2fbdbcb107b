"""Base of algorithms that learn inside a model of the dynamics: front and implementation, put before another's."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, cast

import torch
from torch import Tensor

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, NonNegative, OneRow, Probability
from offlinekit.datasets import MDPDataset
from offlinekit.errors import TrainingWarning, UnsupportedError
from offlinekit.fields import Check
from offlinekit.interfaces import Sampler
from offlinekit.nn import losses
from offlinekit.nn.encoders import MLPEncoder, ModuleEncoder, encoder_to_json
from offlinekit.nn.random import derive
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.replay.imagined_rows import ImaginationSampler, ImaginedRows
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.training.model_based.model_based_run import ModelBasedRun
from offlinekit.training.online.acting_envs import example_row

if TYPE_CHECKING:
    from offlinekit.algos.torch.dynamics_impl import Imagined
    from offlinekit.core.impl import Impl

    Mixin = Impl
    StepDrawer: TypeAlias = Callable[[Tensor, Tensor], Imagined]
else:
    Mixin = object  # The implementation that it is put before is the Impl.

OWN_SCALERS = ("observation_scaler", "action_scaler", "reward_scaler")
"""Hyperparameters that a model has from the algorithm that learns in it."""


def check_model_settings(value: object) -> None:
    """Checks that a value gives hyperparameters of a model by name.

    Raises:
        TypeError: For something else.
        ValueError: For what the algorithm itself decides, and networks that no model has.
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(
            f"dynamics must be hyperparameters of Dynamics by name, such as {{'termination': 'hopper'}}, got {value!r}"
        )
    for name in value:
        if name in (*OWN_SCALERS, "device", "impl_class"):
            raise ValueError(f"the model has {name} of the algorithm itself; give it there, not in dynamics")
    if _makes_modules(value.get("encoder")):
        raise ValueError(
            "the model has layers over a vector: dynamics={'encoder': ...} takes 'mlp' or 'residual', their options, "
            f"or hidden sizes such as [256, 256], got {value['encoder']!r:.100}"
        )


def plain_model_settings(value: object) -> object:
    """Returns settings of a model as files hold them; a function of the user's own is left for the check to refuse."""
    if not isinstance(value, Mapping):
        return value
    return {
        n: encoder_to_json(v) if str(n).endswith("encoder") and not _makes_modules(v) else v
        for n, v in value.items()
    }


def _makes_modules(encoder: object) -> bool:
    """Returns whether an encoder is a function of the user's own."""
    return isinstance(encoder, ModuleEncoder) or (callable(encoder) and not isinstance(encoder, MLPEncoder))


class ModelBased(Algo):
    """Learns from recorded rows and from short rollouts of its policy in learned dynamics, from recorded states on."""

    dynamics: Annotated[
        Any,
        Check(check_model_settings, "dict of hyperparameters", plain_model_settings),
        "Hyperparameters of the model, a Dynamics: termination, encoder, seed...",
    ] = dataclasses.field(default_factory=lambda: {})
    rollout_length: Annotated[Count, "Steps of a rollout."] = 5
    n_rollouts: Annotated[Count, "Rollouts at a time."] = 50_000
    rollout_interval: Annotated[Count, "Updates between rollouts."] = 1_000
    retained_rounds: Annotated[Count, "Times that rollouts are kept before newer ones replace them."] = 5
    real_share: Annotated[Probability, "Share of recorded rows in minibatches."] = 0.05
    history_length: Annotated[OneRow, "Always 1: the model makes single rows."] = 1

    family: ClassVar[str] = ""
    dynamics_class: ClassVar[type[Algo]]
    model_settings: ClassVar[Mapping[str, Any]] = {}  # Of the model, in place of its own defaults.
    run_class = ModelBasedRun

    def check_together(self) -> None:
        """Checks that rows are single steps, as the model's are, and that the model takes its hyperparameters."""
        super().check_together()
        if self.n_step != 1:
            raise ValueError(f"a model makes single steps; n_step must be 1, got {self.n_step}")
        self.new_model()

    def new_model(self) -> Algo:
        """Makes the front of the model, without networks."""
        scalers = {name: getattr(self, name) for name in OWN_SCALERS}
        given = {"seed": self.seed, **self.model_settings, **self.dynamics}
        return self.dynamics_class(**{**given, **scalers, "device": self.device})

    @property
    def model(self) -> Algo:
        """The model as an algorithm of its own, which is saved, evaluated and simulated as such."""
        model: Algo = cast("ModelBasedImpl", self.impl).model.config
        return model

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns what a run draws from: rows of the dataset and, at their share, rows that the model made.

        Raises:
            UnsupportedError: For data that do not lie in memory.
        """
        if type(recorded) is not TransitionSampler:
            raise UnsupportedError(
                f"rollouts of {type(self).__name__} begin at rows of a dataset in memory; leave out priorities, and "
                "load mapped data with MDPDataset.load"
            )
        n_recorded = round(self.real_share * self.batch_size)
        capacity = self.n_rollouts * self.rollout_length * self.retained_rounds
        if n_recorded == self.batch_size:
            capacity = 1
        example = example_row(dataset, None, 0)  # type: ignore[arg-type]  # It needs no environment beside data.
        seed = derive(self.seed or 0, "imagined rows")
        memory = self.make_sampler(example, memory=ImaginedRows, capacity=capacity, seed=seed)
        assert isinstance(memory, ImaginedRows)  # For the type checker.
        drawn = recorded
        if 0 < n_recorded < self.batch_size:
            drawn = recorded.twin(n_recorded, derive(self.seed or 0, "batches"))
        return ImaginationSampler(recorded, drawn, memory, self.batch_size, self.real_share, dataset)


class ModelBasedImpl(Mixin):
    """Put before an implementation that acts, adds a model and rollouts of the policy in it."""

    config: Any  # A ModelBased of the kind that the implementation has.
    stackable: ClassVar[bool] = False  # Rollouts of each follow its own policy.
    model_is_trained: Tensor

    def build(self) -> None:
        """Makes the networks of the policy, and those of the model after them."""
        super().build()
        front = self.config.new_model()
        front.scaling, _ = self.config.scaling, self.config.dynamics
        front.make_impl(self.observation_space, self.action_space)
        self.model = front.impl
        self.register_buffer("model_is_trained", torch.tensor(False))

    def train(self, mode: bool = True) -> ModelBasedImpl:
        """Switches dropout on or off; the model, which learns in a run of its own, never drops out here."""
        super().train(mode)
        self.model.eval()
        return self

    def enter_phase(self, online: bool) -> None:
        """Prepares for a run on data and rollouts, or for one that acts too, which has rows of no model."""
        if online and not self.is_online:
            name = type(self.config).__name__
            warnings.warn(
                f"{name} makes no rollouts online: it learns from rows of the environment and the data alone, and its "
                "model stays as it is",
                TrainingWarning,
                stacklevel=2,
            )
        super().enter_phase(online)

    def learn_model(self, recorded: TransitionSampler) -> None:
        """Learns of the model, once it is trained, what rollouts need of it; does nothing here."""

    @property
    def first_rollout(self) -> int:
        """Updates before the first rollouts; their minibatches are of recorded rows alone."""
        return 0

    @property
    def n_predictions(self) -> int:
        """How many members' predictions `outcome` reads; 0 for none."""
        return 0

    def outcome(self, step: Imagined) -> tuple[Tensor, Tensor]:
        """Returns the rewards [B] of drawn steps and which of them end the MDP, bool [B].

        Args:
            step: As `DynamicsImpl.imagine` draws them.
        """
        return step.rewards, step.ends

    def roll_out(self, sampler: ImaginationSampler, n: int, length: int) -> Iterator[tuple[Batch, Tensor]]:
        """Returns `rollouts` of so many steps from n recorded states."""
        return self.rollouts(sampler.draw_starts(n), length)

    def rollout_actions(self, observations: Tensor) -> Tensor:
        """Returns the actions of rollouts at scaled observations, [B, A]: those drawn from the policy."""
        actions: Tensor = self.sample_action(observations)
        return actions

    def imagined_step(self, observations: Tensor, actions: Tensor) -> Imagined:
        """Draws a step of rollouts from scaled observations [B, D] with actions [B, A]."""
        step: Imagined = self.model.imagine(observations, actions, self.random, self.n_predictions)
        return step

    @torch.no_grad()
    def rollouts(
        self, starts: Tensor, length: int, imagined_step: StepDrawer | None = None
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yields step by step the rows of rollouts, and which of them are rows: bool [B].

        Those after an end are none, and none that are no numbers; the others keep their places, so that shapes are
        the same at each step.

        Args:
            starts: Scaled observations, [B, D].
            length: Steps.
            imagined_step: What draws steps; None for the method of that name.
        """
        draw = imagined_step or self.imagined_step
        observations, alive = starts, torch.ones(len(starts), dtype=torch.bool, device=starts.device)
        actions = self.rollout_actions(observations)
        for _ in range(length):
            step = draw(observations, actions)
            rewards, ends = self.outcome(step)
            sound = alive & step.next_observations.isfinite().all(-1) & rewards.isfinite()
            next_actions = self.rollout_actions(step.next_observations)
            discounts = (~ends).to(rewards.dtype) * self.config.gamma
            rows = Batch(observations, actions, rewards, step.next_observations, discounts)
            yield rows.with_columns(next_actions=next_actions), sound
            observations, actions, alive = step.next_observations, next_actions, sound & ~ends


Uncertainty = Literal["aleatoric", "distance", "deviation"]


class PenalisedRollouts(ModelBased):
    """Rewards of rollouts are lowered by how unsure the model is of the step."""

    penalty: Annotated[NonNegative, "Weight of the uncertainty, in units of reward."] = 1.0
    uncertainty: Annotated[
        Uncertainty,
        "Largest norm of a member's deviations; largest distance of a member's mean to all members'; or root of the "
        "mean variance of means.",
    ] = "aleatoric"
    all_members: Annotated[bool, "Whether members that are no elites count, as in published code."] = False


class PenalisedRolloutsImpl(ModelBasedImpl):
    """r - penalty * u(s, a) in rollouts; arXiv:2005.13239, eq. (8)."""

    @property
    def n_predictions(self) -> int:
        """How many members are read: the elites, or all; none without a penalty."""
        if self.config.penalty == 0.0:
            return 0
        return int(self.model.config.n_members if self.config.all_members else self.model.n_elites)

    def outcome(self, step: Imagined) -> tuple[Tensor, Tensor]:
        """Returns the penalised rewards and the ends."""
        if step.outcomes is None:
            return step.rewards, step.ends
        changes = step.outcomes.means[..., :-1]  # Of the observations alone.
        if self.config.uncertainty == "aleatoric":
            unsure = losses.largest_deviation(step.outcomes.log_stds)
        elif self.config.uncertainty == "distance":
            unsure = losses.largest_distance_to_mean(changes)
        else:
            unsure = losses.mean_variance_root(changes)
        return step.rewards - self.config.penalty * unsure, step.ends
