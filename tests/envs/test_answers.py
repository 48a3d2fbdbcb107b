"""What environments answer, at every function that steps one: rewards, ends and observations that are none."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest

from offlinekit.algos import DQN, DecisionTransformer, DiscreteDecisionTransformer, MLPEncoder, TD3PlusBC
from offlinekit.datasets import collect
from offlinekit.envs.answers import checked_step
from offlinekit.errors import DatasetWarning
from offlinekit.metrics import evaluate, record_video
from offlinekit.testing import small_dataset

SMALL = {"batch_size": 8, "seed": 0, "device": "cpu", "encoder": MLPEncoder((8,))}
QUIET = {"out": None, "progress": False, "value_alarm": "off", "eval_episodes": 2}


class Answering(gymnasium.Env):
    """Three steps an episode, of observations of small_dataset; one part of what a step returns is replaced."""

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, kind="discrete", *, first=None, **replaced):
        data = small_dataset(kind)
        self.observation_space, self.action_space = data.observation_space, data.action_space
        self.first, self.replaced, self.episodes = first, replaced, 0

    def reset(self, *, seed=None, options=None):
        self.t, self.episodes = 0, self.episodes + 1
        return (np.zeros(4, np.float32), {}) if self.first is None else self.first

    def step(self, action):
        self.t += 1
        answer = {
            "observation": np.zeros(4, np.float32),
            "reward": 1.0,
            "over": self.t == 3,
            "cut": False,
            "info": {},
        }
        given = {name: value(self) if callable(value) else value for name, value in self.replaced.items()}
        return tuple({**answer, **given}.values()) if "answer" not in given else given["answer"]

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)


def policy(observations):
    return np.zeros(len(observations), int)


DOORS = {
    "evaluate": lambda env, folder: evaluate(policy, env, 2),
    "fit": lambda env, folder: DQN(**SMALL).fit(small_dataset("discrete"), 1, eval_env=env, **QUIET),
    "collect": lambda env, folder: collect(policy, env, 5, progress=False),
    "record_video": lambda env, folder: record_video(policy, env, folder / "a.mp4"),
}
WRONG = {
    "None as reward": ({"reward": None}, r"reward of the environment's step 0 is None, expected a number"),
    "several rewards": ({"reward": np.ones(2)}, r"reward of the environment's step 0 is array\(\[1., 1.\]\)"),
    "a text": ({"reward": "1.0"}, r"reward of the environment's step 0 is '1.0'"),
    "None as end": ({"over": None}, r"terminated of the environment's step 0 is None"),
    "several ends": ({"cut": [True, False]}, r"truncated of the environment's step 0 is \[True, False\]"),
    "four values": ({"answer": (0, 1.0, True, {})}, r"step of the environment returned a tuple of 4"),
    "three of a reset": (
        {"first": (np.zeros(4, np.float32), {}, 0)},
        r"reset of the environment returned a tuple of 3, expected a pair",
    ),
    "another shape": (
        {"observation": np.zeros(3, np.float32)},
        r"step 0 gave an observation of shape \(3,\), .*what observation_space says, Box\(.*\(4,\)",
    ),
    "no pair": (
        {"first": np.zeros(4, np.float32)},
        r"reset of the environment returned ndarray, expected a pair",
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", WRONG)
def test_answers_that_are_none_are_refused_by_name_at_every_door(door, name, tmp_path):
    if door == "record_video":
        pytest.importorskip("imageio_ffmpeg")
    replaced, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        DOORS[door](Answering(**replaced), tmp_path)


class Unseeded(Answering):
    def reset(self):
        return super().reset()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("door", DOORS)
def test_a_reset_without_a_seed_is_refused_at_every_door(door, wrapped, tmp_path):
    env = gymnasium.wrappers.TimeLimit(Unseeded(), 3) if wrapped else Unseeded()
    with pytest.raises(TypeError, match=r"reset of Unseeded takes no seed.*def reset\(self, \*, seed=None"):
        DOORS[door](env, tmp_path)


@pytest.mark.parametrize("number", [np.array([2.0]), np.float32(2), np.int64(2), 2, np.array(2.0), [2.0]])
def test_one_number_is_a_reward_whatever_holds_it(number):
    answer = (0, number, np.bool_(True), np.array([False]), {})
    assert checked_step(answer, 0) == (0, 2.0, True, False)
    assert [type(value) for value in checked_step(answer, 0)[1:]] == [float, bool, bool]


def nan_once(env):
    return float("nan") if env.episodes == 1 else float(env.episodes)


def test_a_return_that_is_no_number_is_said_and_wins_nothing(tmp_path):
    with pytest.warns(UserWarning, match="add up to nan in the episode of seed 5: it has no return"):
        # Episodes: nan, then 3 * 2.
        assert np.array_equal(
            evaluate(policy, Answering(reward=nan_once), 2, seed=5).returns, [np.nan, 6], equal_nan=True
        )
    with pytest.raises(
        ValueError, match="reward of the environment's step 0 is nan, in the episode of seed 7"
    ):
        collect(policy, Answering(reward=float("nan")), 5, seed=7, progress=False)
    settings = {**QUIET, "out": tmp_path, "eval_interval": 1, "eval_episodes": 1}
    algo = DQN(**SMALL)
    with pytest.warns(UserWarning, match="it has no return"):
        algo.fit(small_dataset("discrete"), 3, eval_env=Answering(reward=nan_once), **settings)
    # The one check of spaces before update 1 resets nothing: episodes 1, 2, 3 give nan, 6, 9.
    assert np.array_equal([row["eval/return_mean"] for row in algo.history], [np.nan, 6, 9], equal_nan=True)
    assert DQN.load(algo.run_dir / "best.okt").grad_step == 3


def exported(algo, folder):
    from offlinekit import deploy

    return deploy.NumpyPolicy.load(algo.export(folder / "policy.safetensors", format="numpy"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_observations_that_are_not_finite_are_refused_wherever_a_policy_acts(kind, bad, tmp_path):
    data = small_dataset(kind)
    algo = (DQN if kind == "discrete" else TD3PlusBC)(**SMALL).build(data)
    batch = np.zeros((3, 4), np.float32)
    batch[1, 2] = bad
    sequence = (DiscreteDecisionTransformer if kind == "discrete" else DecisionTransformer)(
        batch_size=8, seed=0, context=2, width=8, n_heads=1, n_layers=1
    ).build(data)
    doors = [algo.predict, algo.sample_action, algo.predict_value, exported(algo, tmp_path).predict]
    for act in doors:
        for observations in (batch, batch[1], batch.astype(np.float64), batch.tolist()):
            with pytest.raises(ValueError, match="observations must be finite, got"):
                act(observations)
    with pytest.raises(ValueError, match=r"observations must be finite, got .* at \[0, 2\]"):
        sequence.as_stateful(1.0).predict(batch[1])
    with pytest.raises(ValueError, match="rewards must be finite, got nan"):
        sequence.as_stateful(1.0).predict(batch[0], float("nan"))
    wrong = [0.0, 0.0, bad, 0.0]
    with pytest.raises(ValueError, match="let the environment show finite numbers"):
        evaluate(algo, Answering(kind, observation=lambda env: np.array(wrong, np.float32)), 1)


def test_values_of_actions_that_are_not_finite_are_refused():
    algo = TD3PlusBC(**SMALL).build(small_dataset("continuous"))
    with pytest.raises(ValueError, match=r"actions must be finite, got nan at \[0, 1\]"):
        algo.predict_value(np.zeros((1, 4)), np.array([[0.0, np.nan]]))


def test_an_environment_of_another_range_of_actions_is_said():
    data = small_dataset("continuous")  # Of actions in [-2, 2].
    algo = TD3PlusBC(**SMALL).build(data)
    env = Answering("continuous")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(algo, env, 1)
    env.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    remedy = r"from -1 to 1, those of the policy and its data are from -2 to 2; .*RescaleAction\(env, -2, 2\)"
    with pytest.warns(DatasetWarning, match=remedy):
        evaluate(algo, env, 1)
    with pytest.warns(DatasetWarning, match=remedy):
        algo.fit(data, 1, eval_env=env, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(algo, gymnasium.wrappers.RescaleAction(env, -2, 2), 1)  # The remedy.
