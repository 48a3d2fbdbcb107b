"""Legal actions: an illegal one is never taken, nor enters a target, a penalty or a probability."""

from __future__ import annotations

import copy
import math

import gymnasium
import numpy as np
import pytest
import torch
from catalogue_variants import small_variants
from gymnasium import spaces
from torch import nn

import offlinekit
from offlinekit.algos import DQN, DiscreteBC, DiscreteCQL, DiscreteFQE, DiscreteSAC, DoubleDQN, Population
from offlinekit.core.export import FORMATS
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.collecting import collect
from offlinekit.deploy import NumpyPolicy
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.envs.legal_actions import LegalActions
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics import evaluate, ope
from offlinekit.metrics.ope.fitted_behaviour import _mixed
from offlinekit.metrics.ope.selection import select
from offlinekit.nn import losses
from offlinekit.nn.networks import StackedLinear

N, A, NEVER = 240, 4, 3
QUIET = {"out": None, "progress": False}
TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 16, "seed": 0}
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(N, 3)).astype(np.float32)
LEGAL = RNG.random((N, A)) < 0.5
LEGAL[:, NEVER] = False
LEGAL[np.arange(N), RNG.integers(0, NEVER, N)] = True
ACTIONS = np.array([RNG.choice(np.flatnonzero(row)) for row in LEGAL])
REWARDS = RNG.normal(size=N)
ENDS = np.arange(N) % 12 == 11


def dataset(**given):
    arguments = {"legal_actions": LEGAL, "action_space": spaces.Discrete(A), **given}
    return MDPDataset(STATES, ACTIONS, REWARDS, ENDS, **arguments)


def discrete():
    for case in small_variants(context=3):
        front = case.values[0]
        if front.action_kind == "discrete" and front.family != "OPE":
            yield case


def tree(states, legal):
    return {"observations": states, "legal_actions": legal}


@pytest.mark.parametrize(("front", "options"), list(discrete()))
def test_an_illegal_action_is_never_taken(front, options):
    algo = front(seed=0, batch_size=8, **options).fit(dataset(), 30, value_alarm="off", **QUIET)
    rng = np.random.default_rng(1)
    states, legal = rng.normal(size=(10_000, 3)), rng.random((10_000, A)) < 0.4
    legal[np.arange(10_000), rng.integers(0, A, 10_000)] = True  # Also the one that no row of the data has.
    if algo.is_stateful:
        actor = algo.as_stateful(sample=True)
        chosen = [actor.act(tree(states, legal), [0.0] * 10_000, range(10_000))]
    else:
        chosen = [act(states, legal_actions=legal) for act in (algo.predict, algo.sample_action)]
    for actions in chosen:
        assert legal[np.arange(10_000), actions].all()


@pytest.mark.parametrize(("front", "options"), list(discrete()))
def test_what_a_network_says_of_an_illegal_action_teaches_nothing(front, options):
    """Action 3 is illegal in every row: with other weights of its outputs all else learns the same bits."""
    data = dataset()
    algo = front(seed=0, batch_size=8, **options).build(data)
    batch = algo.sample_batch(data)
    other = copy.deepcopy(algo)
    with torch.no_grad():
        for module in other.impl.modules():
            for weights in outputs_of(module):
                weights += 50.0
    for each in (algo, other):
        each.impl.update(batch)
        each.impl.update(batch)
        with torch.no_grad():
            for module in each.impl.modules():
                for weights in outputs_of(module):
                    weights.zero_()
    ours, theirs = (each.impl.state_tensors() for each in (algo, other))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def at_once():
    """Yields the algorithms that act on one row at a time."""
    yield from (case for case in discrete() if not case.values[0].impl_class.is_stateful)


@pytest.mark.parametrize(("front", "options"), list(at_once()))
def test_an_export_takes_what_predict_takes_and_nothing_illegal(front, options, tmp_path):
    algo = front(seed=0, batch_size=8, **options).fit(dataset(), 5, value_alarm="off", **QUIET)
    form = FORMATS["torchscript"]
    act = form.open(algo.export(tmp_path / "policy.pt"), algo.impl.observation_space)
    rng = np.random.default_rng(1)
    states, legal = rng.normal(size=(10_000, 3)), (rng.random((10_000, A)) < 0.4).astype(np.uint8)
    legal[np.arange(10_000), rng.integers(0, A, 10_000)] = 1
    actions = act(tree(states, legal))
    assert legal[np.arange(10_000), actions].all()
    np.testing.assert_array_equal(actions, algo.predict(states, legal_actions=legal))


@pytest.mark.filterwarnings("ignore:DiscreteBC imitates the rows that it draws")
@pytest.mark.parametrize(("front", "options"), list(at_once()))
def test_online_an_illegal_action_is_never_tried(front, options):
    """The environment refuses them; half of the actions are drawn at random."""
    algo = front(seed=0, batch_size=8, **{**options, "n_step": 1})
    settings = {"random_steps": 10, "warmup_steps": 10, **QUIET}
    try:
        algo.fit_online(LegalActions(Cards()), 30, epsilon=0.5, **settings)
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", ["mean", "qr"])
def test_fitted_values_of_a_policy_learn_nothing_of_an_illegal_action(kind):
    data = dataset()
    policy = DiscreteBC(**TINY).build(data)
    options = {**TINY, "q_function": kind, "n_quantiles": 5}
    fits = [DiscreteFQE(policy=policy, **options).build(data) for _ in range(2)]
    batch = fits[0].sample_batch(data)
    with torch.no_grad():
        for module in fits[1].impl.modules():
            for weights in outputs_of(module):
                weights += 50.0
    targets = [fit.impl.compute_target(batch) for fit in fits]
    assert torch.equal(*targets)


def test_estimates_keep_to_legal_actions():
    """A value at the floor of -1e9 in any target or weight would show: returns lie within 12 * 4."""
    data = dataset()
    report = ope.estimate(DiscreteSAC(**TINY).build(data), data, ["wis", "pdis"], gamma=0.9)
    values = [estimate.value for estimate in report.estimates.values()]
    assert np.abs([value for value in values if not np.isnan(value)]).max(initial=0.0) < 1e3


@pytest.mark.slow
def test_selection_keeps_to_legal_actions():
    data = dataset()
    policies = {"one": DiscreteBC(**TINY).build(data), "two": DiscreteSAC(**TINY).build(data)}
    chosen = select(policies, data, n_steps=5, n_resamples=2, encoder=TINY["encoder"])
    assert all(abs(candidate.value) < 1e3 for candidate in chosen.candidates)


def outputs_of(module):
    """Yields the weights of action 3 in a layer with outputs for each action, for each quantile of each action."""
    if isinstance(module, nn.Linear | StackedLinear):
        stacked = isinstance(module, StackedLinear)
        size = module.weight.shape[-1 if stacked else 0]
        if size in (A, 5 * A):
            own = slice(NEVER * size // A, (NEVER + 1) * size // A)
            yield module.weight[..., own] if stacked else module.weight[own]
            if module.bias is not None:
                yield module.bias[..., own]


def test_a_target_takes_the_best_legal_action():
    """Q(s') = [1, 7, 3, 0], r = 0.5, gamma = 0.5: of 0 and 2 0.5 + 0.5 * 3 = 2; of all 0.5 + 0.5 * 7 = 4."""
    algo = DQN(gamma=0.5, **TINY).build(dataset())
    with torch.no_grad():
        for network in (algo.impl.q, algo.impl.target_q):
            for parameter in network.parameters():
                parameter.zero_()
            network.network.mlp.layers[-1].bias[:] = torch.tensor([1.0, 7.0, 3.0, 0.0])
    batch = algo.sample_batch(dataset())
    one = torch.ones(len(batch.rewards))
    for legal, expected in (([1, 0, 1, 0], 2.0), ([1, 1, 1, 1], 4.0)):
        leaf = torch.tensor(legal, dtype=torch.uint8).expand(len(one), A)
        following = {**batch.next_observations, "legal_actions": leaf}
        given = batch._replace(rewards=0.5 * one, discounts=0.5 * one, next_observations=following)
        torch.testing.assert_close(algo.impl.compute_target(given), expected * one)


def test_penalties_run_over_legal_actions():
    """Logits [1, 2, floor]: log(e + e^2) - 1 = 1.31326 for action 0, and 0.1 * (1 + 4 + 0) / 3 = 0.16667 beside it."""
    logits = torch.tensor([[1.0, 2.0, losses.FLOOR]])
    row = losses.imitation_loss(logits, torch.tensor([0]), 0.1)
    assert row.item() == pytest.approx(1.31326 + 0.16667, abs=1e-4)
    assert losses.conservative_gap(
        logits[None].movedim(-1, 1), torch.tensor([[1.0]])
    ).item() == pytest.approx(1.31326, abs=1e-4)


def test_the_entropy_to_reach_is_that_of_legal_actions():
    """0.98 log 2 = 0.67929 where two of four actions are legal."""
    impl = DiscreteSAC(**TINY).build(dataset()).impl
    logits = torch.tensor([[0.3, 0.1, losses.FLOOR, losses.FLOOR], [0.0, 0.0, 0.0, losses.FLOOR]])
    entropies = impl.target_entropy(torch.log_softmax(logits, -1))
    torch.testing.assert_close(entropies, 0.98 * torch.tensor([math.log(2.0), math.log(3.0)]))


def test_values_are_those_of_legal_actions_where_they_matter():
    """Action 0 earns 10 in state G, is illegal in R, where 1 earns 1 and 2 nothing; S leads to R: Q(S, 1) = 0.9 * 1."""
    g, r, s = np.eye(3, dtype=np.float32)
    steps = [  # observation, action, reward, end, legal
        (g, 0, 10.0, True, [1, 0, 0]),
        (s, 1, 0.0, False, [0, 1, 0]),
        (r, 1, 1.0, True, [0, 1, 1]),
        (s, 1, 0.0, False, [0, 1, 0]),
        (r, 2, 0.0, True, [0, 1, 1]),
    ] * 20
    states, actions, rewards, ends, legal = map(np.array, zip(*steps, strict=True))
    data = MDPDataset(states, actions, rewards, ends, legal_actions=legal)
    options = {**TINY, "learning_rate": 1e-2, "gamma": 0.9, "batch_size": 64, "target_update_interval": 20}
    algo = DoubleDQN(**options).fit(data, 600, **QUIET)
    assert algo.predict(r, legal_actions=[0, 1, 1]) == 1
    assert algo.predict_value(s, legal_actions=[0, 1, 0]) == pytest.approx(0.9, abs=0.1)


def test_members_of_a_population_learn_what_they_do_alone():
    data = dataset()
    population = Population([DiscreteCQL(**{**TINY, "seed": seed}) for seed in range(2)]).fit(
        data, 20, **QUIET
    )
    assert population.stacks == [[0, 1]]
    alone = DiscreteCQL(**{**TINY, "seed": 1}).fit(data, 20, **QUIET)
    values = [algo.predict_value(STATES, ACTIONS, legal_actions=LEGAL) for algo in (population[1], alone)]
    np.testing.assert_allclose(*values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", FORMATS)
def test_exports_keep_to_legal_actions(form, tmp_path):
    algo = DiscreteCQL(observation_scaler="standard", **TINY).fit(dataset(), 10, **QUIET)
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    given = tree(STATES, LEGAL.astype(np.uint8))
    np.testing.assert_array_equal(act(given), algo.predict(STATES, legal_actions=LEGAL))
    if form == "numpy":
        alone = NumpyPolicy.load(tmp_path / "policy").predict(STATES, legal_actions=LEGAL)
        np.testing.assert_array_equal(alone, act(given))


def test_files_and_copies_keep_them(tmp_path):
    data = dataset()
    for again in (
        MDPDataset.load(data.save(tmp_path / "packed.h5")),
        MDPDataset.open(data.save(tmp_path / "plain.h5", compress=False)),
        data[3:],
        data.concat(data),
    ):
        assert again.observation_space == data.observation_space
        assert again.observations["legal_actions"].dtype == np.uint8
    algo = DiscreteCQL(**TINY).fit(data, 10, **QUIET)
    same = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    expected = algo.predict(STATES, legal_actions=LEGAL)
    np.testing.assert_array_equal(same.predict(tree(STATES, LEGAL)), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"legal_actions": ~LEGAL}, "says that the action taken, [0-3], is not legal at row 0"),
        ({"legal_actions": 0.5 * LEGAL}, "must be 0 or 1"),
        ({"legal_actions": LEGAL & (np.arange(N) != 7)[:, None]}, "has no legal action at row 7"),
        ({"legal_actions": LEGAL[:, :3]}, r"must have an entry for each of 4 actions, got 3"),
        ({"legal_actions": LEGAL[:9]}, "has 9 rows, expected 240"),
        ({"legal_actions": LEGAL[:, 0]}, r"must have shape \[N, A\]"),
        (
            {"next_observations": STATES + 1.0},
            "next_observations must have legal actions.*give next_observations=",
        ),
    ],
)
def test_data_that_contradict_their_legal_actions_are_refused(given, message):
    with pytest.raises(DatasetError, match=message):
        dataset(**given)


def test_they_are_of_discrete_actions():
    with pytest.raises(DatasetError, match="legal_actions are of discrete actions"):
        MDPDataset(STATES, STATES, REWARDS, ENDS, legal_actions=LEGAL)


def test_a_declared_space_is_that_of_the_rest():
    declared = spaces.Box(-9.0, 9.0, (3,), np.float32)
    assert dataset(observation_space=declared).observation_space["observations"] == declared


@pytest.mark.parametrize(
    ("legal", "message"),
    [
        (None, r"needs those of these observations: give legal_actions=\[B, A\]"),
        (np.zeros((N, A)), "no legal action at row 0"),
        (np.ones((N, 3)), "must have shape"),
        (2 * LEGAL, "must be booleans, or 0 and 1"),
        (LEGAL[:5], "as many rows in each part"),
    ],
)
def test_a_policy_refuses_to_act_without(legal, message):
    algo = DiscreteBC(**TINY).build(dataset())
    with pytest.raises(ValueError, match=message):
        algo.predict(STATES, legal_actions=legal)


def test_a_policy_that_has_learned_none_refuses_them():
    algo = DiscreteBC(**TINY).build(dataset(legal_actions=None))
    with pytest.raises(ValueError, match="learned from data without legal actions"):
        algo.predict(STATES, legal_actions=LEGAL)


def test_fitted_values_and_behaviours_run_over_legal_actions():
    """Shares [0.2, 0.3, 0.5] of which the first two are legal: [0.4, 0.6]; with a floor of 0.1: [0.41, 0.59, 0]."""
    mixed = _mixed(np.array([[0.2, 0.3, 0.5]]), np.array([[1, 1, 0]]), 0.1)
    np.testing.assert_allclose(mixed, [[0.41, 0.59, 0.0]])
    np.testing.assert_allclose(
        _mixed(np.array([[0.0, 0.0, 1.0]]), np.array([[1, 1, 0]]), 0.1), [[0.5, 0.5, 0.0]]
    )
    data = dataset()
    policy = DiscreteSAC(**TINY).fit(data, 10, **QUIET)
    fitted = DiscreteFQE(policy=policy, **TINY).fit(data, 20, **QUIET)
    assert np.abs(fitted.predict_value(STATES[:5], legal_actions=LEGAL[:5])).max() < 50.0
    probabilities = np.exp(
        [SampledPolicy(policy).log_prob(tree(STATES, LEGAL), np.full(N, a)) for a in range(A)]
    )
    np.testing.assert_allclose(probabilities.sum(0), 1.0, atol=1e-5)
    assert (probabilities[~LEGAL.T] == 0).all()


class Cards(gymnasium.Env):
    """Draws which of four actions are legal, refuses others, and ends after 9 steps."""

    observation_space = spaces.Box(-9, 9, (3,), np.float32)
    action_space = spaces.Discrete(A)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 9
        return self.drawn()

    def drawn(self):
        self.legal = (self.np_random.random(A) < 0.5).astype(np.int8)
        self.legal[self.np_random.integers(A)] = 1
        return self.np_random.normal(size=3).astype(np.float32), {"action_mask": self.legal}

    def step(self, action):
        assert self.legal[action]
        self.left -= 1
        observation, info = self.drawn()
        return observation, 1.0, self.left == 0, False, info


def test_an_environment_that_names_them_is_acted_in_legally():
    env = LegalActions(Cards())
    algo = DiscreteCQL(**TINY).fit(dataset(), 10, eval_env=env, eval_interval=10, **QUIET)
    assert evaluate(algo, env, 3).returns.tolist() == [9.0] * 3
    recorded = collect(algo, env, 200, epsilon=0.5, seed=1)
    assert recorded.observations["legal_actions"][np.arange(200), recorded.actions].all()
    online = DoubleDQN(**TINY).fit_online(env, 60, epsilon=0.5, random_steps=20, warmup_steps=20, **QUIET)
    assert online.predict(recorded.observations).shape == (200,)


def test_environments_without_are_refused_with_the_wrapper():
    algo = DiscreteBC(**TINY).build(dataset())
    with pytest.raises(ValueError, match=r"legal_actions\.LegalActions\(env\)"):
        evaluate(algo, Cards(), 1)
    with pytest.raises(DatasetError, match=r"wrap it.*LegalActions\(env\)"):
        algo.fit(dataset(), 2, eval_env=Cards(), **QUIET)
    with pytest.raises(UnsupportedError, match="has no 'mask'"):
        LegalActions(Cards(), key="mask").reset()
    with pytest.raises(UnsupportedError, match="legal actions are of discrete actions, got Box"):
        LegalActions(gymnasium.make("Pendulum-v1"))


def test_random_actions_are_legal_and_say_their_probability():
    """Of legal actions [0, 2] each has 1 / 2; action 1 has none."""
    policy = RandomPolicy(spaces.Discrete(3), seed=0)
    given = tree(np.zeros((1_000, 1)), np.tile(np.array([1, 0, 1], np.uint8), (1_000, 1)))
    drawn = policy(given)
    assert set(drawn) == {0, 2}
    assert 430 < (drawn == 0).sum() < 570
    expected = [math.log(0.5), -math.inf, math.log(0.5)]
    few = tree(np.zeros((3, 1)), np.tile(np.array([1, 0, 1], np.uint8), (3, 1)))
    np.testing.assert_allclose(policy.log_prob(few, np.arange(3)), expected)
