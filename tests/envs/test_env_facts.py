"""A name stands for an environment only while it makes an equal one."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from offlinekit.datasets import MDPDataset, collect, get_dataset, make_env
from offlinekit.envs.env_facts import env_facts
from offlinekit.metrics import RandomPolicy

NAMES = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "LunarLander-v3", "Hopper-v5"]


def lighter(env):
    env.unwrapped.model.body_mass[:] *= 0.5


CHANGES = [
    ("CartPole-v1", lambda env: setattr(env.unwrapped, "gravity", 20.0), "gravity"),
    ("CartPole-v1", lambda env: env.set_wrapper_attr("length", 2), "length"),
    ("CartPole-v1", lambda env: setattr(env.unwrapped, "step", env.unwrapped.step), "step"),
    ("CartPole-v1", lambda env: setattr(env.unwrapped, "action_space", gymnasium.spaces.Discrete(1)), None),
    ("Pendulum-v1", lambda env: setattr(env.unwrapped, "max_torque", np.float32(1)), "max_torque"),
    ("FrozenLake-v1", lambda env: env.unwrapped.desc.__setitem__((3, 3), b"H"), "desc"),
    ("LunarLander-v3", lambda env: setattr(env.unwrapped, "wind_power", 3.0), "wind_power"),
    ("Hopper-v5", lambda env: setattr(env.unwrapped, "_healthy_z_range", (0.2, 9.0)), "_healthy_z_range"),
    ("Hopper-v5", lighter, "model"),
]


def made(name, make):
    if make_env(name) is None:
        pytest.skip("the package of the environment is not installed")
    return make(name)


@pytest.mark.parametrize("make", [gymnasium.make, make_env])
@pytest.mark.parametrize(("name", "change", "attribute"), CHANGES)
def test_what_was_changed_is_noted_in_place_of_the_name(name, change, attribute, make):
    env = made(name, make)
    change(env)
    facts = env_facts(env)
    assert facts["env_id"] is None
    assert f"{name} with changed attributes: {attribute or 'action_space'}" == facts["env_note"]


@pytest.mark.parametrize("make", [gymnasium.make, make_env])
@pytest.mark.parametrize("name", NAMES)
def test_being_used_is_no_change(name, make):
    env = made(name, make)
    env.unwrapped.metadata  # noqa: B018  # To have looked inside is none either.
    for seed in range(3):
        env.reset(seed=seed)
        over = False
        for _ in range(60):
            over = over or any(env.step(env.action_space.sample())[2:4])
            if over:
                break
        assert env_facts(env)["env_id"] == name


def test_arguments_and_limits_of_time_are_kept():
    for limit in (5, -1):
        env = gymnasium.make("CartPole-v1", max_episode_steps=limit, sutton_barto_reward=True)
        facts = env_facts(env)
        assert facts == {
            "env_id": "CartPole-v1",
            "env_kwargs": {"sutton_barto_reward": True, "max_episode_steps": limit},
        }
        again = gymnasium.make(facts["env_id"], **facts["env_kwargs"])
        assert again.spec.max_episode_steps == env.spec.max_episode_steps


class Shaped(gymnasium.Env):
    """An environment with an argument that no file holds."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, reward=None):
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, True, False, {}


def test_what_no_name_makes_is_said(monkeypatch):
    assert env_facts(Shaped()) == {"env_id": None, "env_note": "Shaped, which has no name"}
    monkeypatch.setitem(
        gymnasium.registry, "Shaped-v0", gymnasium.envs.registration.EnvSpec("Shaped-v0", Shaped)
    )
    env = gymnasium.make("Shaped-v0", reward=abs)
    assert env_facts(env)["env_note"] == "Shaped-v0 with arguments that are no plain data: reward"
    env = gymnasium.make("Shaped-v0")
    assert env_facts(env) == {"env_id": "Shaped-v0", "env_kwargs": {}}
    monkeypatch.delitem(gymnasium.registry, "Shaped-v0")
    assert env_facts(env)["env_id"] is None


def test_a_recording_of_a_changed_environment_makes_none_of_its_name(tmp_path):
    env = gymnasium.make("CartPole-v1")
    env.unwrapped.gravity = 20.0
    collect(RandomPolicy(env.action_space), env, 20, out=tmp_path / "heavy.h5", progress=False)
    data, found = get_dataset(tmp_path / "heavy.h5")
    assert found is None
    assert data.metadata["env_note"] == "CartPole-v1 with changed attributes: gravity"
    assert isinstance(data, MDPDataset)
