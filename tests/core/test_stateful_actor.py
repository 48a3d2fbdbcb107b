"""Acting step by step: memories of episodes, chunks of actions, and algorithms that remember nothing."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from small_data import continuous_dataset
from windows import SMALL, walk_dataset

from offlinekit.algos import BC, DecisionTransformer
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.recorder import record_episodes
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.errors import NotFittedError, UnsupportedError
from offlinekit.metrics import evaluate


class Counting(gymnasium.Env):
    """Shows the number of the step, pays the action, and ends after a number of steps that its seed gives."""

    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (1,))
    action_space = gymnasium.spaces.Box(-100.0, 100.0, (1,))

    def reset(self, *, seed=None, options=None):
        self.time, self.end = 0, 3 + (seed or 0) % 3
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(1, self.time, np.float32), float(action[0]), self.time == self.end, False, {}


class Echo(StatefulPolicy):
    """Answers with the sum of rewards so far plus one; its memory is that sum."""

    def begin(self):
        return 0.0

    def choose(self, observations, rewards, memories):
        sums = [memory + reward for memory, reward in zip(memories, rewards, strict=True)]
        return np.array(sums, np.float32)[:, None] + 1.0, sums


class ChunkImpl(BCImpl):
    """Plans three actions at once, 1, 2 and 3 hundredths of the observation, and plays them out."""

    is_stateful = True

    def begin_episode(self, target_return):
        super().begin_episode(target_return)
        return torch.empty(0, 1)

    def take_steps(self, observations, rewards, memories, sample):
        chunks = [
            memory if len(memory) else 0.01 * observation * torch.arange(1.0, 4.0)[:, None]
            for memory, observation in zip(memories, observations, strict=True)
        ]
        return torch.stack([chunk[0] for chunk in chunks]), [chunk[1:] for chunk in chunks]


def chunked() -> BC:
    algo = BC(impl_class=ChunkImpl, seed=0, device="cpu", action_scaler=None)
    return algo.build(continuous_dataset(observation_size=1))


def test_a_policy_is_told_rewards_and_remembers_each_episode_by_itself():
    # Actions 1, 1 + 1, 1 + 1 + 2, ...: powers of two; episodes of 3, 4 and 5 steps return 7, 15 and 31.
    for n_envs in (1, 2, 3):
        result = evaluate(Echo(), Counting, 3, seed=0, n_envs=n_envs)
        np.testing.assert_array_equal(result.returns, [7.0, 15.0, 31.0])


def test_predict_and_reset():
    policy = Echo()
    assert policy.predict(np.zeros(1)) == 1.0
    assert policy.predict(np.zeros(1), 5.0) == 6.0
    policy.reset()
    assert policy.predict(np.zeros(1)) == 1.0


def test_an_evaluation_leaves_the_users_own_episode_alone():
    policy = Echo()
    policy.predict(np.zeros(1), 4.0)
    evaluate(policy, Counting(), 2)
    assert policy.predict(np.zeros(1), 1.0) == 6.0


def test_an_evaluation_begins_each_episode_anew():
    policy = Echo()
    first = evaluate(policy, Counting(), 3, max_steps=2).returns
    np.testing.assert_array_equal(first, evaluate(policy, Counting(), 3, max_steps=2).returns)


def test_a_chunk_is_played_out_before_the_next_one_is_planned():
    actor = chunked().as_stateful()
    seen = [actor.predict(np.full(1, 10.0 * i, np.float32)) for i in (1, 2, 3, 4, 5)]
    # Of the first observation 10: 0.1, 0.2, 0.3; then of the fourth: 0.4, 0.8.
    np.testing.assert_allclose(np.concatenate(seen), [0.1, 0.2, 0.3, 0.4, 0.8], rtol=1e-6)
    actor.reset()
    np.testing.assert_allclose(actor.predict(np.full(1, 20.0, np.float32)), [0.2], rtol=1e-6)


def test_evaluate_and_record_use_the_memory_of_an_algorithm():
    algo = chunked()
    # Observations 0, 1, 2, 3, 4: chunks of 0 and of 3. Returns 0, 0.03 and 0.03 + 0.06.
    assert algo.is_stateful
    np.testing.assert_allclose(evaluate(algo, Counting(), 3).returns, [0.0, 0.03, 0.09], atol=1e-6)
    for policy in (algo, SampledPolicy(algo)):
        data: MDPDataset = record_episodes(policy, Counting(), 12, seed=0)
        np.testing.assert_allclose(data.episode_returns(), [0.0, 0.03, 0.09], atol=1e-6)


def test_an_algorithm_without_memory_acts_step_by_step_as_predict_does():
    algo = BC(seed=0, device="cpu").build(continuous_dataset())
    observations = continuous_dataset().observations
    actor = algo.as_stateful()
    assert not algo.is_stateful
    for observation in observations:
        np.testing.assert_array_equal(actor.predict(observation, 1.0), algo.predict(observation))


def test_wrong_use_is_refused():
    with pytest.raises(NotFittedError, match="fit"):
        BC().as_stateful()
    with pytest.raises(UnsupportedError, match="leave out target_return"):
        chunked().as_stateful(3.0)
    with pytest.raises(ValueError, match="shape"):
        chunked().as_stateful().predict(np.zeros((1, 1, 1), np.float32))


def test_drawn_actions():
    algo = BC(policy="gaussian", seed=0, device="cpu").build(continuous_dataset())
    observation = continuous_dataset().observations[0]
    actor = algo.as_stateful(sample=True)
    assert actor.predict(observation) != actor.predict(observation)


def test_a_reward_may_be_an_array_of_one_number():
    actors = [DecisionTransformer(**SMALL).build(walk_dataset()).as_stateful(5.0) for _ in range(3)]
    seen = []
    for actor, reward in zip(actors, (2.0, [2.0], np.array([[2.0]])), strict=True):
        actor.predict(np.zeros(2, np.float32))
        seen.append(actor.predict(np.zeros(2, np.float32), reward))
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])
    for reward in ("1", None, [1.0, 2.0]):
        with pytest.raises(TypeError, match="reward must be one number"):
            actors[0].predict(np.zeros(2, np.float32), reward)
