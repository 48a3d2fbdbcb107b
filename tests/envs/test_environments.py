"""Environments by name, and legacy gym environments behind gymnasium's API."""

from __future__ import annotations

import os
import warnings
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from offlinekit.envs import environments
from offlinekit.envs.environments import MissingExtraWarning, as_gymnasium, make_env
from offlinekit.envs.legacy_gym import convert_space
from offlinekit.errors import UnsupportedError

OBSERVATION = np.zeros(2, np.float32)
BOX = SimpleNamespace(low=-np.ones(2), high=np.ones(2), dtype=np.float32, shape=(2,))
DISCRETE = SimpleNamespace(n=3, shape=())


class OldEnv:
    """gym 0.21: seed(), reset() -> observation, 4-tuple step; done after `length` steps."""

    observation_space, action_space = BOX, DISCRETE

    def __init__(self, length: int = 3, info: dict[str, Any] | None = None) -> None:
        self.length, self.info, self.count, self.seeds = length, info or {}, 0, list[int]()

    def seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def reset(self) -> Any:
        self.count = 0
        return OBSERVATION

    def step(self, action: int) -> Any:
        self.count += 1
        return OBSERVATION, 1, self.count >= self.length, dict(self.info)

    def render(self, mode: str = "human") -> str:
        return mode


class OldWrapper:
    """gym 0.21's Wrapper: forwards keywords that the environment below does not know."""

    observation_space, action_space = BOX, DISCRETE

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, **kwargs: Any) -> Any:
        return self.env.reset(**kwargs)

    def step(self, action: int) -> Any:
        return self.env.step(action)


class NewEnv(OldEnv):
    """gym 0.26: reset(seed=) -> (observation, info), 5-tuple step that never ends by itself."""

    seed = None  # type: ignore[assignment]  # gym 0.26 took the method away.

    def reset(self, seed: int | None = None, options: Any = None) -> Any:  # type: ignore[override]
        self.seeds.append(-1 if seed is None else seed)
        self.options = options
        return OBSERVATION, {"fresh": True}

    def step(self, action: int) -> Any:
        return OBSERVATION, 1.0, False, False, {}


def run(env: gymnasium.Env[Any, Any], n_steps: int) -> list[tuple[bool, bool]]:
    return [env.step(0)[2:4] for _ in range(n_steps)]


def test_done_of_a_4_tuple_is_a_termination() -> None:
    env = as_gymnasium(OldEnv(length=2))
    observation, info = env.reset(seed=7)
    assert observation is OBSERVATION
    assert info == {}
    assert run(env, 2) == [(False, False), (True, False)]
    assert env.unwrapped.env.seeds == [7]  # type: ignore[attr-defined]


@pytest.mark.parametrize("limited", [True, False])
def test_time_limit_flag_of_a_4_tuple_decides_between_truncation_and_termination(limited: bool) -> None:
    env = as_gymnasium(OldEnv(length=1, info={"TimeLimit.truncated": limited}))
    env.reset()
    assert run(env, 1) == [(not limited, limited)]


def test_step_limit_of_the_spec_truncates_and_restarts_with_each_episode() -> None:
    legacy = NewEnv()
    legacy.spec = SimpleNamespace(max_episode_steps=2)  # type: ignore[attr-defined]
    env = as_gymnasium(legacy)
    for _ in range(2):
        env.reset()
        assert run(env, 2) == [(False, False), (False, True)]


def test_termination_at_the_step_limit_stays_a_termination() -> None:
    legacy = OldEnv(length=2)
    legacy.spec = SimpleNamespace(max_episode_steps=2)  # type: ignore[attr-defined]
    env = as_gymnasium(legacy)
    env.reset()
    assert run(env, 2)[-1] == (True, False)


def test_reset_with_seed_and_info_is_used_where_it_exists() -> None:
    legacy = NewEnv()
    observation, info = as_gymnasium(legacy).reset(seed=5, options={"start": 1})
    assert (legacy.seeds, legacy.options, info) == ([5], {"start": 1}, {"fresh": True})
    assert observation is OBSERVATION


def test_seed_reaches_the_environment_below_wrappers() -> None:
    old, new = OldEnv(), NewEnv()
    as_gymnasium(OldWrapper(old)).reset(seed=3)
    as_gymnasium(OldWrapper(new)).reset(seed=4)
    assert (old.seeds, new.seeds) == ([3], [4])


def test_environment_without_seeds_warns() -> None:
    legacy = OldEnv()
    legacy.seed = None  # type: ignore[assignment, method-assign]
    env = as_gymnasium(legacy)
    env.reset()
    with pytest.warns(UserWarning, match="takes no seed"):
        env.reset(seed=1)


def test_step_of_another_length_is_refused() -> None:
    legacy = OldEnv()
    legacy.step = lambda action: (OBSERVATION, 1.0, False)  # type: ignore[assignment, method-assign]
    env = as_gymnasium(legacy)
    env.reset()
    with pytest.raises(UnsupportedError, match=r"4 values \(gym\) or 5 \(gymnasium\), got 3"):
        env.step(0)


def test_legacy_render_asks_for_an_image() -> None:
    assert as_gymnasium(OldEnv()).render() == "rgb_array"


def test_spaces_are_converted_by_shape() -> None:
    legacy = SimpleNamespace(spaces={"a": BOX, "b": SimpleNamespace(spaces=(DISCRETE, BOX))})
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    discrete = gymnasium.spaces.Discrete(3)
    expected = gymnasium.spaces.Dict({"a": box, "b": gymnasium.spaces.Tuple([discrete, box])})
    assert convert_space(legacy) == expected
    assert convert_space(SimpleNamespace(n=2, start=5)) == gymnasium.spaces.Discrete(2, start=5)
    assert convert_space(SimpleNamespace(n=2, shape=(2,))) == gymnasium.spaces.MultiBinary(2)
    assert convert_space(SimpleNamespace(nvec=[2, 3])) == gymnasium.spaces.MultiDiscrete([2, 3])
    assert convert_space(discrete) is discrete
    with pytest.raises(UnsupportedError, match="expected a space"):
        convert_space(object())


def test_as_gymnasium_refuses_what_is_no_single_environment() -> None:
    env = gymnasium.make("CartPole-v1")
    assert as_gymnasium(env) is env
    with pytest.raises(UnsupportedError, match="lacks reset, step"):
        as_gymnasium(object())
    vector = gymnasium.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(UnsupportedError, match="vector environment"):
        as_gymnasium(vector)
    vector.close()


def test_gym_0_26_runs_through_the_adapter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gym = pytest.importorskip("gym", reason="the legacy gym package is not installed")
        legacy = gym.make("CartPole-v1", disable_env_checker=True, max_episode_steps=5)
        env = as_gymnasium(legacy)
        first, _ = env.reset(seed=3)
        again, info = env.reset(seed=3)
        ends = [env.step(np.int64(i % 2))[2:4] for i in range(5)]
    np.testing.assert_array_equal(first, again)
    assert info == {}
    assert isinstance(env.observation_space, gymnasium.spaces.Box)
    assert env.observation_space.contains(first)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_make_env_returns_the_environment_of_that_version_without_a_notice() -> None:
    pytest.importorskip("mujoco", reason="the mujoco extra is not installed")
    env = make_env("Hopper-v4")
    assert env is not None
    assert env.spec is not None
    assert env.spec.id == "Hopper-v4"
    env.close()


@pytest.mark.parametrize(
    ("env_id", "extra"),
    [
        ("Hopper-v4", "offlinekit[mujoco]"),
        ("LunarLander-v3", "offlinekit[box2d]"),
        ("ALE/Pong-v5", "offlinekit[atari]"),
        ("AntMaze_UMaze-v4", "gymnasium-robotics"),
    ],
)
def test_missing_package_gives_none_and_names_the_extra(
    env_id: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(environments.importlib, "import_module", fail)
    with pytest.warns(MissingExtraWarning) as caught:
        assert make_env(env_id) is None
    assert f"pip install '{extra}'" in str(caught[0].message)


@pytest.mark.parametrize("env_id", ["CartPol-v1", "CartPole-v77", "no_such_module:Env-v0", "not a name"])
def test_unknown_environment_is_a_value_error(env_id: str) -> None:
    with pytest.raises(ValueError, match=f"gymnasium cannot make '{env_id}'"):
        make_env(env_id)


def test_unknown_argument_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"gymnasium cannot make 'CartPole-v1', colour=3"):
        make_env("CartPole-v1", colour=3)


def test_rendering_without_a_display_chooses_egl_but_keeps_a_users_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environments, "MadeEnv", lambda make, facts: None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MUJOCO_GL", "SDL_VIDEODRIVER"):
        monkeypatch.setenv(name, "so that its absence is restored")
        monkeypatch.delenv(name)
    make_env("CartPole-v1")
    assert "MUJOCO_GL" not in os.environ
    make_env("CartPole-v1", render_mode="rgb_array")
    assert (os.environ["MUJOCO_GL"], os.environ["SDL_VIDEODRIVER"]) == ("egl", "dummy")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    make_env("CartPole-v1", render_mode="rgb_array")
    assert os.environ["MUJOCO_GL"] == "osmesa"
