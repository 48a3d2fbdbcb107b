"""Situations that people reported of environments in other projects; each names where."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DQN, TD3, MLPEncoder
from offlinekit.datasets import MDPDataset, collect
from offlinekit.envs.given_env import statistics_kept
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.metrics import RandomPolicy, evaluate

SMALL: dict[str, Any] = {"batch_size": 4, "seed": 0, "device": "cpu", "encoder": MLPEncoder((8,))}
QUIET: dict[str, Any] = {"out": None, "progress": False}


class Clock(gymnasium.Env[Any, Any]):
    """Shows the step of the episode, earns 1, and ends after four steps; keeps what it was given."""

    def __init__(
        self, sees: Any = None, acts: Any = None, *, both: bool = False, reuses: bool = False
    ) -> None:
        self.observation_space = sees or spaces.Box(-99, 99, (2,), np.float32)
        self.action_space = acts or spaces.Discrete(2)
        self.both, self.reuses = both, reuses
        self.seeds: list[int | None] = []
        self.actions: list[Any] = []
        self.buffer = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.step_of_episode = 0
        return self.shown(), {}

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        self.step_of_episode += 1
        over = self.step_of_episode == 4
        return self.shown(), 1.0, over, over and self.both, {}

    def shown(self) -> Any:
        self.buffer[...] = self.step_of_episode
        return self.buffer if self.reuses else self.buffer.copy()


def still(observations: Any) -> Any:
    return np.zeros(len(observations), int)


def recorded(env: Any, n_steps: int = 8) -> MDPDataset:
    return collect(RandomPolicy(env.action_space), env, n_steps, progress=False)


@pytest.mark.parametrize("online", [False, True])
def test_an_environment_that_returns_the_same_array_each_time(online: bool) -> None:
    """dm_control 34, SuperSuit 116, baselines 418: all rows became the newest one."""
    env = Clock(reuses=True)
    data = DQN(**SMALL).fit_online(env, 8, **QUIET).experience if online else recorded(env)
    assert data.observations[:, 0].tolist() == [0, 1, 2, 3] * 2
    assert data.final_observations[:, 0].tolist() == [4, 4]


def test_both_flags_at_once_are_a_terminal() -> None:
    """stable-baselines3 1276: an end at the step limit was bootstrapped from."""
    data = recorded(Clock(both=True))
    assert np.flatnonzero(data.terminals).tolist() == [3, 7]
    assert not data.timeouts.any()


def test_statistics_within_a_limit_of_time() -> None:
    """stable-baselines3 477 and 894, rl-baselines3-zoo 296: episodes that the limit ended were not counted."""
    env = gymnasium.wrappers.TimeLimit(gymnasium.wrappers.RecordEpisodeStatistics(Clock()), 3)
    assert evaluate(still, env, 5).lengths.tolist() == [3] * 5


def test_a_wrapper_that_resets_by_itself() -> None:
    """Gymnasium 1103, openai/gym 3177: the step after an end is the reset of another episode."""
    data = recorded(gymnasium.wrappers.Autoreset(Clock()))
    assert data.observations[:, 0].tolist() == [0, 1, 2, 3] * 2
    assert data.final_observations[:, 0].tolist() == [4, 4]


def test_vector_environments() -> None:
    """Gymnasium 1227, stable-baselines3 717: whose resets depend on a mode; alone and from a function."""
    several = gymnasium.vector.SyncVectorEnv([Clock, Clock])
    for given in (several, lambda: several):
        with pytest.raises(UnsupportedError, match="expected a single environment"):
            evaluate(still, given, 2)
        with pytest.raises(UnsupportedError, match="expected a single environment"):
            DQN(**SMALL).fit_online(given, 8, **QUIET)


def test_seed_0_is_a_seed() -> None:
    """PettingZoo 1459, Minari 172: it was taken for none."""
    env = Clock()
    evaluate(still, env, 3, seed=0)
    assert env.seeds == [0, 1, 2]


def test_actions_have_the_shape_and_the_dtype_of_their_space() -> None:
    """openai/gym 1999: observations took the shape of the action."""
    for acts in (
        spaces.Box(-1, 1, (1,)),
        spaces.Box(-1, 1, (2,), np.float64),
        spaces.Box(0, 5, (2,), np.int32),
    ):
        env = Clock(acts=acts)
        TD3(**SMALL).fit(recorded(env), 1, eval_env=env, eval_episodes=1, **QUIET)
        assert all(acts.contains(action) for action in env.actions)


def test_doubles_where_floats_were_declared() -> None:
    """dmc2gym 9, ray 33876, acme 107: networks failed on them."""
    env = Clock()
    env.buffer = np.zeros(2, np.float64)
    algo = DQN(**SMALL).fit(recorded(env), 1, eval_env=env, eval_episodes=1, **QUIET)
    assert algo.history[-1]["eval/return_mean"] == 4


def test_tables_as_observations() -> None:
    """d3rlpy 70: an observation of two axes, which is no image, failed."""
    env = Clock(spaces.Box(-99, 99, (5, 5), np.float32))
    algo = DQN(**SMALL).fit(recorded(env), 1, eval_env=env, eval_episodes=1, **QUIET)
    assert algo.history[-1]["eval/return_mean"] == 4


def test_returns_are_those_of_the_environment_given() -> None:
    """stable-baselines3 181 and 2091: rewards of a wrapper within were reported."""
    env = gymnasium.wrappers.TransformReward(Clock(), lambda reward: 10 * reward)
    assert evaluate(still, env, 2).returns.tolist() == [40, 40]


def test_dicts_of_discrete_actions() -> None:
    """ray 31734: its own recordings could not be read."""
    assert recorded(Clock(acts=spaces.Dict(a=spaces.Discrete(2)))).action_space == JointDiscrete([2])


def test_an_evaluation_within_a_run_leaves_what_wrappers_have_learned() -> None:
    """stable-baselines3 181: statistics of rewards, and the return of the episode that goes on."""
    env = gymnasium.wrappers.NormalizeReward(Clock())
    env.reset(seed=0)
    env.step(0)
    before = (env.return_rms.count, float(np.asarray(env.discounted_reward).item()))
    with statistics_kept(env):
        env.reset(seed=1)
        for _ in range(3):
            env.step(0)
    assert (env.return_rms.count, float(np.asarray(env.discounted_reward).item())) == before
    assert env.update_running_mean
