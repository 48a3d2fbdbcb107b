"""Stacks of images in dicts, tuples and beside legal actions, at every door that takes an environment."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gymnasium import spaces

from offlinekit.algos import QC, CNNEncoder, DiscreteCQL
from offlinekit.cli.main import main
from offlinekit.core.units import GreedyActions, SampledPolicy
from offlinekit.datasets import MDPDataset, collect
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.frame_stacking import FrameMemory, stack_images, stacked_observations
from offlinekit.envs.legal_actions import LegalActions
from offlinekit.envs.past.sight import stacked_space
from offlinekit.errors import UnsupportedError
from offlinekit.types import leaves, map_tree, rows, stack_trees

SIDE = 12
KINDS = ("dict", "tuple", "legal")
CAMERA = spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8)
SPEED = spaces.Box(-9, 9, (1,), np.float32)
QUICK = {"out": None, "progress": False}


class Ticking(gymnasium.Env):
    """An image of the number 10 * seed + t + 1, the vector [t], and two actions of which 1 is illegal at even t.

    An episode ends after three steps, by a time-out if its seed is odd. The reward is the action.
    """

    def __init__(self, kind="dict", discrete=True):
        self.kind = kind
        trees = {"dict": spaces.Dict(speed=SPEED, camera=CAMERA), "tuple": spaces.Tuple([SPEED, CAMERA])}
        self.observation_space = trees.get(kind, CAMERA)
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1, 1, (1,), np.float32)
        self.image = np.zeros(CAMERA.shape, np.uint8)  # One buffer, which each step overwrites.

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.first, self.t = 10 * ((seed or 0) % 25) + 1, 0
        return self.seen(), self.info()

    def step(self, action):
        self.t += 1
        over = self.t == 3
        return self.seen(), float(np.sum(action)), over and self.first % 20 < 10, over, self.info()

    def seen(self):
        self.image[:] = self.first + self.t
        speed = np.array([self.t], np.float32)
        trees = {"dict": {"camera": self.image, "speed": speed}, "tuple": (speed, self.image)}
        return trees.get(self.kind, self.image)

    def info(self):
        return {"action_mask": np.array([1, self.t % 2])}


def make(kind, discrete=True):
    return LegalActions(Ticking(kind)) if kind == "legal" else Ticking(kind, discrete)


def algorithm(front=DiscreteCQL, **options):
    encoder = CNNEncoder(filters=((4, 3, 2),), hidden_sizes=(8,))
    return front(
        **{"frame_stack": 3, "seed": 0, "batch_size": 4, "encoder": encoder, "device": "cpu", **options}
    )


def played(env, actions, seed):
    """Returns the observations of episodes that start from seed, seed + 1, ..., the rewards and the ends."""
    episodes, rewards, terminals = [], [], []
    for number, own in enumerate(np.reshape(actions, (-1, 3, *np.shape(actions)[1:]))):
        seen = [map_tree(np.array, env.reset(seed=seed + number)[0])]
        for action in own:
            after, reward, terminated, _, _ = env.step(action)
            seen.append(map_tree(np.array, after))
            rewards.append(reward)
            terminals.append(terminated)
        episodes.append(stack_trees(seen))
    return episodes, rewards, terminals


def recorded(env, actions, seed):
    """Returns the same as a dataset."""
    episodes, rewards, terminals = played(env, actions, seed)
    parts = [map_tree(lambda leaf: leaf[:-1], episode) for episode in episodes]
    return MDPDataset(
        map_tree(lambda *branches: np.concatenate(branches), *parts),
        np.asarray(actions),
        rewards,
        terminals,
        np.arange(len(rewards)) % 3 == 2,
        final_observations=stack_trees([rows(episode, -1) for episode in episodes]),
        action_space=env.action_space,
    )


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def data(kind):
    return recorded(make(kind), [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], 0)


@pytest.fixture(scope="module")
def trained(data):
    return algorithm().fit(data, 2, **QUICK)


def parts(observation, kind):
    """Returns the camera's numbers and what else is seen."""
    if kind == "tuple":
        return observation[1][..., 0, 0].tolist(), observation[0].tolist()
    camera, rest = ("camera", "speed") if kind == "dict" else ("observations", "legal_actions")
    assert sorted(observation) == sorted([camera, rest])
    return observation[camera][..., 0, 0].tolist(), observation[rest].tolist()


def assert_equal(first, second):
    for one, other in zip(leaves(first), leaves(map_tree(lambda a, b: b, first, second)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("pad", "before"), [("zero", 0), ("repeat", None)])
def test_an_environment_shows_stacks_of_its_images_alone(kind, pad, before):
    env = stack_images(make(kind), 3, pad)
    assert env.observation_space == stacked_space(make(kind).observation_space, 3)
    for seed, first in ((2, 21), (3, 31)):
        none = first if before is None else before
        expected = [[none, none, first], [none, first, first + 1], [first, first + 1, first + 2]]
        rest = [[1, 0], [1, 1], [1, 0]] if kind == "legal" else [[0.0], [1.0], [2.0]]
        shown = [env.reset(seed=seed)[0], env.step(0)[0], env.step(0)[0]]
        assert [parts(observation, kind) for observation in shown] == list(zip(expected, rest, strict=True))
        assert all(observation in env.observation_space for observation in shown)


def test_a_policy_that_is_evaluated_sees_what_samplers_make(kind, data, trained):
    batches = []

    class Spy:
        frame_stack, frame_pad = 3, "zero"
        impl = SimpleNamespace(
            observation_space=trained.impl.observation_space, action_space=trained.impl.action_space
        )

        def predict(self, observations):
            batches.append(observations)
            return np.zeros(len(leaves(observations)[0]), np.int64)

    evaluate(Spy(), lambda: make(kind), 2, n_envs=2, progress=False)
    # Two episodes side by side, which rows 0-2 and 3-5 of the data recorded.
    for t, seen in enumerate(batches):
        assert_equal(seen, stacked_observations(data, np.array([t, 3 + t]), 3))
    assert len(batches) == 3
    evaluate(Spy(), stack_images(make(kind), 3), 2, progress=False)  # One that stacks itself stays as it is.
    assert_equal(batches[3], stacked_observations(data, np.array([0]), 3))


def test_memories_stack_as_samplers_do(kind, data):
    seen = []
    memory = FrameMemory(lambda batch: (seen.append(batch), np.zeros(2, int))[1], 3, "zero")
    for episodes in ([4, 9], [9, 4]):  # The second time after both were forgotten.
        for t in range(3):
            memory.act(rows(data.observations, np.array([t, 3 + t])), [0.0, 0.0], episodes)
            assert_equal(seen[-1], stacked_observations(data, np.array([t, 3 + t]), 3))
        for episode in episodes:
            memory.forget(episode)


def test_trained_evaluated_and_fitted_with_an_environment(kind, data, trained, tmp_path):
    # The greedy actions on the stacks of an episode, one after another; the observations do not depend on them.
    paid = [float(trained.predict(stacked_observations(data, np.arange(3) + 3 * i, 3)).sum()) for i in (0, 1)]
    for env in (make(kind), stack_images(make(kind), 3)):
        assert evaluate(trained, env, 2, progress=False).returns.tolist() == paid
        assert evaluate(trained.as_stateful(), env, 2, progress=False).returns.tolist() == paid
    fitted = algorithm().fit(data, 2, eval_env=make(kind), eval_episodes=2, **QUICK)
    assert fitted.history[-1]["eval/return_mean"] == pytest.approx(np.mean(paid))


def test_a_stateful_actor_takes_single_images_or_stacks(data, trained):
    actor, stacks = trained.as_stateful(), stacked_observations(data, np.arange(6), 3)
    single = [actor.predict(rows(data.observations, i)) for i in range(3)]
    actor.reset()
    single += [actor.predict(rows(data.observations, i)) for i in range(3, 6)]
    actor.reset()
    assert single == trained.predict(stacks).tolist() == [actor.predict(rows(stacks, i)) for i in range(6)]


def test_online_rows_are_those_of_the_same_episodes_recorded(kind, data):
    algo = algorithm(seed=5)
    algo.fit_online(
        make(kind),
        12,
        dataset=data,
        epsilon=0.5,
        eval_env=make(kind),
        eval_episodes=1,
        log_interval=6,
        **QUICK,
    )
    assert algo.history[-1]["updates"] > 0
    new = algo.experience
    again = recorded(make(kind), new.actions, 5)
    assert_equal(new.observations, again.observations)
    assert_equal(new.final_observations, again.final_observations)
    for name in ("actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(new, name), getattr(again, name))
    assert np.all(new.terminals[[2, 5]] == [False, True])  # Seed 5 is odd: cut, and 6 ends.
    # Minibatches of them are what the environment shows through `stack_images`.
    batch = algo.make_sampler(new).gather(torch.arange(12))
    stacked = played(stack_images(make(kind), 3), new.actions, 5)[0]
    for i, episode in enumerate(stacked):
        now, after = (
            map_tree(lambda leaf, i=i: leaf[3 * i : 3 * i + 3].numpy(), tree)
            for tree in (batch.observations, batch.next_observations)
        )
        assert_equal(now, map_tree(lambda leaf: leaf[:-1], episode))
        if i % 2 == 0:  # It was cut; where the MDP ends nothing is learned from the observation after it.
            assert_equal(after, map_tree(lambda leaf: leaf[1:], episode))


def test_from_nothing_and_behind_a_guide_that_stacks(kind, trained):
    algo = algorithm(seed=1).fit_online(make(kind), 9, guide=trained, guide_steps=2, log_interval=3, **QUICK)
    # The guide takes two steps of the first episode, and stacks for itself.
    stacks = stacked_observations(algo.experience, np.arange(2), 3)
    assert algo.experience.actions[:2].tolist() == trained.predict(stacks).tolist()


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_chunks_of_actions_are_chosen_by_stacks(kind):
    data = recorded(make(kind, False), np.linspace(-1, 1, 12, dtype=np.float32)[:, None], 0)
    algo = algorithm(QC, n_step=2).fit(data, 1, eval_env=make(kind, False), eval_episodes=1, **QUICK)
    algo.fit_online(make(kind, False), 6, dataset=data, log_interval=3, **QUICK)
    assert len(algo.experience) == 6


@pytest.mark.parametrize("acting", [lambda algo: algo, GreedyActions, SampledPolicy])
def test_collected_rows_are_single_images(kind, data, trained, acting):
    found = collect(acting(trained), make(kind), 6, n_envs=1, progress=False)
    assert_equal(found.observations, rows(data.observations, slice(0, 6)))
    if acting is not SampledPolicy:
        assert found.actions.tolist() == trained.predict(stacked_observations(data, np.arange(6), 3)).tolist()
    if acting is GreedyActions:
        assert found.behavior_log_probs.tolist() == [0.0] * 6
    algorithm().fit(found, 1, **QUICK)


def test_an_environment_that_stacks_itself_goes_online_without(kind, data, trained):
    with pytest.raises(
        UnsupportedError, match="stacks 3 images itself; give an environment that shows single"
    ):
        trained.fit_online(stack_images(make(kind), 3), 6, dataset=data, **QUICK)
    trained.fit_online(make(kind), 6, dataset=data, log_interval=3, **QUICK)


def test_the_command_line_stacks(kind, data, tmp_path, request):
    name = f"Ticking-{kind}-v0"
    gymnasium.register(name, lambda: make(kind), disable_env_checker=True)  # Which refuses a buffer.
    request.addfinalizer(lambda: gymnasium.registry.pop(name))
    policy, file = algorithm().build(data).save(tmp_path / "policy.okt"), data.save(tmp_path / "data.h5")
    options = ["--env", name]
    for command in (
        ["evaluate", policy, *options, "--episodes", 1],
        [
            "finetune",
            policy,
            *options,
            "--steps",
            6,
            "--dataset",
            file,
            "--out",
            tmp_path,
            "--eval-episodes",
            1,
        ],
        ["datasets", "collect", "--policy", policy, *options, "--steps", 6, "--out", tmp_path / "new.h5"],
    ):
        result = CliRunner().invoke(main, list(map(str, command)))
        assert result.exit_code == 0, result.output
    new = MDPDataset.load(tmp_path / "new.h5")
    assert_equal(new.observations, rows(data.observations, slice(0, 6)))
    assert new.metadata["env_id"] == name


def test_what_has_no_images_to_stack():
    class Vector(Ticking):
        def __init__(self):
            super().__init__("dict")
            self.observation_space = SPEED

        def seen(self):
            return np.array([self.t], np.float32)

    with pytest.raises(UnsupportedError, match=r"shows none: its observations have the shapes \(1,\)"):
        stack_images(Vector(), 3)
    with pytest.raises(UnsupportedError, match=r"shows none: .* leave frame_stack at 1"):
        DiscreteCQL(frame_stack=3).fit_online(Vector(), 6, **QUICK)
    last = Ticking("plain")
    last.observation_space = spaces.Dict(camera=spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8))
    with pytest.raises(UnsupportedError, match=r"shows \[12, 12, 3\]; move the channels first"):
        stack_images(last, 3)
