"""From a dataset, a policy and a model to the padded arrays that estimators read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.episodes import recorded_next
from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.inspection.rules import no_log_probs
from offlinekit.envs.frame_stacking import next_observations_of, observations_at
from offlinekit.envs.past.sight import sight_of
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import numbers_from_0
from offlinekit.metrics.batches import ROWS_AT_ONCE
from offlinekit.metrics.ope.fitted_behaviour import FittedBehaviour, episode_folds, fit_behaviour, row_mask
from offlinekit.metrics.ope.logged import Floats, Logged
from offlinekit.metrics.ope.tabular import TabularModel, state_numbers
from offlinekit.metrics.ope.target import QFunction, TargetPolicy, values_of
from offlinekit.types import Array, row_parts

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import PolicyLike
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour
    from offlinekit.types import ArrayTree


def padded(dataset: MDPDataset, column: Array, fill: float = 0.0) -> Floats:
    """Returns a column [N] as episodes [E, T]."""
    mask = step_mask(dataset)
    episodes = np.full(mask.shape, fill)
    episodes[mask] = column
    return episodes


def step_mask(dataset: MDPDataset) -> Array:
    """Returns bool [E, T], True for the steps of each episode."""
    lengths = dataset.episode_lengths()
    return np.arange(lengths.max()) < lengths[:, None]


def by_rows(
    function: Callable[[ArrayTree, Array], Floats], policy: PolicyLike, dataset: MDPDataset
) -> Floats:
    """Returns a function of observations and actions for all rows [N], a slice at a time."""
    parts = row_parts(np.arange(len(dataset.actions)), ROWS_AT_ONCE)
    parts_of_result = [
        function(observations_at(policy, dataset, part), dataset.actions[part]) for part in parts
    ]
    return np.concatenate(parts_of_result)


def model_values(
    target: TargetPolicy, dataset: MDPDataset, q_function: QFunction
) -> tuple[Floats, Floats, Floats]:
    """Returns q [N] of the logged actions, v [N] of the states and v [E] after each episode's last row."""
    q = by_rows(lambda o, a: np.asarray(q_function(o, target.own(a)), np.float64), target.source, dataset)
    v = by_rows(lambda o, _: target.state_values(q_function, o), target.source, dataset)
    cut = np.flatnonzero(dataset.final_known & ~dataset.terminals[dataset.episode_ends - 1])
    final = np.zeros(dataset.n_episodes)
    if len(cut) and getattr(target.source, "frame_stack", 1) == 1:
        seen = next_observations_of(dataset, dataset.episode_ends[cut] - 1, *sight_of(target.source))
        final[cut] = target.state_values(q_function, seen)
    return q, v, final


def cross_fitted_values(
    target: TargetPolicy,
    dataset: MDPDataset,
    fit: Callable[[MDPDataset], QFunction],
    n_folds: int,
    seed: int,
    gamma: float,
) -> tuple[Floats, Floats, Floats]:
    """Returns as `model_values` the values by fits that were not fitted to the episode they value."""
    q, v = np.empty(len(dataset)), np.empty(len(dataset))
    final = np.empty(dataset.n_episodes)
    for learned, held_out in episode_folds(dataset, n_folds, seed):
        here = row_mask(dataset, held_out)
        q[here], v[here], final[held_out] = model_values(
            target, dataset[held_out], values_of(fit(dataset[learned]), gamma)
        )
    return q, v, final


def tabular_fit(target: TargetPolicy, dataset: MDPDataset, gamma: float) -> Callable[[MDPDataset], QFunction]:
    """Returns what fits a counted model to a part of a dataset and returns its values.

    Raises:
        UnsupportedError: If observations are not one whole number, or actions not discrete.
    """
    numbers = tabular_states(dataset)
    if numbers is None or not target.discrete or sight_of(target.source).history > 1:
        raise UnsupportedError(
            "a tabular model needs discrete actions, a policy without a history, and observations that are one whole "
            "number below 10,000; "
            "give a q_function(observations, actions)"
        )
    n_states = max(int(part.max()) for part in numbers) + 1
    states = np.unique(np.concatenate(numbers).clip(0))
    shape = np.asarray(dataset.observations).shape[1:]
    policy = np.zeros((n_states, target.n_actions))
    policy[states] = target.probabilities(states.reshape(-1, *shape).astype(np.float32))

    def fit(part: MDPDataset) -> QFunction:
        q = _counted_model(part, policy.shape).values(policy, gamma)[1]
        return lambda o, a: q[np.asarray(o).reshape(-1).astype(np.int64), target.numbers(a)]

    return fit


def _counted_model(part: MDPDataset, shape: tuple[int, ...]) -> TabularModel:
    """Returns the model of the rows whose outcome was recorded, of [S, A] = shape."""
    states, following = _states(part)
    known = part.terminals | (following >= 0)
    return TabularModel(
        states[known],
        numbers_from_0(part.actions[known], part.action_space),
        part.rewards[known].astype(np.float64),
        following[known].clip(0),
        part.terminals[known],
        *shape,
    )


def tabular_states(dataset: MDPDataset) -> tuple[Array, Array] | None:
    """Returns the states [N] and the next states [N], -1 where not recorded or the MDP ended; None without numbers."""
    return None if state_numbers(dataset.observations) is None else _states(dataset)


def _states(dataset: MDPDataset) -> tuple[Array, Array]:
    states = np.asarray(dataset.observations).reshape(-1).astype(np.int64)
    following = np.asarray(dataset.next_observations_at(np.arange(len(dataset)))).reshape(-1).astype(np.int64)
    following[~recorded_next(dataset) | dataset.terminals] = -1
    return states, following


def behaviour_of(dataset: MDPDataset, given: Behaviour, n_folds: int, seed: int) -> FittedBehaviour | Floats:
    """Returns the log-probabilities [N] of the logged actions, with their calibration where they were fitted."""
    behaviour = _behaviour_of(dataset, given, n_folds, seed)
    log_probs = behaviour.log_probs if isinstance(behaviour, FittedBehaviour) else behaviour
    if log_probs.shape != (len(dataset),):
        raise ValueError(
            f"behaviour must have one log-probability a row, [{len(dataset)}], got {list(log_probs.shape)}; "
            "fit it to the dataset that is evaluated"
        )
    refuse_first(no_log_probs(log_probs, dataset.action_space, "behaviour"))
    return behaviour


def _behaviour_of(dataset: MDPDataset, given: Behaviour, n_folds: int, seed: int) -> FittedBehaviour | Floats:
    if isinstance(given, FittedBehaviour):
        return given
    if isinstance(given, str) and given not in ("fit", "logged"):
        raise ValueError(f"behaviour must be 'fit', 'logged' or log-probabilities [N], got {given!r}")
    if given is not None and not isinstance(given, str):
        return np.asarray(given, np.float64)
    if given == "fit" or (given is None and dataset.behavior_log_probs is None):
        return fit_behaviour(dataset, n_folds=n_folds, seed=seed)
    if dataset.behavior_log_probs is None:
        raise UnsupportedError(f"dataset {dataset.name!r} has no behavior_log_probs; use behaviour='fit'")
    return dataset.behavior_log_probs.astype(np.float64)


def logged_of(
    target: TargetPolicy,
    dataset: MDPDataset,
    fitted: FittedBehaviour | Floats | None,
    model: tuple[Floats, Floats, Floats] | None,
    gamma: float,
    bootstrap_timeouts: bool,
) -> Logged:
    """Returns the padded episodes; without propensities all ratios are 1, without a model there is none."""
    zeros = np.zeros(len(dataset))
    behaviour = fitted.log_probs if isinstance(fitted, FittedBehaviour) else fitted
    asked = zeros if behaviour is None else by_rows(target.log_probs, target.source, dataset)
    return Logged(
        padded(dataset, dataset.rewards),
        step_mask(dataset),
        padded(dataset, asked),
        padded(dataset, zeros if behaviour is None else behaviour),
        gamma,
        None if model is None else padded(dataset, model[0]),
        None if model is None else padded(dataset, model[1]),
        model[2] if model is not None and bootstrap_timeouts else None,
    )
