"""Several discrete actions are one number inside, and come back in their parts."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from catalogue_variants import small_variants
from gymnasium import spaces

import offlinekit
from offlinekit.algos import DiscreteBC, DiscreteCQL, DiscreteFQE, DoubleDQN
from offlinekit.core.export import FORMATS
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.collecting import collect
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.envs.callable_policies import RandomPolicy, checked_actions
from offlinekit.errors import DatasetError, FileFormatError, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.metrics import evaluate, get_evaluator, ope

N = 120
QUIET = {"out": None, "progress": False}
TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 16, "seed": 0}
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(N, 3)).astype(np.float32)
PARTS = RNG.integers(0, (3, 2), (N, 2))
REWARDS = RNG.normal(size=N)
ENDS = np.arange(N) % 12 == 11
SPACE = spaces.MultiDiscrete([3, 2])


def dataset(actions=PARTS, space=SPACE, **given):
    return MDPDataset(STATES, actions, REWARDS, ENDS, action_space=space, **given)


def test_numbers_by_hand():
    """Of (3, 2) the last runs fastest: (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1) are 0 to 5."""
    joint = JointDiscrete([3, 2])
    parts = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]])
    assert joint.join(parts).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(joint.split(np.arange(6)), parts)
    assert joint == JointDiscrete.of(SPACE) != spaces.Discrete(6)
    assert JointDiscrete.of(spaces.MultiBinary(3)).sizes == (2, 2, 2)
    np.testing.assert_array_equal(dataset().actions, 2 * PARTS[:, 0] + PARTS[:, 1])


def discrete():
    for case in small_variants(["mean"], context=3):
        front = case.values[0]
        if front.action_kind == "discrete" and front.family != "OPE":
            yield case


@pytest.mark.parametrize(("front", "options"), list(discrete()))
def test_every_discrete_algorithm_acts_in_parts(front, options):
    algo = front(seed=0, batch_size=8, **options).fit(dataset(), 10, value_alarm="off", **QUIET)
    actor = algo.as_stateful()
    one = actor.predict(STATES[0])
    assert (one.shape, one.dtype) == ((2,), np.int64)
    assert SPACE.contains(one)
    if not algo.is_stateful:
        numbers = algo.impl.predict_best_action(algo._converter.observations(STATES)[0]).numpy()
        np.testing.assert_array_equal(algo.predict(STATES), np.stack([numbers // 2, numbers % 2], 1))
        assert algo.sample_action(STATES).shape == (N, 2)


def test_numbers_and_parts_have_the_same_values():
    algo = DiscreteCQL(**TINY).fit(dataset(), 10, **QUIET)
    values = [algo.predict_value(STATES, actions) for actions in (PARTS, dataset().actions)]
    np.testing.assert_array_equal(*values)
    assert get_evaluator("action_match")(algo, dataset()) == np.mean((algo.predict(STATES) == PARTS).all(1))


@pytest.mark.parametrize("form", FORMATS)
def test_exports_act_in_parts(form, tmp_path):
    algo = DiscreteCQL(**TINY).fit(dataset(), 10, **QUIET)
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    np.testing.assert_array_equal(act(STATES), algo.predict(STATES))


def test_files_keep_the_parts(tmp_path):
    again = MDPDataset.load(dataset().save(tmp_path / "data.h5"))
    assert again.action_space == dataset().action_space
    algo = DiscreteCQL(**TINY).fit(again, 10, **QUIET)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    np.testing.assert_array_equal(loaded.predict(STATES), algo.predict(STATES))
    forged = {**space_to_json(again.action_space), "n": 7}
    with pytest.raises(FileFormatError, match="are not the parts of 7 actions"):
        space_from_json(forged)


def test_estimates_are_those_of_the_numbers():
    """A policy that returns parts, and the same one of data with numbers, in every estimate."""
    logged = {"behavior_log_probs": np.full(N, -math.log(6))}
    algo = DiscreteBC(**TINY).fit(dataset(**logged), 20, **QUIET)
    numbers = dataset(dataset().actions, spaces.Discrete(6), **logged)
    same = DiscreteBC(**TINY).fit(numbers, 20, **QUIET)
    ours, theirs = ope.estimate(algo, dataset(**logged)), ope.estimate(same, numbers)
    assert {k: str(e.value) for k, e in ours.estimates.items()} == {
        k: str(e.value) for k, e in theirs.estimates.items()
    }
    fits = [
        DiscreteFQE(policy=policy, **TINY).fit(data, 20, **QUIET).predict_value(STATES)
        for policy, data in ((algo, dataset()), (same, numbers))
    ]
    np.testing.assert_array_equal(*fits)


@pytest.mark.parametrize(
    ("actions", "space", "message"),
    [
        (PARTS + 1, SPACE, r"must lie in MultiDiscrete\(\[3, 2\]\), got \[[1-3], 2\]"),
        (PARTS + 0.5, SPACE, "must be whole numbers"),
        (PARTS[:, :1], SPACE, r"must have shape \[N, 2\]"),
        (PARTS, None, r"action_space=MultiDiscrete\(\[\.\.\.\]\)"),
        (PARTS, spaces.MultiDiscrete([4, 3], start=[1, 1]), "declare larger parts, or the start"),
    ],
)
def test_wrong_parts_are_refused(actions, space, message):
    with pytest.raises(DatasetError, match=message):
        dataset(actions, space)


def test_too_many_joint_choices_are_refused():
    with pytest.raises(UnsupportedError, match=r"1\.22e\+19 joint choices, more than the 4\.61e\+18 that"):
        dataset(np.zeros((N, 20), int), spaces.MultiDiscrete([9] * 20))


class Levers(gymnasium.Env):
    """Two levers; ends after 5 steps."""

    observation_space = spaces.Box(-9, 9, (3,), np.float32)
    action_space = SPACE

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(3, np.float32), {}

    def step(self, action):
        assert SPACE.contains(np.asarray(action))
        self.left -= 1
        return self.np_random.normal(size=3).astype(np.float32), float(action[0]), self.left == 0, False, {}


def test_environments_with_parts_are_acted_and_recorded_in():
    algo = DiscreteCQL(**TINY).fit(dataset(), 10, eval_env=Levers(), eval_interval=10, **QUIET)
    assert len(evaluate(algo, Levers(), 3).returns) == 3
    recorded = collect(algo, Levers(), 60, epsilon=0.5)
    assert recorded.action_space == dataset().action_space
    assert len(np.unique(recorded.actions)) > 2
    online = DoubleDQN(**TINY).fit_online(Levers(), 10, **QUIET)
    assert SPACE.contains(online.predict(STATES[0]))


def test_random_parts_and_checks_of_what_policies_return():
    """Each of 3 * 2 joint choices has 1 / 6."""
    drawn = RandomPolicy(SPACE, seed=0)(np.zeros((50, 1)))
    assert SPACE.contains(drawn[0])
    log_probs = RandomPolicy(SPACE).log_prob(np.zeros((2, 1)), drawn[:2])
    np.testing.assert_allclose(log_probs, math.log(1 / 6))
    np.testing.assert_array_equal(checked_actions(drawn, SPACE, 50), drawn)
    assert checked_actions(drawn, JointDiscrete([3, 2]), 50).shape == (50,)
    for wrong, message in ((drawn[:, 0], r"shape \(50, 2\)"), (drawn + 2, "the policy returned action")):
        with pytest.raises(ValueError, match=message):
            checked_actions(wrong, SPACE, 50)


def test_legal_actions_are_those_of_the_numbers():
    legal = np.ones((N, 6))
    algo = DiscreteCQL(**TINY).fit(dataset(legal_actions=legal), 10, **QUIET)
    only = np.eye(6)[[3, 5]]
    assert algo.predict(STATES[:2], legal_actions=only).tolist() == [[1, 1], [2, 1]]
