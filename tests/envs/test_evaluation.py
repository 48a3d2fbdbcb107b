"""Evaluation: episodes, seeds, side-by-side environments, and what a policy may return."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from offlinekit.envs import evaluation as module
from offlinekit.errors import UnsupportedError
from offlinekit.metrics import Evaluation, RandomPolicy, as_policy, evaluate


class Countdown(gymnasium.Env[Any, Any]):
    """Starts at the seed modulo 5, plus 1, counts down; reward = 10 * start + action; ends at 0."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
    action_space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(3)
    made: list[Countdown] = []

    def __init__(self) -> None:
        self.closed = False
        self.buffer = np.zeros(1, np.float32)
        type(self).made.append(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert seed is not None
        self.start = self.buffer[0] = seed % 5 + 1
        return self.buffer, {}

    def step(self, action: Any) -> Any:
        self.buffer[0] -= 1
        return self.buffer, 10 * self.start + action, self.buffer[0] == 0, False, {}

    def close(self) -> None:
        self.closed = True


class Tree(Countdown):
    """Countdown with a dict of a tuple as observation and continuous actions."""

    observation_space = gymnasium.spaces.Dict(
        a=gymnasium.spaces.Tuple([Countdown.observation_space, gymnasium.spaces.Discrete(8)])
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return {"a": (super().reset(seed=seed)[0], 7)}, {}

    def step(self, action: Any) -> Any:
        assert action.dtype == np.float32
        _, _, terminated, truncated, info = super().step(0)
        return {"a": (self.buffer, 7)}, float(action.sum()), terminated, truncated, info


class Endless(Countdown):
    n_steps = 0

    def step(self, action: Any) -> Any:
        self.n_steps += 1
        assert self.n_steps < 100, "the evaluation does not stop"
        return self.buffer, 1.0, False, False, {}


@pytest.fixture(autouse=True)
def forget_made() -> None:
    Countdown.made.clear()


def made(cls: type[Countdown] = Countdown, max_episode_steps: int | None = None) -> gymnasium.Env[Any, Any]:
    spec = EnvSpec("Ours-v0", entry_point=cls, disable_env_checker=True, max_episode_steps=max_episode_steps)
    return gymnasium.make(spec)


def own_start(observations: Any) -> Any:
    """Acts by what is observed, so a mix-up of slots changes returns."""
    return observations[:, 0].astype(np.int64) % 3


@pytest.mark.parametrize("n_envs", [1, 2, 3, 10])
def test_returns_follow_the_seeds_of_episodes_however_many_run_side_by_side(n_envs: int) -> None:
    # Episode i: start s = (3 + i) % 5 + 1 = 4, 5, 1, 2. It lasts s steps and earns 10 s in each, plus
    # actions (s % 3, (s - 1) % 3, ..., 1 % 3): 4 -> 1+0+2+1, 5 -> 2+1+0+2+1, 1 -> 1, 2 -> 2+1.
    result = evaluate(own_start, made, 4, seed=3, n_envs=n_envs)
    np.testing.assert_array_equal(result.returns, [160 + 4, 250 + 6, 10 + 1, 40 + 3])
    np.testing.assert_array_equal(result.lengths, [4, 5, 1, 2])
    assert len(Countdown.made) == min(4, n_envs)


def test_start_values_are_of_the_start_states_in_the_order_of_episodes() -> None:
    result = evaluate(own_start, made, 4, seed=3, n_envs=2, value=lambda o: 2 * o[:, 0])
    assert result.start_values is not None
    np.testing.assert_array_equal(result.start_values, [8, 10, 2, 4])
    assert result.mean_start_value == 6


def test_what_a_function_made_is_closed() -> None:
    evaluate(own_start, made, 3)
    assert [env.closed for env in Countdown.made] == [True, True, True]
    evaluate(own_start, env := made(), 3)
    assert not env.unwrapped.closed


def test_what_a_function_made_is_closed_after_an_error() -> None:
    with pytest.raises(ValueError, match="expected integer actions"):
        evaluate(lambda o: np.zeros(len(o)), made, 3)
    assert [env.closed for env in Countdown.made] == [True, True, True]


def test_a_function_that_returns_one_environment_again_is_refused() -> None:
    env = made()
    with pytest.raises(ValueError, match="twice; let it make a new environment at each call"):
        evaluate(own_start, lambda: env, 2)


class Unrecorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    pass


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: env.unwrapped.__class__(), Unrecorded])
def test_an_object_runs_its_episodes_one_by_one(wrap: Any) -> None:
    env = wrap(made())
    Countdown.made.clear()
    sizes = set[int]()

    def policy(observations: Any) -> Any:
        sizes.add(len(observations))
        return own_start(observations)

    with pytest.warns(UserWarning, match="n_envs=4, but there is one environment"):
        result = evaluate(policy, env, 4, seed=3, n_envs=4)
    np.testing.assert_array_equal(result.lengths, [4, 5, 1, 2])
    assert sizes == {1}
    np.testing.assert_array_equal(evaluate(policy, env, 4, seed=3).lengths, [4, 5, 1, 2])


def test_legacy_environment_is_wrapped() -> None:
    class Legacy:
        """gym 0.21's API around a Countdown."""

        def __init__(self) -> None:
            self.env = Countdown()
            self.observation_space = SimpleNamespace(low=np.zeros(1), high=np.full(1, 10.0))
            self.action_space = SimpleNamespace(n=3)

        def seed(self, seed: int) -> None:
            self.last = seed

        def reset(self) -> Any:
            return self.env.reset(seed=self.last)[0]

        def step(self, action: Any) -> Any:
            observation, reward, terminated, _, info = self.env.step(action)
            return observation, reward, terminated, info

    np.testing.assert_array_equal(evaluate(own_start, Legacy(), 4, seed=3).returns, [164, 256, 11, 43])


def test_trees_of_observations_and_continuous_actions() -> None:
    def policy(observations: Any) -> Any:
        left, right = observations["a"]
        assert left.shape == (len(left), 1)
        assert (right == 7).all()
        return np.repeat(left, 2, axis=1) / 10  # float32 [B, 2]

    # Start 2: steps earn 2 * 0.2 and 2 * 0.1.
    result = evaluate(policy, made(Tree), 1, seed=1)
    np.testing.assert_allclose(result.returns, [0.6], rtol=1e-6)


def test_truncation_and_max_steps_end_an_episode() -> None:
    def policy(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64)

    np.testing.assert_array_equal(evaluate(policy, made(Endless, 7), 2).lengths, [7, 7])
    np.testing.assert_array_equal(evaluate(policy, made(Endless), 2, max_steps=3).returns, [3, 3])


def test_an_episode_without_an_end_is_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def policy(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64)

    monkeypatch.setattr("offlinekit.envs.episode_loop.LONGEST", 5)
    with pytest.warns(UserWarning, match=r"episode 0 had no end after 5 steps .*TimeLimit"):
        assert evaluate(policy, made(Endless), 2).returns.tolist() == [5, 5]
    limited = gymnasium.wrappers.TimeLimit(made(Endless), max_episode_steps=4)  # The remedy.
    assert evaluate(policy, limited, 1).returns.tolist() == [4]
    longer = gymnasium.wrappers.TimeLimit(made(Endless), max_episode_steps=9)  # A limit that is stated holds.
    assert evaluate(policy, longer, 1).returns.tolist() == [9]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            lambda n: np.zeros(n),
            r"expected integer actions of shape \(2,\).* returned float64 of shape \(2,\)",
        ),
        (lambda n: np.zeros((n, 1), int), r"returned int64 of shape \(2, 1\)"),
        (lambda n: np.zeros(n, bool), "returned bool"),
        (lambda n: 1, r"shape \(\)"),
        (lambda n: np.array([0, 3]), "returned action 3; the environment has actions 0 to 2"),
        (lambda n: np.array([-1, 0]), "returned action -1"),
        (lambda n: (np.zeros(n, int), None), r"tuple of 2.*predict\(o\)\[0\]"),
    ],
)
def test_wrong_discrete_actions_are_named(actions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(lambda o: actions(len(o)), made, 2)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((1, 3)), r"expected actions of shape \(1, 2\).* returned float64 of shape \(1, 3\)"),
        (np.zeros(2), r"shape \(2,\)"),
        (np.array([["a", "b"]]), "returned <U1"),
        (np.array([[0.0, np.nan]]), "not finite: nan"),
    ],
)
def test_wrong_continuous_actions_are_named(actions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(lambda o: actions, made(Tree), 1)


def test_wrong_value_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected value to return shape \(2,\).* got \(2, 1\)"):
        evaluate(own_start, made(), 2, value=lambda o: o)


@pytest.mark.parametrize("argument", ["n_episodes", "n_envs", "max_steps"])
def test_numbers_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        evaluate(own_start, made(), **{argument: 0})


class Agent:
    """An algorithm, as evaluation uses it."""

    has_value = True

    def predict(self, observations: Any) -> Any:
        return own_start(observations)

    def predict_value(self, observations: Any, actions: Any = None) -> Any:
        return observations[:, 0]

    def __call__(self) -> None:
        raise AssertionError("predict goes before being callable")


def test_an_algorithm_brings_its_own_value() -> None:
    assert evaluate(Agent(), made(), 4, seed=3).mean_start_value == 3
    Agent.has_value = False
    assert evaluate(Agent(), made(), 4, seed=3).mean_start_value is None
    Agent.has_value = True


@pytest.mark.parametrize(
    ("thing", "message"), [(3, "got int"), (Agent, "the class Agent; make, fit or load")]
)
def test_what_is_no_policy_is_refused(thing: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        as_policy(thing)


def test_unsupported_action_space_is_named() -> None:
    env = made()
    env.unwrapped.action_space = gymnasium.spaces.Text(2)
    with pytest.raises(
        UnsupportedError,
        match=r"must be all discrete \(Discrete, MultiDiscrete, MultiBinary\) or all continuous .*, got Text",
    ):
        evaluate(lambda o: np.zeros((len(o), 2)), env, 1)


def test_random_policy_is_seeded_within_bounds_and_leaves_other_generators_alone() -> None:
    space = gymnasium.spaces.Box(-2, 5, (3,), np.float32)
    space.seed(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # The global state is what must not move.
    first, second = RandomPolicy(space, seed=1), RandomPolicy(space, seed=1)
    observations = {"a": np.zeros((400, 2))}
    actions = first(observations)
    np.testing.assert_array_equal(actions, second(observations))
    assert not np.array_equal(actions, RandomPolicy(space, seed=2)(observations))
    assert actions.shape == (400, 3)
    assert -2 <= actions.min() < -1.8
    assert 4.8 < actions.max() <= 5
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    untouched = gymnasium.spaces.Box(-2, 5, (3,), np.float32, seed=0)
    np.testing.assert_array_equal(space.sample(), untouched.sample())


def test_random_policy_plays_cartpole_like_a_coin() -> None:
    env = gymnasium.make("CartPole-v1")
    result = evaluate(RandomPolicy(env.action_space), env, 50)
    assert 17 < result.mean < 28  # About 22 with standard error 1.6.
    again = evaluate(RandomPolicy(env.action_space), env, 50)
    np.testing.assert_array_equal(result.returns, again.returns)


def test_figures_of_an_evaluation() -> None:
    # Returns 1, 2, 6: mean 3, median 2, variance (4 + 1 + 9) / 3, standard error sqrt(14 / 2 / 3).
    result = Evaluation(np.array([1.0, 2.0, 6.0]), np.array([1, 2, 3]), np.array([0.0, 1.0, 5.0]))
    assert (result.mean, result.median, result.min, result.max) == (3, 2, 1, 6)
    assert result.std == pytest.approx((14 / 3) ** 0.5)
    assert result.standard_error == pytest.approx((7 / 3) ** 0.5)
    assert result.summary((1.0, 5.0)) == {
        "return_mean": 3.0,
        "return_std": result.std,
        "return_median": 2.0,
        "return_min": 1.0,
        "return_max": 6.0,
        "length_mean": 2.0,
        "value_start": 2.0,
        "score": 50.0,  # 100 * (3 - 1) / (5 - 1).
    }
    bare = Evaluation(np.array([1.0]), np.array([1]))
    assert bare.summary().keys() == result.summary().keys() - {"score", "value_start"}
    assert np.isnan(bare.standard_error)


def test_score_asks_the_dataset_and_is_none_where_it_does_not_know() -> None:
    known, unknown = SimpleNamespace(reference_scores=(1.0, 2.0)), SimpleNamespace(reference_scores=None)
    result = Evaluation(np.array([1.0, 2.0]), np.array([1, 1]))
    assert result.normalized(known) == 50
    assert result.normalized(unknown) is None
    assert "score" not in result.summary(unknown)
    np.testing.assert_array_equal(module.normalized_score(3.0, (1.0, 5.0)), 50)
