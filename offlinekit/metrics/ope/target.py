"""The target policy: its probabilities of logged actions, and its values by a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from gymnasium import spaces

from offlinekit.core.units import SampledPolicy
from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.inspection.rules import no_log_probs
from offlinekit.envs.callable_policies import Act, GreedyPolicy, as_policy
from offlinekit.envs.stateful_policies import check_memoryless
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import (
    check_countable,
    every_action,
    joined_actions,
    numbers_from_0,
    own_actions,
)
from offlinekit.metrics.ope.logged import Floats
from offlinekit.sampling.policy_table import probabilities_of
from offlinekit.types import Array, first_leaf

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.interfaces import PolicyLike, ValueModel
    from offlinekit.types import ArrayTree

QFunction: TypeAlias = "Callable[[Any, Array], ArrayLike]"
"""Observations [B, ...] and actions [B] or [B, A] to values [B]."""


class TargetPolicy:
    """Probabilities of actions under a policy.

    Args:
        policy: One of: an object with `log_prob(observations, actions)` -> [B] (`SampledPolicy(algo)`,
            `GreedyPolicy`, `RandomPolicy`...); for discrete actions a callable observations -> probabilities
            [B, A], or an algorithm, whose greedy actions are evaluated then.
        action_space: Of the dataset.
        n_samples: Actions drawn in each state to average values over, if actions are continuous.

    Raises:
        UnsupportedError: For something that is no policy, and for one that remembers its episode.
    """

    def __init__(self, policy: PolicyLike, action_space: spaces.Space[Any], n_samples: int = 10) -> None:
        check_memoryless(policy)
        act = as_policy(policy)
        self.act: Act = lambda observations: joined_actions(np.asarray(act(observations)), action_space)
        self.source, self.policy, self.n_samples = policy, policy, n_samples
        check_countable(action_space, "off-policy estimates weigh")
        self.discrete = isinstance(action_space, spaces.Discrete)
        self.action_space = action_space
        self.n_actions = int(action_space.n) if isinstance(action_space, spaces.Discrete) else 0
        is_algorithm = callable(getattr(policy, "sample_action", None))
        if not callable(getattr(policy, "log_prob", None)) and self.discrete and is_algorithm:
            self.policy = GreedyPolicy(act)
        self.log_prob = getattr(self.policy, "log_prob", None)

    @property
    def has_probabilities(self) -> bool:
        """Whether logged actions can be weighted; False for deterministic continuous policies."""
        return self.discrete or callable(self.log_prob)

    def own(self, actions: Array) -> Array:
        """Returns actions of the dataset as the policy has them: several discrete ones in their parts."""
        return own_actions(actions, self.action_space)

    def numbers(self, actions: Array) -> Array:
        """Returns discrete actions [B], or [B, k] of k parts, as numbers from 0."""
        return numbers_from_0(joined_actions(actions, self.action_space), self.action_space)

    def log_probs(self, observations: ArrayTree, actions: Array) -> Floats:
        """Returns the log-probabilities [B] of actions; densities if they are continuous.

        Raises:
            UnsupportedError: For a continuous policy without densities.
            ValueError: For a result of another shape, with NaN, or above 0 for discrete actions.
        """
        if callable(self.log_prob):
            log_probs = np.asarray(self.log_prob(observations, self.own(actions)), np.float64)
            if log_probs.shape != (len(actions),) or np.isnan(log_probs).any():
                raise ValueError(
                    f"expected log-probabilities of shape ({len(actions)},) without NaN from log_prob, "
                    f"got {log_probs.shape} with {int(np.isnan(log_probs).sum())} NaN"
                )
            refuse_first(no_log_probs(log_probs, self.action_space, "log_prob of the policy"))
            return log_probs
        if not self.discrete:
            if isinstance(self.policy, SampledPolicy):
                raise UnsupportedError(
                    f"the drawn actions of {type(self.policy.impl.config).__name__} have no known density to weight "
                    "episodes by; ask for estimators=['direct'] with a q_function, or 'model_based'"
                )
            raise UnsupportedError(
                "a continuous policy needs densities to weight episodes by; pass SampledPolicy(algo) of "
                "offlinekit.core.units or an object with log_prob(observations, actions), or ask for "
                "estimators=['direct'] with a q_function"
            )
        with np.errstate(divide="ignore"):
            chosen = self.probabilities(observations)[np.arange(len(actions)), self.numbers(actions)]
            return np.asarray(np.log(chosen))

    def probabilities(self, observations: ArrayTree) -> Floats:
        """Returns the probabilities [B, A] of all discrete actions.

        Raises:
            ValueError: For a result of another shape, or that is no distribution.
        """
        if callable(self.log_prob):
            return probabilities_of(self.log_probs, observations, every_action(self.action_space))
        n, n_actions = len(first_leaf(observations)), self.n_actions
        probabilities = np.asarray(self.act(observations), np.float64)
        if (
            probabilities.shape != (n, n_actions)
            or (probabilities < 0).any()
            or not np.allclose(probabilities.sum(1), 1, atol=1e-3)
        ):
            raise ValueError(
                f"expected probabilities of shape ({n}, {n_actions}) that sum to 1 in each row, got "
                f"{probabilities.shape}; "
                "for a policy that returns actions pass GreedyPolicy(policy) of offlinekit.envs.callable_policies"
            )
        return probabilities

    def state_values(self, q_function: QFunction, observations: ArrayTree) -> Floats:
        """Returns the values [B] of states: the mean of q over the policy's actions.

        Discrete actions are summed over; continuous ones are drawn `n_samples` times, once if the policy has
        no densities and so is deterministic.
        """
        n = len(first_leaf(observations))
        if not self.discrete:
            draws = self.n_samples if callable(self.log_prob) else 1
            drawn = [
                _values(q_function, observations, np.asarray(self.act(observations))) for _ in range(draws)
            ]
            return np.asarray(np.mean(drawn, axis=0))
        total = np.zeros(n)
        every = self.own(every_action(self.action_space))
        for share, action in zip(self.probabilities(observations).T, every, strict=True):
            total += share * _values(q_function, observations, np.repeat(action[None], n, 0))
        return total


def values_of(q_function: QFunction | ValueModel, gamma: float) -> QFunction:
    """Returns the function behind a Q-function: itself, or an algorithm's `predict_value`.

    Raises:
        UnsupportedError: For an algorithm that learned from scaled rewards: its values have other units.
        ValueError: For one that learned with another gamma.
        TypeError: For something that is neither.
    """
    learned = getattr(getattr(q_function, "__self__", q_function), "gamma", gamma)
    if not np.isclose(learned, gamma, rtol=0, atol=1e-9):
        raise ValueError(
            f"the values of this q_function are discounted by gamma={learned:g}, the estimate by gamma={gamma:g}; "
            f"give gamma={learned:g}, or a q_function that learned with {gamma:g}"
        )
    scaling = getattr(getattr(q_function, "__self__", q_function), "scaling", None)
    if getattr(scaling, "reward", None) is not None:
        raise UnsupportedError(
            "this algorithm's values are of scaled rewards, not of the data's; give a q_function in their units"
        )
    if hasattr(q_function, "predict_value"):
        return q_function.predict_value
    if not callable(q_function):
        raise TypeError(
            "expected a function (observations, actions) -> values [B], or an algorithm with predict_value, as "
            f"q_function or from fit_q, got {type(q_function).__name__}"
        )
    return q_function


def _values(q_function: QFunction, observations: ArrayTree, actions: Array) -> Floats:
    values = np.asarray(q_function(observations, actions), np.float64)
    if values.shape != (len(actions),) or not np.isfinite(values).all():
        raise ValueError(
            f"expected finite values of shape ({len(actions)},) from q_function(observations, actions), got "
            f"{values.shape}"
        )
    return values
