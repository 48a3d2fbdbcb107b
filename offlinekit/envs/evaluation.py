"""Judges a policy by running it in an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from offlinekit.envs.frame_stacking import fit_env, fit_stack
from offlinekit.envs.given_env import GivenEnv
from offlinekit.envs.rollout import Rollout
from offlinekit.envs.stateful_policies import as_actor
from offlinekit.fields import Steps, checked
from offlinekit.ground.hints import answers_guesses
from offlinekit.ground.progress import Progress
from offlinekit.types import ArrayTree, stack_trees

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.interfaces import EnvSource, PolicyLike

Reference: TypeAlias = "MDPDataset | tuple[float, float] | None"
"""A source of the returns that score 0 and 100, if there is one."""


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of n episodes of one policy; episode i was reset with seed + i."""

    returns: npt.NDArray[np.float64]
    """[n], undiscounted sums of rewards."""
    lengths: npt.NDArray[np.int64]
    """[n], steps until termination or truncation."""
    start_values: npt.NDArray[np.float64] | None = None
    """[n], the policy's own estimate of each start state's value, if it has one."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def median(self) -> float:
        """Median return."""
        return float(np.median(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns (population, so 0 for one episode)."""
        return float(self.returns.std())

    @property
    def min(self) -> float:
        """Lowest return."""
        return float(self.returns.min())

    @property
    def max(self) -> float:
        """Highest return."""
        return float(self.returns.max())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean return; NaN for one episode."""
        n = len(self.returns)
        return float(self.returns.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    @property
    def mean_length(self) -> float:
        """Mean number of steps of an episode."""
        return float(self.lengths.mean())

    @property
    def mean_start_value(self) -> float | None:
        """Mean value estimate of the start states; None if the policy has none."""
        return None if self.start_values is None else float(self.start_values.mean())

    def normalized(self, reference: Reference) -> float | None:
        """Returns the mean normalised score, 100 * (return - low) / (high - low).

        Args:
            reference: A dataset, with or without `reference_scores`; a pair (low, high) of returns
                that score 0 and 100; or None.

        Returns:
            The score; None if the reference has no such pair.
        """
        score = normalized_score(self.returns, reference)
        return None if score is None else float(score.mean())

    def summary(self, reference: Reference = None) -> dict[str, float]:
        """Returns the figures that a run logs under "eval/".

        Args:
            reference: As in `normalized`; adds "score" if it has both.
        """
        figures = {
            "return_mean": self.mean,
            "return_std": self.std,
            "return_median": self.median,
            "return_min": self.min,
            "return_max": self.max,
            "length_mean": self.mean_length,
            "value_start": self.mean_start_value,
            "score": self.normalized(reference),
        }
        return {key: figure for key, figure in figures.items() if figure is not None}


@answers_guesses
def evaluate(
    policy: PolicyLike,
    env: EnvSource | None,
    n_episodes: int = 10,
    *,
    seed: int = 0,
    n_envs: int | None = None,
    value: Callable[[ArrayTree], Any] | None = None,
    max_steps: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Runs a policy for some episodes, several environments at a time if there can be several.

    Episode i starts from `env.reset(seed=seed + i)` and ends at termination or truncation. So a deterministic
    policy gives the same returns however many environments run side by side (up to the rounding of a network
    on batches of another size).

    Args:
        policy: An algorithm, an object with `predict`, or a callable, from observations [B, ...]
            to actions [B, ...]. One with a memory, a `StatefulPolicy` or an object that `is_stateful`, also
            receives the rewards and is reset for each episode.
        env: A gymnasium environment or one of the legacy gym API, a function that makes one, or a name. An object
            is used itself, one episode after another, and left open; several run side by side if a function or a name
            makes them, or if `get_dataset` or `make_env` made the object and nobody has looked inside since. If it
            shows single images, and the policy sees stacks of them, they are stacked.
        n_episodes: Number of episodes, at least 1.
        seed: Of the first episode.
        n_envs: Number of environments side by side, if there can be several; None chooses up to 10.
        value: Estimates the values [B] of start states; None takes `policy.predict_value` if
            `policy.has_value`.
        max_steps: Ends an episode after so many steps; None leaves it to the environment, and ends it after 27,000,
            with a warning, if the environment has no time limit.
        progress: Whether to show how far it is, if it takes more than a moment.

    Raises:
        ValueError: For numbers below 1, actions that do not fit the environment, and rewards that are no numbers.
        DatasetError: For an environment of other observations or actions than an algorithm has learned from.
        UnsupportedError: For a policy or an environment that is none, and text of another tokenizer.
    """
    for name, number in (("n_episodes", n_episodes), ("n_envs", n_envs), ("max_steps", max_steps)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    seed = checked("seed", seed, Steps)
    actor = as_actor(policy)
    if value is None and getattr(policy, "has_value", False):
        value = getattr(policy, "predict_value")  # noqa: B009  # Beside `predict` it has one, as it says.
    with GivenEnv(env).opened(n_envs, n_episodes) as envs:
        if not getattr(policy, "in_run", None):  # A run has compared them.
            fit_env(envs[0], policy)
        shown = [fit_stack(each, policy) for each in envs]
        with Progress("evaluation", n_episodes, shown=progress, unit="episode") as bar:
            rollout = Rollout(actor, shown, n_episodes, seed, max_steps, bar)
            rollout.as_float32 = hasattr(policy, "impl")
            rollout.run()
        return Evaluation(rollout.returns, rollout.lengths, _start_values(value, rollout.starts))


def normalized_score(returns: npt.ArrayLike, reference: Reference) -> npt.NDArray[np.float64] | None:
    """Returns 100 * (returns - low) / (high - low), shape kept; None if low and high are not known.

    Args:
        returns: Of episodes, or a mean of them.
        reference: As in `Evaluation.normalized`.
    """
    pair = reference if isinstance(reference, tuple) else getattr(reference, "reference_scores", None)
    if pair is None:
        return None
    low, high = pair
    return np.asarray(100.0 * (np.asarray(returns, np.float64) - low) / (high - low))


def _start_values(
    value: Callable[[ArrayTree], Any] | None, starts: list[ArrayTree]
) -> npt.NDArray[np.float64] | None:
    """Returns the estimated values of start states [n]; None if nothing estimates them."""
    if value is None:
        return None
    values = np.asarray(value(stack_trees(starts)), np.float64)
    if values.shape != (len(starts),):
        raise ValueError(
            f"expected value to return shape ({len(starts)},), one value for each start state, "
            f"got {values.shape}"
        )
    return values
