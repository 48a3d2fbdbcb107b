"""Excess of value estimates over the returns in the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.directions import less_is_better
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.given_env import GivenEnv
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.batches import check_ordered, check_values, final_values, per_transition
from offlinekit.sampling.n_step import discounted_sums
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import EnvSource


@less_is_better
@answers_guesses
def overestimation_gap(
    algo: Algo, dataset: MDPDataset, *, env: EnvSource | None = None, n_episodes: int = 10, seed: int = 0
) -> float:
    """Returns the mean of value estimates less discounted returns, both of the scaled reward.

    Of the data: Q(s, pi(s)) less the Monte-Carlo return from s on. What lies behind the timeout of an episode
    was not recorded, so the estimate of its last state stands for it with the weight w = gamma**(steps to the
    timeout), and the sum of differences is divided by the sum of 1 - w: an estimate that is too high by c
    everywhere gives c, however the episodes end. A policy that is better than the data has a gap without
    overestimating.

    With an environment: the estimate of start states less the discounted return of the policy from there.

    Args:
        algo: With values.
        dataset: Rows in order of time.
        env: To measure the policy's own return in, in place of the data's, such as
            `functools.partial(overestimation_gap, env=env)` in a run.
        n_episodes: Episodes in `env`.
        seed: Of the first of them.

    Raises:
        UnsupportedError: For an algorithm without values of single states, and for unordered rows.
    """
    check_values(algo, "overestimation_gap")
    if env is not None:
        with GivenEnv(env).opened() as (opened,):
            result = evaluate(algo, _Discounted(opened, algo), n_episodes, seed=seed)
        return (result.mean_start_value or 0.0) - result.mean
    check_ordered(dataset, "overestimation_gap")
    impl = algo.impl
    estimates = per_transition(algo, dataset, lambda batch: impl.predict_value(batch.observations, None))
    returns, weights = _completed_returns(algo, dataset, estimates)
    n_effective = np.sum(1.0 - weights)
    return float(np.sum(estimates - returns) / n_effective) if n_effective > 0 else 0.0


def _completed_returns(algo: Algo, dataset: MDPDataset, estimates: Array) -> tuple[Array, Array]:
    """Returns the return from each row on [N], and the weight [N] in it of the estimate behind a timeout.

    If a timeout's final observation was not recorded, its last row takes the place of that.
    """
    last, scaler = dataset.episode_ends - 1, algo.scaling.reward
    rewards = (dataset.rewards if scaler is None else scaler.transform(dataset.rewards)).astype(np.float64)
    cut, known = dataset.timeouts[last], dataset.final_known
    weight = np.where(cut, np.where(known, algo.gamma, 1.0), 0.0)
    behind = np.where(known, final_values(algo, dataset), estimates[last])
    rewards[last] = np.where(cut & ~known, 0.0, rewards[last]) + weight * behind
    weights = np.zeros(len(rewards))
    weights[last] = weight
    ends = np.zeros(len(rewards), np.bool_)
    ends[last] = True
    returns = discounted_sums(rewards, ends, algo.gamma)
    return returns, discounted_sums(weights, ends, algo.gamma)


class _Discounted(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose reward of step t is gamma**t times the scaled one, so that returns are discounted."""

    def __init__(self, env: gymnasium.Env[Any, Any], algo: Algo) -> None:
        super().__init__(env)
        self.gamma, self.scaler = algo.gamma, algo.scaling.reward

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and the discount."""
        self.weight = 1.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        scaled = reward if self.scaler is None else float(self.scaler.transform(np.asarray(reward)))
        discounted = self.weight * float(scaled)
        self.weight *= self.gamma
        return observation, discounted, terminated, truncated, info
