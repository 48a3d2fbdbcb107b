"""Fitted Q evaluation: what a policy is worth, learned from data that another one recorded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
import torch
from gymnasium.spaces import Discrete
from typing_extensions import Unpack

from offlinekit.algos.torch.fqe_impl import DiscreteFQEImpl, FQEImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, QKind, Rate, TDLoss
from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.envs.past.sight import sight_of
from offlinekit.errors import TrainingWarning, UnsupportedError
from offlinekit.ground.action_spaces import own_actions
from offlinekit.interfaces import Sampler
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.random import derive
from offlinekit.sampling.policy_table import Choices, behaviour_choices
from offlinekit.training import value_alarm
from offlinekit.training.setup.keywords import takes_settings
from offlinekit.training.setup.settings import N_STEPS, RunSettings
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.interfaces import PolicyLike
    from offlinekit.types import ArrayTree, RowsLike

BEHAVIOUR = "behaviour"
FEWEST = 1_000  # Updates that networks need, however short the episodes.
SETTLED = 5.0  # Time constants that fits take by default; a learning rate that falls takes some of the speed.
MOST_DRIFT = 0.05  # Share of a value that a single fit may move in the last two fifths of its updates.
QUICK: dict[str, Any] = {"encoder": MLPEncoder((64, 64)), "learning_rate": 1e-3, "lr_schedule": "cosine"}
"""Settings of the fits behind `offlinekit select` and `offlinekit ope`."""


class FQE(Algo):
    """Learns the value of a given policy by regression on one-step targets that act as it does.

    The policy is evaluated once at each state of the data, before the run; any policy will do. Source: Le,
    Voloshin and Yue 2019, arXiv:1903.08738; with quantiles, Bellemare, Dabney and Munos 2017's evaluation.
    """

    policy: Annotated[Any, "Policy to evaluate: an algorithm, a callable, or 'behaviour' (the data's)."] = (
        None
    )
    n_draws: Annotated[Count, "Actions of the policy in each state; more for one that draws them."] = 1
    resample: Annotated[bool, "Whether to learn from episodes drawn with replacement: a bootstrap."] = False
    learning_rate: Annotated[Positive, "Of the critics."] = 3e-4
    n_critics: Annotated[Count, "Critics in the ensemble; their mean is the estimate."] = 1
    target_update_interval: Annotated[Count, "Updates between two updates of the target."] = 1
    tau: Annotated[
        Rate, "Share of the critics that enters their target; values settle in 1 / tau (1 - gamma)."
    ] = 0.05
    td_loss: Annotated[TDLoss, "Of the temporal difference with q_function='mean'."] = "mse"
    q_function: Annotated[QKind, "What critics learn of the return: its mean, or quantiles ('qr')."] = "mean"
    n_quantiles: Annotated[Count, "Quantiles of the return with q_function='qr'."] = 32

    family: ClassVar[str] = "OPE"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:1903.08738"
    not_in_files: ClassVar[tuple[str, ...]] = ("policy",)
    sampler_options: ClassVar[tuple[str, ...]] = ("policy", "n_draws")
    impl_class = FQEImpl

    def __post_init__(self) -> None:
        """Sees as much of the past as the policy, whose value is one of histories if the policy acts by these."""
        super().__post_init__()
        self.history_length = getattr(self.policy, "history_length", self.history_length)

    @takes_settings
    def fitter(
        self, dataset: MDPDataset, n_steps: int = N_STEPS, **settings: Unpack[RunSettings]
    ) -> Iterator[tuple[int, dict[str, float]]]:
        """The run of `fit` as a generator, with the same keywords but `seeds`; warns if values have not settled."""
        begun, early = self.grad_step, math.nan
        for step, metrics in super().fitter(dataset, n_steps, **settings):
            if math.isnan(early) and value_alarm.LATE * n_steps <= step - begun < n_steps:
                early = self.start_value(dataset)
            yield step, metrics
        if why := self._unsettled(early, dataset):
            warnings.warn(f"{type(self).__name__}: {why}", TrainingWarning, stacklevel=2)

    def too_few_updates(self, dataset: MDPDataset) -> str:
        """Returns that it took fewer updates than values need to settle, and the remedy; empty if it took enough."""
        needed = self.updates_needed(dataset)
        return value_alarm.too_few_updates(self.grad_step, needed, self.gamma, self.tau)

    def fit_doubt(self, dataset: MDPDataset) -> str:
        """Returns that values have not settled for want of updates or of an end, and the remedy; empty if they have."""
        try:
            return self.too_few_updates(dataset)
        except UnsupportedError as endless:
            return str(endless)

    def _unsettled(self, early: float, dataset: MDPDataset) -> str:
        """Returns why values have not settled, `early` being the start value on the way or NaN; empty if they have."""
        doubt = self.fit_doubt(dataset)
        if doubt or math.isnan(early):
            return doubt
        values = self.start_values(dataset)
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        return value_alarm.still_moving(early, self.start_value(dataset), error, MOST_DRIFT)

    def make_sampler(self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any) -> Sampler:
        """Makes what draws the batches of a run, with what the policy does in the next states.

        Raises:
            ValueError: If no policy was given, or several steps of the data would stand for the policy's own.
        """
        if self.n_step > 1 and self.policy != BEHAVIOUR:
            raise ValueError(
                f"n_step={self.n_step} would count rewards of what the data did for what the policy does; "
                "use n_step=1, or policy='behaviour'"
            )
        if self.policy is None:
            raise ValueError(self._no_policy)
        if (weights := self.sampling_weights_for(dataset)) is not None:
            settings["sampling_weights"] = weights
        if self.policy == BEHAVIOUR:
            now, following = behaviour_choices(dataset, self.n_draws)
            needs = (*needs, "next_actions")
        else:
            now, following = self._choices.everywhere(dataset, *sight_of(self))
        if self.scaling.action is not None:
            now, following = self.scaling.action.transform(now), self.scaling.action.transform(following)
        column = "next_policy_" + ("probabilities" if self.action_kind == "discrete" else "actions")
        return super().make_sampler(dataset, needs=needs, following={column: (now, following)}, **settings)

    def sampling_weights_for(self, dataset: MDPDataset) -> Array | None:
        """Returns how often the episode of each row was drawn, float64 [N]; None without `resample`."""
        return np.repeat(self.episode_counts(dataset), dataset.episode_lengths()) if self.resample else None

    def updates_needed(self, dataset: MDPDataset, n_constants: float = 3) -> int:
        """Returns how many updates the target takes to pass values on: time constants of H / tau updates each.

        H is 1 / (1 - gamma), or the steps of the longest episode if all end and this is less. After 3 a value is 95%
        of itself, after 5 more than 99%.

        Raises:
            UnsupportedError: With gamma 1 where episodes are cut off: values have no end then.
        """
        ends = bool(dataset.terminals[dataset.episode_ends - 1].all())
        longest = int(dataset.episode_lengths().max())
        if self.gamma == 1 and not ends:
            raise UnsupportedError(
                "values of endless episodes need gamma < 1, and some episodes here are cut off"
            )
        horizon = min(longest if ends else math.inf, 1 / (1 - self.gamma) if self.gamma < 1 else math.inf)
        return math.ceil(n_constants * horizon * self.target_update_interval / self.tau)

    def predict(
        self, observations: RowsLike, *, legal_actions: ArrayLike | None = None, labels: bool = False
    ) -> Array:
        """Refuses to act.

        Raises:
            UnsupportedError: Always; the policy that it evaluates acts.
        """
        raise UnsupportedError(
            f"{type(self).__name__} evaluates a policy and does not act; call predict of that policy"
        )

    sample_action = predict

    def predict_value(
        self,
        observations: RowsLike,
        actions: ArrayLike | None = None,
        *,
        legal_actions: ArrayLike | None = None,
    ) -> Array:
        """Returns the estimated discounted return of the policy, in units of the scaled reward.

        Args:
            observations: [B, ...] or one observation, in the units of the data.
            actions: The first actions, [B, A] or [B]; None for those of the policy.
            legal_actions: As for `Algo.predict`.

        Returns:
            float32 [B], or a float32 scalar for one observation.

        Raises:
            UnsupportedError: For the behaviour's own actions if none are given, and without a policy.
        """
        observations = self._converter.encoded(observations, legal_actions)
        if actions is not None:
            return super().predict_value(observations, actions)
        if self.policy is None:
            raise UnsupportedError(f"{self._no_policy}; or give actions to predict_value")
        if self.policy == BEHAVIOUR:
            raise UnsupportedError(
                "policy='behaviour' has no actions beside the recorded ones; give these to predict_value as actions"
            )
        if self._converter.observations(observations)[1]:
            alone: Array = self.predict_value(map_tree(lambda leaf: np.asarray(leaf)[None], observations))[0]
            return alone
        choices, space = self._choices.at(map_tree(np.asarray, observations)), self.impl.action_space
        if isinstance(space, Discrete):
            shares = torch.from_numpy(choices).to(self.impl.device)
            impl = cast("DiscreteFQEImpl", self.impl)
            return self._converter.value(observations, None, lambda seen, _: impl.mean_value(seen, shares))
        draws = choices.reshape(*choices.shape[:2], *(space.shape or ())).swapaxes(0, 1)
        values = [super(FQE, self).predict_value(observations, draw) for draw in draws]
        mean: Array = np.mean(values, 0)
        return mean

    def choices_at(self, observations: ArrayTree) -> Array:
        """Returns what the policy does: probabilities [B, A] of discrete actions, else actions [B, n_draws, A]."""
        return self._choices.at(observations)

    def start_value(self, dataset: MDPDataset) -> float:
        """Returns the mean value of the first observations of a dataset, in units of the scaled reward.

        Of the behaviour it is that of the first actions; with `resample` the episodes that were drawn count.
        """
        counts = self.episode_counts(dataset) if self.resample else None
        return float(np.average(self.start_values(dataset), weights=counts))

    def start_values(self, dataset: MDPDataset) -> Array:
        """Returns the values of the first observations of a dataset, float32 [E]; of the behaviour's own actions.

        Raises:
            UnsupportedError: Without a policy.
        """
        if self.policy is None:
            raise UnsupportedError(self._no_policy)
        starts = dataset.episode_starts
        taken = own_actions(dataset.actions[starts], dataset.action_space)
        actions = taken if self.policy == BEHAVIOUR else None
        return self.predict_value(observations_at(self, dataset, starts), actions)

    def episode_counts(self, dataset: MDPDataset) -> Array:
        """Returns how often each episode stands in the resampled data, float64 [E]."""
        n = dataset.n_episodes
        drawn = np.random.default_rng(derive(self.seed or 0, "episodes")).integers(n, size=n)
        return np.bincount(drawn, minlength=n).astype(np.float64)

    @property
    def _no_policy(self) -> str:
        return (
            f"{type(self).__name__} evaluates a policy: give policy=algo, a callable, or 'behaviour' for what recorded "
            "the data; files do not hold it, so give it to load(path, policy=algo) as well"
        )

    @property
    def _choices(self) -> Choices:
        return Choices(self.policy, self.impl.action_space, self.n_draws)


class DiscreteFQE(FQE):
    """FQE of a policy with discrete actions, whose value is averaged over its probabilities."""

    action_kind: ClassVar[str] = "discrete"
    impl_class = DiscreteFQEImpl


def fitted_by(
    policy: PolicyLike | str, n_steps: int | None = None, **hyperparameters: Any
) -> Callable[[MDPDataset], Any]:
    """Returns what fits FQE to a dataset, as `estimate(..., fit_q=...)` takes it.

    Args:
        policy: To evaluate.
        n_steps: Updates of a fit; None for as many as values need to settle.
        hyperparameters: Of `FQE`.
    """

    def fit(dataset: MDPDataset) -> Callable[[Any, Array], Array]:
        front = DiscreteFQE if isinstance(dataset.action_space, Discrete) else FQE
        algo = front(policy=policy, **{**QUICK, **hyperparameters})
        updates = max(FEWEST, algo.updates_needed(dataset, SETTLED)) if n_steps is None else n_steps
        return algo.fit(dataset, updates, out=None, progress=False).predict_value

    return fit
