"""Policies of histories: every value method, from the data to the file, the environment and other programs."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import offlinekit
from offlinekit.algos import FQE, IQL, PRDC, QC, DiscreteCQL, Population, TD3PlusBC
from offlinekit.datasets import MDPDataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.envs.frame_stacking import HistoryObservation
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics import evaluate, initial_value, td_error
from offlinekit.metrics.ope import estimate
from offlinekit.metrics.ope.simulation import simulated
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.nn.encoders import CNNEncoder, GRUEncoder, MLPEncoder
from offlinekit.testing import small_dataset
from tests.catalogue_variants import small_variants

QUICK = {"out": None, "progress": False, "value_alarm": "off"}
GRU = GRUEncoder((8,), state_size=6, burn_in=1)
ROWS = np.arange(6.0, dtype=np.float32)[:, None] / 5


class Ramp(gymnasium.Env):
    """Shows its step and pays for the action -step: six steps an episode."""

    observation_space = spaces.Box(-10, 10, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number = 0
        return ROWS[0], {}

    def step(self, action):
        self.step_number += 1
        over = self.step_number == 5
        return ROWS[self.step_number], float(action[0]), False, over, {}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    ends = np.arange(60) % 6 == 5
    actions = rng.uniform(-1, 1, (60, 1)).astype(np.float32)
    return MDPDataset(
        np.tile(ROWS, (10, 1)), actions, rng.normal(size=60), ends, action_space=Ramp.action_space
    )


def histories(n_rows):
    """Returns the histories of an episode of Ramp, [6, K, 1]."""
    index = np.maximum(np.arange(6)[:, None] + np.arange(1 - n_rows, 1), 0)
    return ROWS[index]


@pytest.mark.parametrize(("front", "options"), [*small_variants(["mean"], warmup_steps=0)])
def test_every_value_method_takes_a_history(front, options):
    """Those that cannot have one say so at construction."""
    if "Always 1" in front.hyperparameters()["history_length"].meaning:
        with pytest.raises(ValueError, match="history_length must be 1"):
            front(history_length=3, **options)
        assert front.family in ("SEQ", "TEXT", "MB") or front.__name__ == "TACR", front
        return
    algo = front(history_length=3, batch_size=8, seed=0, **options)
    data = small_dataset(front.action_kind)
    if front.family == "OPE":
        algo.policy = "behaviour"
    algo.fit(data, 1, **QUICK)
    row_shape = data.observations.shape[1:]
    assert algo.impl.observation_space.shape == (3, *row_shape)
    if front.family == "OPE":
        return
    rows = np.asarray(data.observations[:3], np.float32)
    actor = algo.as_stateful()
    acted = [actor.predict(row) for row in rows]
    if not algo.is_stateful:
        seen = np.stack([rows[[0, 0, 0]], rows[[0, 0, 1]], rows])
        np.testing.assert_allclose(acted, algo.predict(seen), atol=1e-5)


def test_an_episode_is_remembered_row_by_row_and_forgotten_at_reset(data):
    algo = TD3PlusBC(history_length=4, encoder=GRU, batch_size=8, seed=0).fit(data, 2, **QUICK)
    actor, expected = algo.as_stateful(), algo.predict(histories(4))
    for _ in range(2):
        actor.reset()
        np.testing.assert_allclose([actor.predict(row) for row in ROWS], expected, atol=1e-6)
    two = actor.act(ROWS[:2], [0, 0], [0, 1])  # Two episodes side by side do not see each other.
    np.testing.assert_allclose(two, algo.predict(ROWS[[[0] * 4, [1] * 4]]), atol=1e-6)


def test_saved_evaluated_and_shown_by_an_environment(data, tmp_path):
    algo = TD3PlusBC(history_length=3, encoder=GRU, batch_size=8, seed=0).fit(
        data, 2, **QUICK, eval_env=Ramp()
    )
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    np.testing.assert_array_equal(loaded.predict(histories(3)), algo.predict(histories(3)))
    # The return of an episode is the sum of the actions at its first five histories; the last is seen alone.
    paid = float(algo.predict(histories(3))[:5].sum())
    for env in (Ramp(), HistoryObservation(Ramp(), 3)):
        played = evaluate(loaded, env, n_episodes=2)
        np.testing.assert_allclose(played.returns, paid, rtol=1e-5)
        np.testing.assert_allclose(
            played.start_values, algo.predict_value(histories(3)[:1]).repeat(2), rtol=1e-5
        )
    np.testing.assert_allclose(evaluate(loaded.as_stateful(), Ramp(), 1).returns, paid, rtol=1e-5)
    np.testing.assert_allclose(
        evaluate(loaded.as_stateful(), HistoryObservation(Ramp(), 3), 1).returns, paid, rtol=1e-5
    )


def test_chunks_are_chosen_by_histories(data):
    algo = QC(history_length=3, n_step=3, encoder=MLPEncoder((8,)), batch_size=8, seed=0).fit(
        data, 1, **QUICK
    )
    plain = evaluate(algo, Ramp(), 1).returns
    np.testing.assert_allclose(evaluate(algo, HistoryObservation(Ramp(), 3), 1).returns, plain, rtol=1e-5)


@pytest.mark.parametrize(
    "encoder", [pytest.param(MLPEncoder((8,)), marks=pytest.mark.slow), GRU], ids=["stacked", "gru"]
)
def test_exported_for_numpy_it_remembers_too(data, tmp_path, encoder):
    algo = TD3PlusBC(history_length=3, encoder=encoder, batch_size=8, seed=0).fit(data, 2, **QUICK)
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    actor = policy.as_stateful()
    for _ in range(2):
        actor.reset()
        acted = [actor.predict(row) for row in ROWS]
        np.testing.assert_allclose(acted, algo.predict(histories(3)), atol=1e-6)


@pytest.mark.slow
def test_exported_without_a_history_it_acts_by_the_newest_row(data, tmp_path):
    algo = TD3PlusBC(encoder=MLPEncoder((8,)), batch_size=8, seed=0).fit(data, 1, **QUICK)
    actor = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors")).as_stateful()
    np.testing.assert_allclose([actor.predict(row) for row in ROWS], algo.predict(ROWS), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch-export", "torchscript"])
def test_exported_for_other_programs(data, tmp_path, format):
    algo = TD3PlusBC(history_length=3, encoder=GRU, batch_size=8, seed=0).fit(data, 1, **QUICK)
    algo.export(tmp_path / "policy", format)  # It compares itself with `predict`.


@pytest.mark.parametrize("encoder", [MLPEncoder((8,)), GRU], ids=["stacked", "gru"])
def test_recorded_updates_have_the_bits_of_eager_ones(data, encoder):
    def trained(engine):
        algo = IQL(history_length=3, encoder=encoder, batch_size=8, seed=0)
        return algo.fit(data, 20, engine=engine, **QUICK)

    one, other = (trained(engine).impl.state_tensors() for engine in ("eager", "auto"))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0)


def test_a_population_learns_as_its_members_do(data):
    def member(seed):
        return TD3PlusBC(history_length=3, encoder=GRU, batch_size=8, seed=seed)

    population = Population([member(0), member(1)]).fit(data, 4, **QUICK)
    for seed, trained in enumerate(population):
        alone = member(seed).fit(data, 4, **QUICK)
        np.testing.assert_allclose(trained.predict(histories(3)), alone.predict(histories(3)), atol=1e-5)


def test_resumed_bit_for_bit(data, tmp_path):
    def made():
        return IQL(history_length=3, encoder=GRU, batch_size=8, seed=0)

    settings = {"progress": False, "checkpoint_interval": 2, "value_alarm": "off", "log_interval": 2}
    straight = made().fit(data, 4, **QUICK)
    begun = made()
    next(begun.fitter(data, 4, out=tmp_path, **settings))
    resumed = made().fit(data, 4, resume=begun.run_dir, **settings)
    np.testing.assert_array_equal(resumed.predict(histories(3)), straight.predict(histories(3)))


def test_evaluators_see_what_the_policy_sees(data):
    algo = TD3PlusBC(history_length=3, encoder=GRU, batch_size=8, seed=0).fit(data, 2, **QUICK)
    starts = algo.predict_value(np.repeat(histories(3)[:1], 10, 0))
    np.testing.assert_allclose(initial_value(algo, data), starts.mean(), rtol=1e-5)
    assert np.isfinite(td_error(algo, data))


def test_fitted_values_are_of_the_histories_that_the_policy_acts_by(data):
    algo = TD3PlusBC(history_length=3, encoder=MLPEncoder((8,)), batch_size=8, seed=0).fit(data, 2, **QUICK)
    judge = FQE(policy=algo, encoder=MLPEncoder((8,)), batch_size=8, seed=0).build(data)
    assert judge.history_length == 3
    assert FQE(policy="behaviour", history_length=2).history_length == 2
    batch = judge.make_sampler(data).gather(torch.tensor([0, 4]))
    expected = algo.predict(histories(3)[[1, 5]])
    np.testing.assert_allclose(batch.next_policy_actions[:, 0], expected, atol=1e-6)


def test_estimates_replay_the_history_of_each_logged_row():
    rng = np.random.default_rng(0)
    n = 80
    ends = np.arange(n) % 8 == 7
    observations, actions = rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, 2, n)
    data = MDPDataset(
        observations,
        actions,
        rng.normal(size=n),
        np.zeros(n),
        timeouts=ends,
        behavior_log_probs=np.full(n, np.log(0.5)),
    )
    algo = DiscreteCQL(history_length=3, encoder=MLPEncoder((8,)), batch_size=8, seed=0).fit(data, 5, **QUICK)
    index = np.maximum(np.arange(n)[:, None] + np.arange(-2, 1), (np.arange(n) // 8 * 8)[:, None])
    greedy = algo.predict(observations[index])
    # Weighted by hand: the greedy policy's ratio is 2 where it does what was done and 0 elsewhere.
    ratios = np.where(greedy == actions, 2.0, 0.0).reshape(10, 8)
    discounted = (data.rewards.reshape(10, 8) * 0.5 ** np.arange(8)) * np.cumprod(ratios, 1)
    report = estimate(algo, data, ["pdis"], gamma=0.5)
    np.testing.assert_allclose(report["pdis"].value, discounted.sum(1).mean(), rtol=1e-5)
    flows = estimate(
        algo, data, ["marginalised"], gamma=0.5
    )  # Its features are of histories, as the policy is.
    assert np.isfinite(flows["marginalised"].value)


class Counting:
    """Two models that add 1 to the state and pay what the action is, for four steps."""

    n_members = 2

    def sample_steps(self, observations, actions, rng):
        return observations + 1, actions[..., 0], np.zeros(observations.shape[:2], bool)


def test_simulated_episodes_have_histories():
    def policy(seen):
        assert seen.shape[1:] == (3, 1)
        return seen[:, 0] / 8  # The oldest row decides.

    policy.history_length = 3
    data = MDPDataset(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4), timeouts=[0, 0, 0, 1])
    target = TargetPolicy(policy, spaces.Box(-1, 1, (1,)))
    # States are 0, 1, 2, 3, whose oldest rows are 0, 0, 0, 1: only the last action pays, 1/8, after three steps.
    np.testing.assert_allclose(simulated(Counting(), target, data, gamma=0.5).returns, 0.5**3 / 8)


def test_online_episodes_are_remembered_with_their_histories(data):
    algo = IQL(history_length=3, encoder=GRU, batch_size=4, seed=0)
    algo.fit_online(Ramp(), 12, dataset=data, out=None, progress=False, random_steps=0)
    assert len(algo.experience) == 12
    assert algo.experience.observations.shape == (12, 1)
    with pytest.raises(UnsupportedError, match="histories already"):
        IQL(history_length=3).fit_online(HistoryObservation(Ramp(), 3), 2, out=None, progress=False)


def test_images_are_seen_by_convolutions_row_by_row():
    images = np.random.default_rng(0).integers(0, 255, (20, 1, 12, 12), np.uint8)
    data = MDPDataset(images, np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)
    filters = ((4, 3, 2),)
    for encoder in (CNNEncoder((8,), filters=filters), GRUEncoder((8,), filters=filters, state_size=5)):
        algo = DiscreteCQL(history_length=2, encoder=encoder, batch_size=4, seed=0).fit(data, 2, **QUICK)
        actor, expected = algo.as_stateful(), algo.predict(np.stack([images[[0, 0]], images[[0, 1]]]))
        assert [actor.predict(image) for image in images[:2]] == expected.tolist()
    with pytest.raises(UnsupportedError, match="holds images too"):
        DiscreteCQL(history_length=2, frame_stack=2).fit(data, 1, **QUICK)


def test_a_module_of_the_users_own_sees_the_whole_history(data):
    seen = []

    def make(space):
        seen.append(space.shape)
        return torch.nn.Flatten()

    TD3PlusBC(history_length=5, encoder=make, batch_size=4, seed=0).build(data)
    assert {*seen} == {(5, 1)}


def test_what_cannot_be_is_refused_by_name(data):
    with pytest.raises(ValueError, match="set history_length above 1"):
        IQL(encoder="gru").build(data)
    with pytest.raises(ValueError, match="burn_in must be below history_length=4"):
        IQL(encoder={"type": "gru", "burn_in": 4}, history_length=4).build(data)
    with pytest.raises(ValueError, match="burn_in at least 0"):
        GRUEncoder(burn_in=-1)
    algo = PRDC(history_length=2, batch_size=4, seed=0).fit(data, 1, **QUICK)
    with pytest.raises(ValueError, match="networks were made with history_length=2"):
        algo.history_length = 3
    other = MDPDataset(
        np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3), [0, 0, 1], next_observations=np.ones((3, 1))
    )
    with pytest.raises(DatasetError, match="temporal order"):
        IQL(history_length=2).fit(other, 1, **QUICK)
