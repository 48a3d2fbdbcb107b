"""Every function that plays a policy refuses an environment of other spaces, in the same words."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DQN, DiscreteBC, Population
from offlinekit.datasets import MDPDataset, collect
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.frame_stacking import HistoryObservation, stack_images, stacked_observations
from offlinekit.envs.video import record_video
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics import overestimation_gap

QUICK = {"out": None, "progress": False}


class World(gymnasium.Env):
    """Shows zeros and ends after five steps."""

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, actions, shows):
        self.action_space, self.observation_space = actions, shows
        self.action_space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.zeros_like(self.observation_space.low), {}

    def step(self, action):
        self.n += 1
        return np.zeros_like(self.observation_space.low), 1.0, self.n == 5, False, {}

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)


VECTOR = spaces.Box(-1.0, 1.0, (3,), np.float32)
SIX = spaces.Discrete(6)


def learned(front, actions, **settings):
    data = MDPDataset(
        np.zeros((20, 3), np.float32), actions, np.ones(20), np.arange(20) % 5 == 4, action_space=SIX
    )
    return front(batch_size=4, seed=0, **settings).build(data), data


@pytest.fixture
def world(request):
    return {
        "more actions": lambda: World(spaces.Discrete(18), VECTOR),
        "fewer actions": lambda: World(spaces.Discrete(4), VECTOR),
        "other observations": lambda: World(SIX, spaces.Box(-1.0, 1.0, (4,), np.float32)),
    }[request.param]()


def online(algo, data, env, **settings):
    return algo.fit_online(env, 2, dataset=data, warmup_steps=1, **settings, **QUICK)


DOORS = {
    "evaluate": lambda algo, data, env: evaluate(algo, env, 1, progress=False),
    "evaluate a factory": lambda algo, data, env: evaluate(algo, lambda: env, 1, progress=False),
    "collect": lambda algo, data, env: collect(algo, env, 5, progress=False),
    "record_video": lambda algo, data, env: record_video(algo, env, "film.gif", progress=False),
    "a metric": lambda algo, data, env: overestimation_gap(algo, data, env=env, n_episodes=1),
    "fit": lambda algo, data, env: algo.fit(data, 1, eval_env=env, **QUICK),
    "fit, of a metric": lambda algo, data, env: algo.fit(
        data, 1, evaluators={"gap": functools.partial(overestimation_gap, env=env)}, **QUICK
    ),
    "a population": lambda algo, data, env: Population([algo, DQN(batch_size=4, seed=1)]).fit(
        data, 1, eval_env=env, **QUICK
    ),
    "fit_online": online,
    "fit_online, judged": lambda algo, data, env: online(algo, data, World(SIX, VECTOR), eval_env=env),
}


@pytest.mark.parametrize("world", ["more actions", "fewer actions", "other observations"], indirect=True)
@pytest.mark.parametrize("door", DOORS)
def test_environments_of_other_spaces_are_refused(door, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    algo, data = learned(DQN, np.arange(20) % 6)
    with pytest.raises(
        DatasetError, match=r"observes .* and acts .*Discrete\(6\).*name another environment by"
    ):
        DOORS[door](algo, data, world)
    assert not list(tmp_path.glob("*.gif"))


@pytest.mark.parametrize("door", ["evaluate", "collect", "record_video"])
def test_what_acts_step_by_step_is_compared_too(door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    algo, data = learned(DQN, np.arange(20) % 6)
    with pytest.raises(DatasetError, match=r"acts Discrete\(18\), but the policy has .*Discrete\(6\)"):
        DOORS[door](algo.as_stateful(), data, World(spaces.Discrete(18), VECTOR))


@pytest.mark.parametrize("door", ["evaluate", "collect"])
def test_a_policy_that_knows_no_spaces_passes(door):
    policy = lambda observations: np.zeros(len(observations), np.int64)  # noqa: E731
    assert DOORS[door](policy, None, World(spaces.Discrete(18), VECTOR))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((12, 12), r"frames \[H, W\] get an axis of channels by gymnasium.wrappers.TransformObservation"),
        ((12, 12, 1), "move the channels first by gymnasium.wrappers.TransformObservation"),
        ((3, 1, 12, 12), "leave out FrameStackObservation"),
    ],
)
def test_a_policy_of_stacks_names_the_wrapper_that_helps(shape, words):
    images = np.zeros((20, 1, 12, 12), np.uint8)
    data = MDPDataset(images, np.arange(20) % 6, np.ones(20), np.arange(20) % 5 == 4)
    algo = DiscreteBC(frame_stack=3, encoder="mlp", batch_size=4, seed=0).build(data)
    shown = World(SIX, spaces.Box(0, 255, shape, np.uint8))
    with pytest.raises(UnsupportedError, match=words):
        evaluate(algo, shown, 1, progress=False)
    assert (
        evaluate(algo, World(SIX, spaces.Box(0, 255, (1, 12, 12), np.uint8)), 1, progress=False).mean == 5.0
    )
    assert (
        evaluate(algo, World(SIX, spaces.Box(0, 255, (3, 12, 12), np.uint8)), 1, progress=False).mean == 5.0
    )


@pytest.mark.parametrize(
    ("stack", "kind"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("4", TypeError)]
)
def test_the_number_of_images_is_checked(stack, kind):
    env = World(SIX, spaces.Box(0, 255, (1, 12, 12), np.uint8))
    with pytest.raises(kind, match="frame_stack must be"):
        stack_images(env, stack)
    with pytest.raises(kind, match="history_length must be"):
        HistoryObservation(env, stack)
    data = MDPDataset(np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64), np.ones(4), np.ones(4))
    with pytest.raises(kind, match="frame_stack must be"):
        stacked_observations(data, np.arange(2), stack)


def test_a_single_image_given_to_a_policy_of_stacks_names_what_remembers():
    data = MDPDataset(
        np.zeros((20, 1, 12, 12), np.uint8), np.arange(20) % 6, np.ones(20), np.arange(20) % 5 == 4
    )
    algo = DiscreteBC(frame_stack=3, encoder="mlp", batch_size=4, seed=0).build(data)
    with pytest.raises(
        ValueError, match=r"got \[1, 12, 12\]; give single images .* which remembers the last 3"
    ):
        algo.predict(np.zeros((1, 12, 12), np.uint8))
    assert algo.as_stateful().predict(np.zeros((1, 12, 12), np.uint8)) in range(6)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((1, 8, 8), np.float32, r"float32 \[1, 8, 8\]; make bytes of them: np.round\(x \* 255\)"),
        ((8, 8), np.uint8, r"uint8 \[8, 8\]; frames .* need an axis of channels, e.g. x\[:, None\]$"),
        ((8, 8), np.float32, r"x\[:, None\], and to be bytes: np.round"),
        ((4,), np.float32, "leave frame_stack at 1; rows of numbers are remembered by history_length"),
    ],
)
def test_stacks_of_what_is_no_image_name_the_remedy_that_works(shape, dtype, words):
    data = MDPDataset(np.zeros((20, *shape), dtype), np.arange(20) % 6, np.ones(20), np.arange(20) % 5 == 4)
    with pytest.raises(DatasetError, match=words):
        DiscreteBC(frame_stack=2, encoder="mlp", batch_size=4).fit(data, 1, **QUICK)


def test_stacks_of_stacks_in_no_order_of_time_are_refused():
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 8, 8), np.uint8)
    data = MDPDataset(
        images, np.arange(20) % 6, np.ones(20), np.zeros(20), next_observations=images[::-1].copy()
    )
    with pytest.raises(DatasetError, match="use frame_stack=1 if they are stacked already"):
        DQN(frame_stack=4, encoder="mlp", batch_size=4).fit(data, 1, **QUICK)
