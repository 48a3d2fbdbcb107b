"""Recording: what a row holds, how episodes end, and what survives an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from offlinekit.datasets import MDPDataset, collect
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.errors import DatasetError, UnsupportedError


class Counting(gymnasium.Env[Any, Any]):
    """Observes [seed, time]; earns 10 time + action; ends after seed % 3 + 1 steps, for odd seeds by a truncation."""

    observation_space: gymnasium.Space[Any] = gymnasium.spaces.Box(-1, 1000, (2,), np.float64)
    action_space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert seed is not None
        self.state = np.array([seed, 0.0])
        return self.state, {}

    def step(self, action: Any) -> Any:
        reward = 10 * self.state[1] + action
        self.state[1] += 1
        over, odd = self.state[1] > self.state[0] % 3, bool(self.state[0] % 2)
        return self.state, reward, over and not odd, over and odd, {}


class Nested(Counting):
    observation_space = gymnasium.spaces.Dict({"a": gymnasium.spaces.Tuple([Counting.observation_space])})
    action_space = gymnasium.spaces.Discrete(3, start=5)

    def reset(self, **kwargs: Any) -> Any:
        return {"a": (super().reset(**kwargs)[0],)}, {}

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        return ({"a": (observation,)}, *rest)


def made(cls: type[Counting] = Counting) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(EnvSpec("Ours-v0", entry_point=cls, disable_env_checker=True))


def by_time(observations: Any) -> Any:
    return (observations[:, 1] % 3).astype(np.int64)


def assert_same(left: MDPDataset, right: MDPDataset) -> None:
    for name in ("observations", "actions", "rewards", "terminals", "timeouts", "final_observations"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    np.testing.assert_array_equal(left.behavior_log_probs, right.behavior_log_probs)


@pytest.mark.parametrize("n_envs", [1, 2, 5])
def test_rows_of_whole_episodes_in_the_order_of_their_seeds(n_envs: int) -> None:
    # Seeds 4, 5, 6, 7: 2 steps and a terminal, 3 and a timeout, 1 and a terminal, 2 of which the first is kept.
    dataset = collect(by_time, made, 7, seed=4, n_envs=n_envs, metadata={"a": 1})
    assert dataset.observations.tolist() == [[4, 0], [4, 1], [5, 0], [5, 1], [5, 2], [6, 0], [7, 0]]
    assert dataset.actions.tolist() == [0, 1, 0, 1, 2, 0, 0]
    assert dataset.rewards.tolist() == [0, 11, 0, 11, 22, 0, 0]
    assert np.flatnonzero(dataset.terminals).tolist() == [1, 5]
    assert np.flatnonzero(dataset.timeouts).tolist() == [4, 6]
    assert dataset.final_observations.tolist() == [[4, 2], [5, 3], [6, 1], [7, 1]]
    assert dataset.final_known.all()
    assert dataset.behavior_log_probs is None
    assert dataset.metadata["a"] == 1
    assert dataset.metadata["env_id"] is None  # Which nobody has registered.
    assert dataset.metadata["env_note"].startswith("Ours-v0 with")
    assert dataset.observation_space.dtype == np.float32


def test_step_limits_are_timeouts() -> None:
    dataset = collect(by_time, made, 4, seed=2, n_envs=2, max_steps=2)
    assert dataset.observations.tolist() == [[2, 0], [2, 1], [3, 0], [4, 0]]
    assert dataset.timeouts.tolist() == [False, True, True, True]
    assert dataset.final_observations.tolist() == [[2, 2], [3, 1], [4, 1]]


def test_trees_and_actions_that_do_not_start_at_zero() -> None:
    dataset = collect(lambda o: np.full(len(o["a"][0]), 6), made(Nested), 3, seed=4)
    assert dataset.observations["a"][0].tolist() == [[4, 0], [4, 1], [5, 0]]
    assert dataset.actions.tolist() == [6, 6, 6]
    assert dataset.rewards.tolist() == [6, 16, 6]
    assert dataset.action_space == gymnasium.spaces.Discrete(3, start=5)


def test_probabilities_of_a_mixture() -> None:
    class Certain:
        """Takes action 1 for certain."""

        def predict(self, observations: Any) -> Any:
            return np.ones(len(observations), np.int64)

        def log_prob(self, observations: Any, actions: Any) -> Any:
            return np.where(actions == 1, 0.0, -np.inf)

    # Action 1: 0.7 + 0.3 / 3 = 0.8, each other 0.3 / 3 = 0.1.
    dataset = collect(Certain(), made(), 2000, epsilon=0.3)
    np.testing.assert_allclose(
        np.exp(dataset.behavior_log_probs), np.where(dataset.actions == 1, 0.8, 0.1), rtol=1e-6
    )
    assert abs(float((dataset.actions == 1).mean()) - 0.8) < 0.04  # Four standard errors.
    alone = collect(Certain(), made(), 5)
    assert alone.behavior_log_probs.tolist() == [0] * 5


def test_probabilities_that_the_policy_returns() -> None:
    def pair(observations: Any) -> Any:
        return by_time(observations), -observations[:, 1]

    dataset = collect(pair, made(), 7, seed=4)
    np.testing.assert_array_equal(dataset.behavior_log_probs, -dataset.observations[:, 1])
    assert collect(pair, made(), 7, seed=4, epsilon=0.5).behavior_log_probs is None
    with pytest.raises(ValueError, match=r"expected log-probabilities of shape \(5,\), got \(1,\)"):
        collect(lambda o: (by_time(o), np.zeros(1)), made, 7, n_envs=5)


def test_random_policies_know_their_densities() -> None:
    box = gymnasium.spaces.Box(np.array([0, -1], np.float32), np.array([4, 1], np.float32))
    np.testing.assert_allclose(RandomPolicy(box).log_prob([0], np.zeros((3, 2))), [-np.log(8)] * 3)
    dataset = collect(RandomPolicy(Counting.action_space), made(), 300)
    np.testing.assert_allclose(dataset.behavior_log_probs, -np.log(3), rtol=1e-6)
    assert np.bincount(dataset.actions).min() > 60
    with pytest.raises(UnsupportedError, match="uniform actions need a Discrete or a bounded Box"):
        RandomPolicy(gymnasium.spaces.Box(-np.inf, 1, (2,))).log_prob([0], np.zeros((3, 2)))


class Interrupted:
    """Random, and interrupted at a call."""

    def __init__(self, at: int | None = None) -> None:
        self.left = at
        self.random = RandomPolicy(Counting.action_space)
        self.seed, self.log_prob = self.random.seed, self.random.log_prob

    def predict(self, observations: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.random(observations)


def test_an_interrupted_recording_goes_on_to_the_same_file(tmp_path: Path) -> None:
    settings = {"seed": 3, "epsilon": 0.5, "n_envs": 2, "part_steps": 20}
    whole = collect(Interrupted(), made, 90, **settings, out=tmp_path / "whole.h5")  # type: ignore[arg-type]
    out = tmp_path / "out.h5"
    with pytest.raises(KeyboardInterrupt, match=r"after 2\d rows; the same command goes on behind them"):
        collect(Interrupted(20), made, 90, **settings, out=out)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "out.h5.parts").iterdir()] == ["00000.h5"]
    assert not out.exists()
    with pytest.raises(DatasetError, match=r"00000\.h5 was recorded with .* expected .*'epsilon': 0\.2"):
        collect(Interrupted(), made, 90, **{**settings, "epsilon": 0.2}, out=out)  # type: ignore[arg-type]
    policy = Interrupted(10_000)
    collect(policy, made, 90, **settings, out=out)  # type: ignore[arg-type]
    assert policy.left is not None
    assert policy.left > 10_000 - 45  # Parts are not recorded again.
    assert_same(MDPDataset.load(out), whole)
    assert_same(collect(Interrupted(), made, 90, **settings), whole)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "whole.h5"]
    assert len(np.unique(whole.observations[whole.episode_starts], axis=0)) == whole.n_episodes


def test_actions_are_clipped_before_they_are_taken() -> None:
    class Bounded(Counting):
        action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

        def step(self, action: Any) -> Any:
            return super().step(float(action[0]))

    dataset = collect(lambda o: np.full((len(o), 1), 7.0), made(Bounded), 4, seed=5)
    assert dataset.actions.tolist() == [[1]] * 4
    assert dataset.rewards.tolist() == [1, 11, 21, 1]


def test_each_part_has_a_seed_of_its_own() -> None:
    class Seeded:
        seeds: list[int] = []

        def seed(self, seed: int) -> None:
            self.seeds.append(seed)

        def __call__(self, observations: Any) -> Any:
            return by_time(observations)

    policy = Seeded()
    collect(policy, made(), 90, part_steps=20)
    first = policy.seeds[1:]  # Behind the one that every policy is given at first.
    assert len(first) == len(set(first)) >= 3
    collect(policy, made(), 90, part_steps=20)
    assert policy.seeds[-len(first) :] == first


def test_wrapped_environments_are_not_named_as_if_they_were_not() -> None:
    wrapped = gymnasium.wrappers.FlattenObservation(gymnasium.make("MountainCar-v0"))
    found = collect(lambda o: np.zeros(len(o), int), wrapped, 5).metadata
    assert found["env_id"] is None
    assert found["env_note"] == "MountainCar-v0 with FlattenObservation"


def test_unbounded_actions_have_no_density() -> None:
    class Vector(Counting):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)

        def step(self, action: Any) -> Any:
            return super().step(float(action[0]))

    assert collect(RandomPolicy(Vector.action_space), made(Vector), 6).behavior_log_probs is None
    with pytest.raises(UnsupportedError, match="uniform actions need a Discrete or a bounded Box"):
        collect(RandomPolicy(Vector.action_space), made(Vector), 6, epsilon=0.1)


def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    for name in ("n_steps", "n_envs", "part_steps"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            collect(by_time, made(), **{"n_steps": 1, name: 0})
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\], got 1.5"):
        collect(by_time, made(), 1, epsilon=1.5)
    (tmp_path / "a.h5").touch()
    with pytest.raises(FileExistsError, match=r"a.h5 is there already; remove it"):
        collect(by_time, made(), 1, out=tmp_path / "a.h5")
    with pytest.raises(
        UnsupportedError, match=r"do not hold observations of Discrete\(16\); wrap the environment"
    ):
        collect(lambda o: o, gymnasium.make("FrozenLake-v1"), 10)
    with pytest.raises(ValueError, match="expected integer actions"):
        collect(lambda o: np.zeros(len(o)), made(), 5)
