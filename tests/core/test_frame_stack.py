"""An algorithm on single images that stacks them itself, from the data to the file and the environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import offlinekit
from offlinekit.algos import DiscreteBC, DoubleDQN
from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import stack_images, stacked_observations
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics import action_match, initial_value

SIDE = 36
SETTINGS = {"out": None, "progress": False}


class Blinking(gymnasium.Env):
    """Shows noise; an episode lasts four steps."""

    observation_space = spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return self.observation_space.low, {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.low, 1.0, self.left == 0, False, {}


class StackedRuns(gymnasium.ObservationWrapper):
    """The same with three images in one observation."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)

    def observation(self, observation):
        return np.repeat(observation, 3, 0)


@pytest.fixture(scope="module")
def data():
    # The action says whether the image before the last was bright, which the last one does not show.
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 2, 400)
    images = np.broadcast_to((bright * 200).astype(np.uint8)[:, None, None, None], (400, 1, SIDE, SIDE))
    ends = np.arange(400) % 20 == 19
    before = np.where(np.arange(400) % 20 == 0, 0, np.roll(bright, 1))
    return MDPDataset(images, before, np.ones(400), ends)


def test_a_policy_sees_the_image_before_the_last(data):
    algo = DiscreteBC(frame_stack=3, seed=0, batch_size=32, learning_rate=1e-3).fit(data, 60, **SETTINGS)
    assert algo.impl.observation_space.shape == (3, SIDE, SIDE)
    assert action_match(algo, data) > 0.95
    blind = DiscreteBC(seed=0, batch_size=32, learning_rate=1e-3).fit(data, 60, **SETTINGS)
    assert action_match(blind, data) < 0.7


def test_stacks_in_files_environments_and_metrics(data, tmp_path):
    algo = DoubleDQN(frame_stack=3, frame_pad="repeat", seed=0, batch_size=8)
    algo.fit(data, 2, eval_env=StackedRuns(Blinking()), eval_episodes=1, **SETTINGS)
    assert algo.history[-1]["eval/return_mean"] == 4.0
    assert np.isfinite(initial_value(algo, data))
    stacks = stacked_observations(data, np.array([0, 41]), 3, "repeat")
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    assert (loaded.frame_stack, loaded.frame_pad) == (3, "repeat")
    np.testing.assert_array_equal(loaded.predict_value(stacks), algo.predict_value(stacks))
    loaded.fit(data, 1, **SETTINGS)
    with pytest.raises(ValueError, match=r"observations must have shape \[3, 36, 36\]"):
        algo.predict(data.observations[:2])


def test_an_environment_of_single_images_is_stacked(data):
    algo = DoubleDQN(frame_stack=3, seed=0, batch_size=8)
    algo.fit(data, 2, eval_env=Blinking(), eval_episodes=1, **SETTINGS)
    assert algo.history[-1]["eval/return_mean"] == 4.0


class Counting(Blinking):
    """Shows how many steps were taken, in two channels."""

    observation_space = spaces.Box(0, 255, (2, SIDE, SIDE), np.uint8)

    def seen(self):
        return np.stack([np.full((SIDE, SIDE), 10 * part + 4 - self.left, np.uint8) for part in (1, 2)])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        _, *rest = super().step(action)
        return self.seen(), *rest


@pytest.mark.parametrize(("pad", "first"), [("zero", [0, 0, 10, 20]), ("repeat", [10, 20, 10, 20])])
def test_stacks_of_an_environment_are_those_of_the_sampler(pad, first):
    env = stack_images(Counting(), 2, pad)
    assert env.observation_space.shape == (4, SIDE, SIDE)
    assert env.reset()[0][:, 0, 0].tolist() == first
    assert env.step(0)[0][:, 0, 0].tolist() == [10, 20, 11, 21]
    assert stack_images(Counting(), 1).reset()[0][:, 0, 0].tolist() == [10, 20]
    with pytest.raises(ValueError, match="frame_pad must be one of"):
        stack_images(Counting(), 2, "mirror")


def test_what_does_not_fit_is_refused(data):
    with pytest.raises(DatasetError, match=r"observes Box\[3, 36, 36\]"):
        DiscreteBC(frame_stack=2).fit(data, 1, eval_env=StackedRuns(Blinking()), **SETTINGS)
    vectors = MDPDataset(np.zeros((3, 2)), np.zeros(3, np.int64), np.zeros(3), np.zeros(3))
    with pytest.raises(DatasetError, match="needs uint8 images"):
        DiscreteBC(frame_stack=3).fit(vectors, 1, **SETTINGS)
    other = MDPDataset(
        np.zeros((3, 3, SIDE, SIDE), np.uint8), np.zeros(3, np.int64), np.zeros(3), np.zeros(3)
    )
    with pytest.raises(UnsupportedError, match="was built for observations"):
        DiscreteBC(frame_stack=3).build(data).fit(other, 1, **SETTINGS)
    with pytest.raises(ValueError, match="frame_pad must be one of"):
        DiscreteBC(frame_pad="mirror")


@pytest.mark.parametrize("pad", ["zero", "repeat"])
def test_stacks_to_look_at(pad):
    images = np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1, 1)
    tree = {"camera": images, "speed": np.ones((4, 1))}
    data = MDPDataset(tree, np.zeros(4, np.int64), np.zeros(4), np.array([0, 1, 0, 0]))
    found = stacked_observations(data, np.array([0, 1, 3]), 3, pad)
    # Episodes are rows 0-1 and 2-3.
    expected = {"zero": [[0, 0, 1], [0, 1, 2], [0, 3, 4]], "repeat": [[1, 1, 1], [1, 1, 2], [3, 3, 4]]}[pad]
    assert found["camera"].reshape(3, 3).tolist() == expected
    assert found["speed"].tolist() == [[1.0]] * 3
