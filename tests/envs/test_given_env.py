"""The environment given is the one that is used, at every function that takes one."""

from __future__ import annotations

import functools
import json

import gymnasium
import numpy as np
import pytest

from offlinekit.algos import DQN, TD3, MLPEncoder, Population
from offlinekit.datasets import collect, get_dataset, make_env
from offlinekit.envs.env_facts import env_facts
from offlinekit.errors import MissingExtraError, UnsupportedError
from offlinekit.metrics import RandomPolicy, evaluate, overestimation_gap, record_video
from offlinekit.sweeps import Plan, Sweep
from offlinekit.sweeps.skill_datasets import record_levels

QUIET = {"out": None, "progress": False, "value_alarm": "off", "eval_episodes": 3}
SMALL = {"batch_size": 8, "seed": 0, "device": "cpu", "encoder": MLPEncoder((8,))}


def upright_only(env):
    """CartPole that any angle ends."""
    env.unwrapped.theta_threshold_radians = -1.0
    return env


def heavy(env):
    """LunarLander with a gravity that its constructor refuses."""
    env.unwrapped.gravity = -900.0
    return env


def out_of_reach(env):
    """Hopper that is healthy at no height."""
    env.unwrapped._healthy_z_range = (10.0, 20.0)
    return env


class Spied:
    """Counts what is done with one object and no other, by attributes of that object."""

    def __init__(self, env):
        self.steps = self.resets = 0
        self.inner = inner = env.unwrapped
        self._step, self._reset = inner.step, inner.reset
        inner.step, inner.reset = self.step, self.reset

    def step(self, action):
        self.steps += 1
        return self._step(action)

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return self._reset(seed=seed, options=options)


CHANGED = {
    "CartPole-v1": (upright_only, 1),
    "LunarLander-v3": (heavy, 20),
    "Hopper-v5": (out_of_reach, 1),
}
"""Name to what changes the environment after it was made, and the most steps that an episode then has."""


def learner(env, **more):
    return (DQN if isinstance(env.action_space, gymnasium.spaces.Discrete) else TD3)(**SMALL, **more)


def by_evaluate(env, data, folder):
    return evaluate(learner(env).build(data), env, 3).lengths.mean()


def by_fit(env, data, folder):
    return learner(env).fit(data, 1, eval_env=env, **QUIET).history[-1]["eval/length_mean"]


def by_fitter(env, data, folder):
    ((_, metrics),) = learner(env).fitter(data, 1, eval_env=env, **QUIET)
    return metrics["eval/length_mean"]


def by_seeds(env, data, folder):
    return by_population(env, data, folder, learner(env).fit(data, 1, seeds=2, eval_env=env, **QUIET))


def by_population(env, data, folder, population=None):
    members = Population([learner(env), learner(env, gamma=0.5)])
    population = population or members.fit(data, 1, eval_env=env, **QUIET)
    return np.mean([rows[-1]["eval/length_mean"] for rows in population.history])


def by_sweep(env, data, folder):
    settings = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8}
    plan = Plan(
        type(learner(env)).__name__, {"gamma": [0.5]}, set=settings, steps=1, metric="eval/return_mean"
    )
    Sweep.create(folder, plan, data, env, progress=False).run()
    (rows,) = folder.rglob("metrics.csv")
    names, *_, last = (line.split(",") for line in rows.read_text().split())
    return float(last[names.index("eval/length_mean")])


def by_collect(env, data, folder):
    return collect(RandomPolicy(env.action_space), env, 30, progress=False).episode_lengths().mean()


def by_gap(env, data, folder):
    overestimation_gap(learner(env).build(data), data, env=env, n_episodes=3)


def by_evaluator(env, data, folder):
    evaluators = {"gap": functools.partial(overestimation_gap, env=env)}
    learner(env).fit(data, 1, evaluators=evaluators, **QUIET)


def by_levels(env, data, folder):
    given = {"n_rows": 10, "rounds": 1, "steps": 10, "updates": 1, "progress": False}
    files = record_levels(env, folder, algo=learner(env), **given)
    return get_dataset(files["expert"])[0].episode_lengths().mean()


def by_video(env, data, folder):
    pytest.importorskip("imageio_ffmpeg")
    return record_video(RandomPolicy(env.action_space), env, folder / "film.mp4").n_steps


DOORS = [
    *(by_evaluate, by_fit, by_fitter, by_seeds, by_population, by_sweep),
    *(by_collect, by_gap, by_evaluator, by_levels, by_video),
]


@pytest.mark.parametrize("make", [gymnasium.make, make_env])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CHANGED)
def test_attributes_changed_on_the_environment_hold_at_every_door(name, door, make, tmp_path):
    change, longest = CHANGED[name]
    if make_env(name) is None:
        pytest.skip("the package of the environment is not installed")
    env = change(make(name, **({"render_mode": "rgb_array"} if door is by_video else {})))
    data = collect(RandomPolicy(env.action_space), name, 30, progress=False)
    spied = Spied(env)
    length = door(env, data, tmp_path)
    assert 0 < spied.steps <= longest * spied.resets
    assert length is None or length <= longest
    env.close()


@pytest.mark.parametrize("door", [door for door in DOORS if door not in (by_video, by_levels)])
def test_learned_statistics_of_a_wrapper_are_used_and_stay(door, tmp_path):
    class Half(gymnasium.Wrapper):  # A class that no name finds.
        def step(self, action):
            seen.append(self.env.obs_rms.count)
            return super().step(action)

    seen = []
    learned = gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1", max_episode_steps=5))
    learned.obs_rms.mean[:], learned.obs_rms.count = 7.0, 1000.0
    learned.update_running_mean = False
    data = collect(RandomPolicy(learned.action_space), "CartPole-v1", 30, progress=False)
    door(Half(learned), data, tmp_path)
    assert set(seen) == {1000.0}
    assert learned.obs_rms.mean.tolist() == [7.0] * 4


def sizes_of(env, **given):
    """Returns the result of an evaluation, and on how many observations at most the policy acted at once."""
    sizes = []

    def policy(observations):
        sizes.append(len(observations))
        return (observations[:, 2] + observations[:, 3] > 0).astype(int)

    return evaluate(policy, env, 4, max_steps=30, **given).returns.tolist(), max(sizes)


def test_several_at_once_by_a_function_a_name_or_an_object_made_here_that_is_untouched():
    alone, one = sizes_of(gymnasium.make("CartPole-v1"))
    assert one == 1
    _, untouched = get_dataset("cartpole-mixed")
    assert untouched.observation_space.shape == (4,)  # Looking at spaces is no touch.
    for env in (untouched, make_env("CartPole-v1"), "CartPole-v1", lambda: gymnasium.make("CartPole-v1")):
        assert sizes_of(env) == (alone, 4)
        assert sizes_of(env, n_envs=3) == (alone, 3)
        assert sizes_of(env, n_envs=1) == (alone, 1)


@pytest.mark.parametrize(
    "touch",
    [
        lambda env: setattr(env.unwrapped, "length", 0.5),
        lambda env: setattr(env.env.env.env.env, "gravity", 9.0),
        lambda env: setattr(env, "_max_episode_steps", 3),
        lambda env: env.set_wrapper_attr("gravity", 9.0),
        lambda env: setattr(env.get_wrapper_attr("observation_space"), "low", np.zeros(4)),
        lambda env: setattr(env, "step", env.step),
        lambda env: env.action_space.__dict__.update(start=1),
        lambda env: env._max_episode_steps,
    ],
)
def test_whatever_reaches_inside_an_object_made_here_is_a_touch(touch):
    env = make_env("CartPole-v1")
    touch(env)
    assert env.again() is None


def test_an_attribute_of_the_outermost_layer_is_set_there():
    env = make_env("CartPole-v1")
    env._max_episode_steps = 3
    assert evaluate(RandomPolicy(env.action_space), env, 2).lengths.tolist() == [3, 3]
    assert env._max_episode_steps == env.env._max_episode_steps == 3
    assert env.spec == gymnasium.make("CartPole-v1").spec


def test_fit_takes_a_function_a_name_and_n_envs_and_counts_none_as_the_environment_of_a_name(tmp_path):
    data, env = get_dataset("cartpole-mixed")
    given = {**QUIET, "out": tmp_path, "n_envs": 2, "max_steps": 4}
    for eval_env in (env, "CartPole-v1", lambda: gymnasium.make("CartPole-v1")):
        algo = DQN(**SMALL).fit(data, 1, eval_env=eval_env, **given)
        assert algo.history[-1]["eval/length_mean"] == 4
        config = json.loads((algo.run_dir / "config.json").read_text())
        assert (config["env_id"], config["eval_env"]) == ("CartPole-v1", "CartPole-v1")
    wrapped = gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))
    algo = DQN(**SMALL).fit(data, 1, eval_env=wrapped, **{**given, "n_envs": 1})
    config = json.loads((algo.run_dir / "config.json").read_text())
    assert (config["env_id"], config["env_note"]) == (None, "CartPole-v1 with NormalizeObservation")


def test_a_name_makes_the_environment_with_its_arguments():
    env = make_env("CartPole-v1", max_episode_steps=5)
    assert env_facts(env) == {"env_id": "CartPole-v1", "env_kwargs": {"max_episode_steps": 5}}
    assert env.again().spec.max_episode_steps == 5


@pytest.mark.filterwarnings("ignore:.*calling render method without")
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch):
    policy = RandomPolicy(gymnasium.spaces.Discrete(2))
    with pytest.raises(ValueError, match="gymnasium cannot make 'CartPol-v1'"):
        evaluate(policy, "CartPol-v1")
    with pytest.raises(UnsupportedError, match=r"expected a single environment.*lambda: gymnasium\.make"):
        evaluate(policy, gymnasium.make_vec("CartPole-v1", 2))
    with pytest.raises(UnsupportedError, match="API, got int"):
        evaluate(policy, lambda: 3)
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(UnsupportedError, match="make it with render_mode='rgb_array', or give its name"):
        record_video(policy, gymnasium.make("Acrobot-v1"), tmp_path / "film.mp4")
    monkeypatch.setattr("offlinekit.envs.given_env.make_env", lambda name: None)
    with pytest.raises(MissingExtraError, match="no environment 'Hopper-v4': its package is not installed"):
        evaluate(policy, "Hopper-v4")
