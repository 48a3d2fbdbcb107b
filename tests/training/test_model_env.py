"""Episodes in a model: where they begin, which member answers, and how they end."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from offlinekit.datasets import MDPDataset, collect
from offlinekit.envs.evaluation import evaluate
from offlinekit.training.model_based.model_env import ModelEnv


class Counters:
    """Two members: the first adds the action, the second twice that; what they show is paid, and 8 is an end."""

    n_simulated = 2

    def sample_steps(self, observations: Any, actions: Any, rng: np.random.Generator) -> Any:
        after = observations + np.array([1.0, 2.0])[:, None, None] * actions
        return after, after[..., 0], after[..., 0] >= 8.0


DATA = MDPDataset(
    np.array([[1.0], [0.0], [0.0], [0.0], [3.0], [0.0]]), np.zeros((6, 1)), np.zeros(6), [0, 0, 0, 1, 0, 1],
    action_space=Box(-2, 2, (1,)),
)  # fmt: skip


def test_steps_are_those_of_members_that_are_drawn():
    env = ModelEnv(Counters(), DATA)
    assert env.max_steps == 4
    firsts, changes = set(), set()
    for seed in range(20):
        seen, _ = env.reset(seed=seed)
        firsts.add(float(seen[0]))
        after, reward, ended, cut, _ = env.step(np.array([1.0], np.float32))
        changes.add(float(after[0] - seen[0]))
        assert reward == float(after[0])
        assert not ended
        assert not cut
    assert firsts == {1.0, 3.0}
    assert changes == {1.0, 2.0}


def test_episodes_end_by_the_model_or_are_cut():
    env = ModelEnv(Counters(), DATA)
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[2:4] for _ in range(4)] == [(False, False)] * 3 + [(False, True)]
    env = ModelEnv(Counters(), DATA, max_steps=1)
    env.reset(seed=0)
    assert env.step(np.array([9.0]))[2:4] == (True, False)  # An end is no cut.


def test_the_same_seed_gives_the_same_episode_and_other_doors_take_it():
    env = ModelEnv(Counters(), DATA)

    def ones(observations: Any) -> Any:
        return np.ones((len(observations), 1), np.float32)

    means = [evaluate(ones, env, n_episodes=3, seed=1).mean for _ in range(2)]
    assert means[0] == means[1] > 0
    made = collect(ones, env, 9, seed=0, metadata={"synthetic": True})
    assert len(made) == 9
    assert made.metadata["synthetic"]
