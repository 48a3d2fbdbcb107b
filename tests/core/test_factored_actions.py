"""Actions of more parts than joint numbers have outputs: networks have outputs for each part, and sum them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from catalogue_variants import small_variants
from gymnasium import spaces

import offlinekit
from offlinekit.algos import DQN, DiscreteBC, DiscreteBCQ, DiscreteCQL, DiscreteFQE, DiscreteSAC
from offlinekit.core.export import FORMATS
from offlinekit.core.impl import Impl
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete, one_hot, part_sizes
from offlinekit.metrics import ope
from offlinekit.nn import losses
from offlinekit.nn.policies import ActionParts
from offlinekit.nn.random import Random

N, D = 120, 13
QUIET = {"out": None, "progress": False}
TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 16, "seed": 0}
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(N, 3)).astype(np.float32)
SPACE = spaces.MultiDiscrete([2] * (D - 1) + [3])
PARTS = RNG.integers(0, SPACE.nvec, (N, D))
ENDS = np.arange(N) % 12 == 11
LEGAL = RNG.random((N, 2 * D + 1)) < 0.5
for row, offset in itertools.product(range(N), range(D)):
    LEGAL[row, 2 * offset + PARTS[row, offset]] = True


def dataset(**given):
    arguments = {"actions": PARTS, "action_space": SPACE, **given}
    return MDPDataset(STATES, rewards=RNG.normal(size=N), terminals=ENDS, **arguments)


def discrete():
    for case in small_variants(context=3):
        front = case.values[0]
        if front.action_kind == "discrete" and front.family not in ("OPE", "TEXT"):
            yield case


# The arithmetic, beside all joint actions of two small parts.

SMALL = ActionParts((2, 3))
OUTPUTS = torch.tensor([[1.0, 2.0, 0.5, -1.0, 3.0], [0.0, -2.0, 1.0, 4.0, -3.0]])
JOINT = OUTPUTS[:, :2, None] + OUTPUTS[:, None, 2:]  # [B, 2, 3]: q_1(s, a_1) + q_2(s, a_2).


def test_values_of_joint_actions_are_sums():
    """Of (1, 2, 0.5, -1, 3) the action (1, 2), 1 * 3 + 2 = 5, has 2 + 3 = 5; (0, 0), number 0, has 1 + 0.5 = 1.5."""
    assert SMALL.select(OUTPUTS[:1], torch.tensor([5])).tolist() == [5.0]
    assert SMALL.select(OUTPUTS[:1], torch.tensor([0])).tolist() == [1.5]
    for number in range(6):
        chosen = SMALL.select(OUTPUTS, torch.tensor([number, number]))
        torch.testing.assert_close(chosen, JOINT.flatten(1)[:, number])


def test_the_best_action_is_the_best_of_all_joint_ones():
    """(1, 2) = 5 in the first row, (0, 1) = 1 in the second."""
    assert SMALL.best(OUTPUTS).tolist() == JOINT.flatten(1).argmax(1).tolist() == [5, 1]


def test_soft_maxima_probabilities_and_expectations_are_those_of_all_joint_actions():
    every = torch.arange(6)
    soft = SMALL.total(lambda part: part.logsumexp(-1), OUTPUTS)
    torch.testing.assert_close(soft, JOINT.flatten(1).logsumexp(1))
    log_probs = SMALL.log_softmax(OUTPUTS)
    of_joint = torch.stack([SMALL.select(log_probs, every[i].expand(2)) for i in every], 1)
    torch.testing.assert_close(of_joint, torch.log_softmax(JOINT.flatten(1), 1))
    values = OUTPUTS.flip(1)
    joint_values = torch.stack([SMALL.select(values, every[i].expand(2)) for i in every], 1)
    torch.testing.assert_close(losses.expectation(log_probs, values), (of_joint.exp() * joint_values).sum(1))


def test_draws_have_the_parts_probabilities():
    """Logits (0, log 3) and (0, 0, 0): the first part is 1 in 3 of 4 draws."""
    logits = torch.tensor([[0.0, math.log(3.0), 0.0, 0.0, 0.0]]).expand(4_000, 5)
    drawn = SMALL.draw(SMALL.log_softmax(logits), Random(0, torch.device("cpu")))
    first, second = SMALL.choices(drawn)
    assert first.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert second.bincount().tolist() == pytest.approx([1_333] * 3, abs=120)
    assert torch.equal(SMALL.joined([first, second]), drawn)


def test_one_part_is_the_action_itself():
    whole = ActionParts((5,))
    actions = torch.tensor([3, 0])
    assert torch.equal(whole.select(OUTPUTS, actions), losses.select_actions(OUTPUTS, actions))
    assert whole.choices(actions)[0] is actions
    assert whole.split(OUTPUTS)[0] is OUTPUTS


def test_outputs_of_actions():
    """Of parts (2, ..., 2, 3) the outputs of part d begin at 2 d; spaces of few joint choices are whole."""
    space = JointDiscrete.of(SPACE)
    hot = one_hot(space.join(PARTS), space)
    assert hot.shape == (N, 27)
    expected = np.zeros((N, 27))
    for d in range(D):
        expected[np.arange(N), 2 * d + PARTS[:, d]] = 1
    np.testing.assert_array_equal(hot, expected)
    assert part_sizes(JointDiscrete([3, 2])) == (6,)
    assert part_sizes(JointDiscrete([4096])) == (4096,)
    assert part_sizes(JointDiscrete([4097, 1])) == (4097, 1)


# The catalogue.


@pytest.mark.parametrize(("front", "options"), list(discrete()))
def test_every_discrete_algorithm_learns_and_acts_in_parts(front, options):
    algo = front(seed=0, batch_size=8, **options).fit(dataset(), 6, value_alarm="off", **QUIET)
    actor = algo.as_stateful()
    assert SPACE.contains(actor.predict(STATES[0]))
    if not algo.is_stateful:
        assert all(SPACE.contains(action) for action in algo.predict(STATES))
        assert algo.sample_action(STATES).shape == (N, D)


@pytest.mark.parametrize(("front", "options"), list(discrete()))
def test_no_part_takes_an_illegal_choice(front, options):
    data = dataset(legal_actions=LEGAL)
    algo = front(seed=0, batch_size=8, **options).fit(data, 6, value_alarm="off", **QUIET)
    legal = np.random.default_rng(1).random((2_000, 27)) < 0.3
    choice = np.random.default_rng(2).integers(0, SPACE.nvec, (2_000, D))
    np.put_along_axis(legal, choice + 2 * np.arange(D), True, 1)
    states = np.random.default_rng(3).normal(size=(2_000, 3))
    if algo.is_stateful:
        tree = {"observations": states, "legal_actions": legal}
        chosen = [algo.as_stateful(sample=True).act(tree, [0.0] * 2_000, range(2_000))]
    else:
        chosen = [act(states, legal_actions=legal) for act in (algo.predict, algo.sample_action)]
    for actions in chosen:
        assert np.take_along_axis(legal, actions + 2 * np.arange(D), 1).all()


def test_the_best_parts_are_found():
    """The reward is the number of the twelve binary parts that equal the sign of the state, at most 12."""
    rng = np.random.default_rng(0)
    states = rng.choice([-1.0, 1.0], (1_500, 1)).astype(np.float32)
    parts = rng.integers(0, 2, (1_500, 14))
    rewards = (parts[:, :12] == (states > 0)).sum(1)
    data = MDPDataset(states, parts, rewards, np.ones(1_500), action_space=spaces.MultiBinary(14))
    options = {**TINY, "batch_size": 128, "learning_rate": 1e-2}
    for algo in (DQN(**options), DiscreteCQL(alpha=0.1, **options)):
        algo.fit(data, 250, **QUIET)
        asked = np.array([[-1.0], [1.0]], np.float32)
        assert algo.predict(asked)[:, :12].tolist() == [[0] * 12, [1] * 12]
        np.testing.assert_allclose(
            algo.predict_value(asked, np.array([[0] * 14, [0] * 14])), [12, 0], atol=1.5
        )


@pytest.mark.parametrize("form", FORMATS)
def test_exports_act_in_parts(form, tmp_path):
    parts, legal = PARTS[:, :3] * 8, np.ones((N, 51), np.uint8)
    legal[:, 3:8] = 0
    data = dataset(actions=parts, legal_actions=legal, action_space=spaces.MultiDiscrete([17] * 3))
    algo = DiscreteBCQ(**TINY).fit(data, 10, **QUIET)
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    seen = {"observations": STATES, "legal_actions": legal}
    np.testing.assert_array_equal(act(seen), algo.predict(seen))


def test_files_keep_the_parts(tmp_path):
    data = MDPDataset.load(dataset(legal_actions=LEGAL).save(tmp_path / "data.h5"))
    assert data.action_space == JointDiscrete.of(SPACE)
    assert len(data.statistics()["actions"]["counts"]) == 27
    algo = DiscreteSAC(**TINY).fit(data, 5, **QUIET)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    np.testing.assert_array_equal(loaded.predict(data.observations), algo.predict(data.observations))


def test_fitted_values_of_a_policy_are_those_of_its_parts():
    data = dataset()
    policy = DiscreteBC(**TINY).fit(data, 10, **QUIET)
    fqe = DiscreteFQE(policy=policy, **TINY).fit(data, 20, **QUIET)
    np.testing.assert_allclose(
        fqe.predict_value(STATES), fqe.predict_value(STATES, policy.predict(STATES)), rtol=1e-4, atol=1e-5
    )
    drawn = DiscreteFQE(policy=SampledPolicy(policy), **TINY).fit(data, 5, **QUIET)
    assert np.isfinite(drawn.predict_value(STATES)).all()


def test_the_entropy_to_reach_is_that_of_all_parts():
    """0.98 (12 log 2 + log 3) = 9.22805; of one legal choice in all parts but the last 0.98 log 3 = 1.07664."""
    assert DiscreteSAC(**TINY).build(dataset()).impl.target_entropy(torch.zeros(1, 27)) == pytest.approx(
        9.22805
    )
    impl = DiscreteSAC(**TINY).build(dataset(legal_actions=LEGAL)).impl
    log_probs = torch.tensor([[0.0, losses.FLOOR] * 12 + [-1.0, -1.0, -1.0]])
    assert impl.target_entropy(log_probs).item() == pytest.approx(1.07664, abs=1e-4)


def test_random_parts_are_legal_and_say_their_probability():
    """All parts but the last have one legal choice, the last two: 1 / 2."""
    legal = np.array([[1, 0] * 12 + [1, 0, 1]], np.uint8)
    tree = {"observations": np.zeros((1, 3)), "legal_actions": legal}
    policy = RandomPolicy(JointDiscrete.of(SPACE), seed=0)
    drawn = np.array([policy.__call__(tree)[0] for _ in range(20)])
    assert np.unique(drawn, axis=0).tolist() == [[0] * 13, [0] * 12 + [2]]
    assert policy.log_prob(tree, drawn[:1]) == pytest.approx(math.log(0.5))
    assert policy.log_prob(tree, np.array([1])) == -np.inf


# What cannot be done.


def test_what_needs_each_joint_action_is_refused_by_name():
    data = dataset()
    policy = DiscreteBC(**TINY).build(data)
    with pytest.raises(UnsupportedError, match=r"12,288 joint choices, more than 4,096; fit DiscreteFQE"):
        ope.estimate(policy, data)

    class Whole(Impl):
        def build(self):
            self.q = self.make_network(self.n_actions)

    with pytest.raises(UnsupportedError, match=r"Whole has an output for each action, .* by self\.parts"):
        DQN(impl_class=Whole, **TINY).build(data)
    with pytest.raises(UnsupportedError, match=r"more than the 4\.61e"):
        dataset(action_space=spaces.MultiDiscrete([100] * D))


def test_legal_choices_lack_in_no_part(tmp_path):
    without = LEGAL.copy()
    without[7, :2] = False
    with pytest.raises(DatasetError, match="has no legal action at row 7"):
        dataset(legal_actions=without)
    algo = DiscreteBC(**TINY).build(dataset(legal_actions=LEGAL))
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    for each in (algo, policy):
        with pytest.raises(ValueError, match="has no legal action at row 7 in part 0 of the action"):
            each.predict(STATES, legal_actions=without)
    other = LEGAL.copy()
    other[5, 2 * 3 + PARTS[5, 3]] = False
    other[5, 2 * 3 + 1 - PARTS[5, 3]] = True
    with pytest.raises(DatasetError, match="is not legal at row 5"):
        dataset(legal_actions=other)
