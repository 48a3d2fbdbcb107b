"""Actions in the user's own numbers and structure, at every door: what a dataset takes, policies give back."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import offlinekit
from offlinekit.algos import (
    BC,
    DQN,
    SAC,
    TD3,
    DiscreteBC,
    DiscreteCQL,
    DiscreteFQE,
    DoubleDQN,
    Population,
)
from offlinekit.core.export import FORMATS
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.inspection.coverage import action_counts, action_names, output_names
from offlinekit.datasets.recording.collecting import collect
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.envs.callable_policies import RandomPolicy, checked_actions
from offlinekit.envs.env_spaces import check_environment
from offlinekit.envs.legal_actions import LegalActions
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.ground.action_spaces import (
    JointDiscrete,
    env_action,
    every_action,
    flat_actions,
    from_numbers,
    held_space,
    joined_actions,
    numbers_from_0,
    own_actions,
)
from offlinekit.metrics import evaluate, get_evaluator, ope

N = 96
QUIET = {"out": None, "progress": False}
TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 16, "seed": 0}
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(N, 3)).astype(np.float32)
REWARDS = RNG.normal(size=N)
ENDS = np.arange(N) % 12 == 11

DISCRETE = {
    "start": spaces.Discrete(5, start=3),
    "negative start": spaces.Discrete(5, start=-2),
    "starts": spaces.MultiDiscrete([3, 2], start=[1, -2]),
    "binary": spaces.MultiBinary(3),
    "binary table": spaces.MultiBinary((2, 2)),
    "discrete table": spaces.MultiDiscrete([[2, 3], [2, 1]], start=[[0, 1], [2, 3]]),
    "tuple": spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiBinary(2)]),
    "dict": spaces.Dict({"b": spaces.Discrete(2), "a": spaces.MultiDiscrete([2, 2], start=[1, 1])}),
    "factored": spaces.MultiDiscrete([2] * 13, start=[1] * 13),
}
CONTINUOUS = {
    "boxes": spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.Box(0, 2, (2,))]),
    "dict of boxes": spaces.Dict(
        {"gas": spaces.Box(0, 1, ()), "wheels": spaces.Box(-2, 2, (2, 2), np.float64)}
    ),
    "table": spaces.Box(-1, 1, (2, 2)),
    "number": spaces.Box(-1, 1, ()),
}
SPACES = DISCRETE | CONTINUOUS
STATE_SPACE = spaces.Box(-9, 9, (3,), np.float32)


def rows_of(space):
    """Returns N actions in the structure of a space, stacked along a first axis."""
    space.seed(0)
    return gymnasium.vector.utils.concatenate(
        space, [space.sample() for _ in range(N)], gymnasium.vector.utils.create_empty_array(space, N)
    )


def dataset(space, actions=None, **given):
    given = {"rewards": REWARDS, "terminals": ENDS, **given}
    return MDPDataset(STATES, rows_of(space) if actions is None else actions, action_space=space, **given)


def front_of(space):
    return DiscreteBC if isinstance(held_space(space), spaces.Discrete) else BC


def learner_of(space):
    return DoubleDQN if isinstance(held_space(space), spaces.Discrete) else SAC


class World(gymnasium.Env):
    """Refuses actions that its space does not contain; ends after 4 steps."""

    observation_space = STATE_SPACE

    def __init__(self, space):
        self.action_space, self.taken = space, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return np.zeros(3, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(action)
        self.left -= 1
        return self.np_random.normal(size=3).astype(np.float32), 1.0, self.left == 0, False, {}


def test_forms_by_hand():
    """Of sizes (3, 2) from (1, -2), (2, -1) is number (2 - 1) * 2 + (-1 + 2) = 3."""
    joint = held_space(DISCRETE["starts"])
    assert joint.join(np.array([2, -1])) == 3
    assert joint.split(np.array([3, 0])).tolist() == [[2, -1], [1, -2]]
    assert joint == held_space(spaces.Tuple([spaces.Discrete(3, start=1), spaces.Discrete(2, start=-2)]))
    assert joint != JointDiscrete([3, 2])
    assert repr(joint) == "MultiDiscrete([3, 2], start=[1, -2])"
    start = DISCRETE["start"]
    assert numbers_from_0(np.array([3, 7]), start).tolist() == [0, 4]
    assert from_numbers(np.array([0, 4]), start).tolist() == [3, 7]
    assert every_action(start).tolist() == [3, 4, 5, 6, 7]
    assert own_actions(every_action(joint), joint).tolist()[-1] == [3, -1]
    boxes = held_space(CONTINUOUS["dict of boxes"])
    assert boxes.low.tolist() == [0, -2, -2, -2, -2]
    assert boxes.high.tolist() == [1, 2, 2, 2, 2]
    tree = {"gas": np.array([5.0]), "wheels": np.arange(4.0).reshape(1, 2, 2)}
    flat = flat_actions(tree, CONTINUOUS["dict of boxes"])
    assert flat.tolist() == [[5, 0, 1, 2, 3]]
    again = env_action(flat[0], CONTINUOUS["dict of boxes"])
    assert again["gas"] == 5
    assert again["wheels"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("name", SPACES)
def test_a_policy_gives_back_what_the_data_have(name, tmp_path):
    """Learned by heart, so that the numbers themselves come back, from files too."""
    space = SPACES[name]
    space.seed(1)
    only = space.sample()
    data = dataset(
        space,
        gymnasium.vector.utils.concatenate(
            space, [only] * N, gymnasium.vector.utils.create_empty_array(space, N)
        ),
    )
    algo = front_of(space)(**TINY | {"learning_rate": 0.03}).fit(data, 150, **QUIET)
    flat = flat_actions(rows_like(space, only), space)[0]
    for policy in (algo, offlinekit.load(algo.save(tmp_path / "policy.okt"))):
        np.testing.assert_allclose(policy.predict(STATES[:2])[1], flat, atol=0.2)
        np.testing.assert_allclose(policy.predict(STATES[0]), flat, atol=0.2)
        assert space.contains(env_action(policy.predict(STATES[0]), space))
    read = MDPDataset.load(data.save(tmp_path / "data.h5"))
    assert read.action_space == data.action_space == space_from_json(space_to_json(data.action_space))
    np.testing.assert_array_equal(read.actions, data.actions)


def rows_like(space, action):
    return gymnasium.vector.utils.concatenate(
        space, [action], gymnasium.vector.utils.create_empty_array(space, 1)
    )


@pytest.mark.parametrize("name", SPACES)
def test_environments_take_what_policies_give(name):
    space = SPACES[name]
    algo = front_of(space)(**TINY).fit(dataset(space), 5, eval_env=World(space), eval_interval=5, **QUIET)
    assert evaluate(algo, World(space), 3).mean == 4
    assert evaluate(RandomPolicy(space), World(space), 2).mean == 4
    assert evaluate(RandomPolicy(held_space(space)), World(space), 2).mean == 4
    world = World(space)
    recorded = collect(algo, world, 40, epsilon=0.5)
    assert recorded.action_space == held_space(space)
    taken = [flat_actions(rows_like(space, action), space)[0] for action in world.taken[:40]]
    np.testing.assert_allclose(own_actions(recorded.actions, recorded.action_space), taken, rtol=1e-6)
    algo.fit(recorded, 2, **QUIET)


@pytest.mark.parametrize("name", SPACES)
def test_online_runs_act_and_remember(name):
    space, world = SPACES[name], World(SPACES[name])
    algo = learner_of(space)(**TINY)
    options = {"random_steps": 8, "eval_env": World(space), "eval_interval": 16, **QUIET}
    for _ in algo.fitter_online(world, 16, **options, dataset=dataset(space), mixing="append"):
        sampler, held = algo.sampler, held_space(space)
    taken = [joined_actions(flat_actions(rows_like(space, action), space), held)[0] for action in world.taken]
    for places, actions in (
        (torch.arange(sampler.n_kept), dataset(space).actions),
        (sampler.places_since(0), np.stack(taken)),
    ):
        rows, numbers = sampler.gather(places).actions.numpy(), numbers_from_0(actions, held)
        if isinstance(held, spaces.Box):
            numbers = algo.scaling.action.transform(numbers)
        np.testing.assert_allclose(rows, numbers, rtol=1e-6)
    population = Population([learner_of(space)(**TINY | {"seed": s}) for s in (0, 1)])
    population.fit_online(lambda: World(space), 8, **QUIET)
    assert space.contains(env_action(population[0].predict(STATES[0]), space))


@pytest.mark.parametrize(
    ("form", "name"),
    [
        *((form, "starts") for form in FORMATS),
        ("torchscript", "start"),
        ("numpy", "start"),
        ("numpy", "boxes"),
        ("numpy", "factored"),
    ],
)
def test_exports_give_the_same(form, name, tmp_path):
    space = SPACES[name]
    algo = front_of(space)(**TINY).fit(dataset(space), 5, **QUIET)
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    np.testing.assert_allclose(act(STATES), algo.predict(STATES), atol=1e-5)
    assert space.contains(env_action(np.asarray(act(STATES))[0], space))


def test_a_start_changes_no_number_but_the_actions():
    """The same rows numbered from 0 and from 3: networks, values, metrics and estimates are equal."""
    from_0 = RNG.integers(0, 5, N)
    legal = RNG.random((N, 5)) < 0.6
    legal[np.arange(N), from_0] = True
    pair = []
    for start in (0, 3):
        logged = {"behavior_log_probs": np.full(N, -math.log(5)), "legal_actions": legal}
        data = dataset(spaces.Discrete(5, start=start), from_0 + start, **logged)
        np.testing.assert_array_equal(data.actions, from_0 + start)
        algo = DiscreteCQL(**TINY).fit(data, 30, **QUIET)
        fqe = DiscreteFQE(policy=SampledPolicy(algo), **TINY).fit(data, 10, **QUIET)
        seen = data.observations
        numbers = {
            "actions": algo.predict(seen) - start,
            "values": algo.predict_value(seen, data.actions),
            "own values": algo.predict_value(seen, algo.predict(seen)),
            "fitted": fqe.predict_value(seen),
            "behaviour": DiscreteFQE(policy="behaviour", **TINY).fit(data, 10, **QUIET).start_value(data),
            "counts": data.statistics()["actions"]["counts"],
            **{
                metric: get_evaluator(metric)(algo, data)
                for metric in ("action_match", "td_error", "soft_opc", "out_of_distribution_distance")
            },
        }
        for behaviour in ("logged", "fit"):
            report = ope.estimate(algo, data, behaviour=behaviour, q_function=fqe)
            numbers |= {f"{behaviour}: {k}": str(e.value) for k, e in report.estimates.items()}
        pair.append(numbers)
    assert pair[0].keys() == pair[1].keys()
    for key, number in pair[0].items():
        np.testing.assert_array_equal(number, pair[1][key], err_msg=key)


def test_values_of_actions_outside_are_refused_in_our_words():
    algo = DQN(**TINY).fit(dataset(DISCRETE["start"]), 2, **QUIET)
    with pytest.raises(ValueError, match=r"whole numbers from 3 to 7, as those of the data, got 2"):
        algo.predict_value(STATES[:1], np.array([2]))
    joint = DQN(**TINY).fit(dataset(DISCRETE["starts"]), 2, **QUIET)
    for wrong, message in (
        ([[4, -2]], r"must lie in MultiDiscrete\(\[3, 2\], start=\[1, -2\]\), got \[4, -2\]"),
        ([[1, 0]], r"got \[1, 0\]"),
        ([[1, -2, 1]], r"must have the 2 parts of"),
        ([6], "whole numbers from 0 to 5"),
    ):
        with pytest.raises(ValueError, match=message):
            joint.predict_value(STATES[:1], np.array(wrong))


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (spaces.Discrete(3, start=1), np.zeros(N, int), r"must lie in Discrete\(3, start=1\), got 0"),
        (DISCRETE["dict"], {"b": np.zeros(N)}, r"must be a dict with keys \['a', 'b'\]"),
        (DISCRETE["tuple"], (np.ones(N), np.zeros((N - 1, 2))), "as many rows in each part"),
        (DISCRETE["tuple"], (np.ones(N),), "must be a tuple of 2"),
        (CONTINUOUS["boxes"], (np.ones(N), np.zeros(N)), r"must have shape \['N', 2\], got \[96\]"),
        (CONTINUOUS["boxes"], np.zeros((N, 2)), r"must have shape \[N, A\]"),
    ],
)
def test_wrong_actions_are_refused_by_name(space, actions, message):
    with pytest.raises(DatasetError, match=message):
        dataset(space, actions)


def test_discrete_beside_continuous_ones_are_refused_at_each_door():
    space = spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,))])
    for door in (
        lambda: dataset(space, np.zeros((N, 3))),
        lambda: SAC(**TINY).fit_online(World(space), 8, **QUIET),
        lambda: collect(RandomPolicy(spaces.Discrete(2)), World(space), 8),
        lambda: evaluate(lambda o: np.zeros(len(o)), World(space), 1),
    ):
        with pytest.raises(UnsupportedError, match=r"all discrete .* or all continuous"):
            door()


def test_a_numbering_is_part_of_what_was_learned():
    """A policy of Discrete(5, start=3) does not act, nor learn, where actions are numbered from 0."""
    algo = DQN(**TINY).fit(dataset(DISCRETE["start"]), 2, **QUIET)
    zero = spaces.Discrete(5)
    with pytest.raises(
        UnsupportedError, match=r"built for actions of Discrete\(5, start=3\), got Discrete\(5\)"
    ):
        algo.fit(dataset(zero, RNG.integers(0, 5, N)), 2, **QUIET)
    with pytest.raises(UnsupportedError, match=r"built for actions of Discrete\(5, start=3\)"):
        algo.fit_online(World(zero), 8, **QUIET)
    with pytest.raises(DatasetError, match=r"wrap it: .*lambda action: action \+ 3"):
        check_environment(STATE_SPACE, zero, World(DISCRETE["start"]))
    joint = DQN(**TINY).fit(dataset(spaces.MultiDiscrete([3, 2])), 2, **QUIET)
    with pytest.raises(UnsupportedError, match=r"built for actions of MultiDiscrete\(\[3, 2\]\)"):
        joint.fit(dataset(spaces.Discrete(6), RNG.integers(0, 6, N)), 2, **QUIET)


def test_actions_of_several_boxes_are_clipped_and_scaled_each_by_its_own():
    """Bounds (-1, 1) and (0, 2): halves of the ranges are 1 and 1, noise of 0.5 is 0.5 in both."""
    space = CONTINUOUS["boxes"]
    algo = TD3(**TINY, action_scaler="minmax").fit_online(
        World(space), 12, noise=0.5, dataset=dataset(space), **QUIET
    )
    acted = algo.predict(1e3 * STATES)
    assert (acted >= [-1, 0, 0]).all()
    assert (acted <= [1, 2, 2]).all()
    assert acted[:, 1:].max() > 1 or acted[:, 1:].min() < 1


def test_legal_actions_of_environments_with_a_start_and_with_parts():
    class Masked(World):
        def reset(self, **given):
            observation, _ = super().reset(**given)
            return observation, {"action_mask": self.mask()}

        def step(self, action):
            observation, *rest, _ = super().step(action)
            return observation, *rest, {"action_mask": self.mask()}

        def mask(self):
            return np.eye(self.n, dtype=np.int8)[self.n - 1]

    for name, last in (("start", 7), ("starts", [3, -1])):
        space = DISCRETE[name]
        Masked.n = int(held_space(space).n)
        env = LegalActions(Masked(space))
        recorded = collect(RandomPolicy(space), env, 8)
        assert own_actions(recorded.actions, recorded.action_space)[0].tolist() == last
        algo = DoubleDQN(**TINY).fit_online(LegalActions(Masked(space)), 12, random_steps=4, **QUIET)
        only = np.eye(Masked.n)[:1]
        first = {"start": 3, "starts": [1, -2]}[name]
        assert algo.predict(STATES[:1], legal_actions=only)[0].tolist() == first


def test_what_policies_return_is_checked_as_the_space_has_it():
    space = CONTINUOUS["boxes"]
    as_tuple = (np.zeros((2, 1)), np.ones((2, 2)))
    assert checked_actions(as_tuple, space, 2).tolist() == [[0, 1, 1]] * 2
    with pytest.raises(ValueError, match="expected actions of shape"):
        checked_actions(np.zeros((2, 2)), space, 2)
    with pytest.raises(ValueError, match=r"the policy returned action \[0, -2\]"):
        checked_actions(np.array([[0, -2]]), DISCRETE["starts"], 1)


def test_drift_and_coverage_name_own_numbers():
    assert action_names(dataset(DISCRETE["start"]), 5) == ["3", "4", "5", "6", "7"]
    assert action_names(dataset(DISCRETE["starts"]), 2, part=1) == ["-2", "-1"]
    assert output_names(dataset(DISCRETE["starts"])) == ["1, -2", "1, -1", "2, -2", "2, -1", "3, -2", "3, -1"]
    assert output_names(dataset(DISCRETE["start"])) == ["3", "4", "5", "6", "7"]
    factored = dataset(DISCRETE["factored"])
    assert output_names(factored)[:3] == ["[0]=1", "[0]=2", "[1]=1"]
    assert len(output_names(factored)) == len(action_counts(factored)) == 26
