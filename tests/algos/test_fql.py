"""FQL: targets of the one-step policy, the flow that clones, distillation and value, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import FQL, MLPEncoder
from offlinekit.algos.torch import fql_impl
from offlinekit.algos.torch.fql_impl import FQLImpl
from offlinekit.datasets import MDPDataset


def build(action_size: int = 1, **options: object) -> FQLImpl:
    data = continuous_dataset(action_size=action_size)
    return FQL(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def with_networks(monkeypatch, noise, **options: object) -> FQLImpl:
    """mu(s, z) = (0.5, -0.5) + 0.25 z; one Euler step of the flow ends at 0.2 + z; z is given."""
    impl = build(flow_steps=1, **options)
    set_table(impl.policy, [[0.5], [-0.5], [0.25]])
    set_constant(impl.flow, [0.2])
    set_table(impl.q, [[[1.0], [3.0], [2.0]], [[2.0], [0.0], [6.0]]])
    drawn = torch.tensor(noise)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: drawn.reshape(shape))
    return impl


def test_target_is_the_mean_of_the_critics_at_the_policys_action(monkeypatch):
    impl = with_networks(monkeypatch, [[0.4], [-4.0]])
    set_table(impl.target_q, [[[1.0], [3.0], [2.0]], [[2.0], [0.0], [6.0]]])
    set_constant(impl.q, [[100.0], [100.0]])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.5, 0.9])
    # s' = (1, 0): mu = (-0.5 + 0.1, 0.5 - 1) = (-0.4, -0.5)
    # Q1 = (3 - 0.8, 1 - 1) = (2.2, 0), Q2 = (0 - 2.4, 2 - 3) = (-2.4, -1): means (-0.1, -0.5)
    close(impl.compute_target(batch), [1.0 - 0.05, 2.0 - 0.45])
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_target_may_be_the_lowest_critic_and_its_action_is_clipped(monkeypatch):
    impl = with_networks(monkeypatch, [[4.0], [-4.0]], target_value="min")
    set_table(impl.target_q, [[[1.0], [3.0], [2.0]], [[2.0], [0.0], [6.0]]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=[0.5, 0.9])
    # mu = (0.5 + 1, -0.5 - 1) -> (1, -1): Q1 = (3, 1), Q2 = (8, -6): lowest (3, -6)
    close(impl.compute_target(batch), [2.5, 2.0 - 5.4])


def test_quantile_critics_are_averaged_quantile_by_quantile():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [2.0, 10.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=[0.5, 0.0])
    # Quantiles (0, 6) and (2, 10): means over critics (1, 8)
    close(impl.compute_target(batch), [[1.5, 2.0], [5.0, 2.0]])


def test_actor_loss_by_hand(monkeypatch):
    impl = with_networks(monkeypatch, [[0.4], [-0.8]], alpha=3.0)
    # mu = (0.6, -0.7), flow = z + 0.2 = (0.6, -0.6): distillation = (0 + 0.01) / 2 = 0.005
    # Q1 = (1 + 1.2, 3 - 1.4) = (2.2, 1.6), Q2 = (2 + 3.6, 0 - 4.2) = (5.6, -4.2): mean 1.3
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss, metrics = total(returned)
    close(loss, 3.0 * 0.005 - 1.3)
    close(row_losses(returned), [-3.9, 0.03 + 1.3])
    close(metrics["distillation_loss"], 0.005)
    # d / d mu = (3 * 2 * (mu - flow) - mean(2, 6)) / 2 rows = (-4 / 2, (-0.6 - 4) / 2); by z times (0.4, -0.8)
    close(head_gradients(loss, impl.policy)[0], [[-2.0, -2.3, -2.0 * 0.4 + 2.3 * 0.8]])


def test_value_pulls_no_action_beyond_the_box_but_distillation_pulls_it_back(monkeypatch):
    impl = with_networks(monkeypatch, [[4.0], [0.0]], alpha=1.0)
    # mu = (1.5, -0.5), flow = (4.2 -> 1, 0.2): distillation = (0.25 + 0.49) / 2
    # At a = (1, -0.5): Q1 = (3, 2), Q2 = (8, -3): mean 2.5
    loss, _ = total(impl.compute_actor_loss(make_batch(STATES, [[0.0], [0.0]])))
    close(loss, 0.37 - 2.5)
    # d / d mu = (2 * 0.5 / 2, 2 * -0.7 / 2 - 4 / 2): no part of Q in the first.
    close(head_gradients(loss, impl.policy)[0][0, :2], [0.5, -2.7])


def test_distillation_is_a_mean_over_action_dimensions(monkeypatch):
    impl = build(action_size=2, flow_steps=1, alpha=1.0)
    set_constant(impl.q, [[0.0], [0.0]])
    set_constant(impl.policy, [0.2, 0.4])
    set_constant(impl.flow, [0.0, 0.0])
    monkeypatch.setattr(impl.random, "normal", lambda *shape: torch.zeros(shape))
    close(total(impl.compute_actor_loss(make_batch(STATES[:1], [[0.0, 0.0]])))[0], 0.1)


def test_flow_learns_the_actions_of_the_data(monkeypatch):
    impl = with_networks(monkeypatch, [[0.5], [-0.5]])
    # a - z = (0.2, 0.2) is what the flow says already; then (0.4, 0.2): errors (-0.2, 0)
    close(total(impl.compute_flow_loss(make_batch(STATES, [[0.7], [-0.3]]))), 0.0)
    returned = impl.compute_flow_loss(make_batch(STATES, [[0.9], [-0.3]]))
    loss = total(returned)
    close(loss, 0.02)
    close(row_losses(returned), [0.04, 0.0])
    assert head_gradients(loss, impl.policy) == (None, None)


def test_actor_loss_reaches_the_policy_alone(monkeypatch):
    impl = with_networks(monkeypatch, [[0.5], [-0.5]])
    loss, metrics = total(impl.compute_actor_loss(make_batch(STATES, [[0.0], [0.0]])))
    assert head_gradients(loss, impl.flow) == (None, None)
    assert not any(metric.requires_grad for metric in metrics.values())


def test_order_is_critics_flow_actor():
    impl = build(actor_learning_rate=0.5)
    assert [objective.name for objective in impl.objectives] == ["critic", "flow", "actor"]
    owners = [impl.q, impl.flow, impl.policy]
    for objective, owner in zip(impl.objectives, owners, strict=True):
        assert {id(p) for p in objective.parameters} == {id(p) for p in owner.parameters()}
    assert [objective.learning_rate for objective in impl.objectives] == [3e-4, 0.5, 0.5]


def test_layer_norm_is_the_critics_alone():
    data = continuous_dataset()
    for wanted in (True, False):
        impl = FQL(encoder=MLPEncoder((4,)), critic_layer_norm=wanted, seed=0).build(data).impl
        assert any("LayerNorm" in type(part).__name__ for part in impl.q.modules()) is wanted
        for network in (impl.policy, impl.flow):
            assert not any("LayerNorm" in type(part).__name__ for part in network.modules())


def test_without_candidates_predict_takes_noise_zero_and_samples_draw(monkeypatch):
    impl = with_networks(monkeypatch, [[0.4], [-0.8]], n_candidates=None)
    close(impl.predict_best_action(STATES), [[0.5], [-0.5]])
    close(impl.sample_action(STATES), [[0.6], [-0.7]])


def test_predict_takes_the_best_of_the_candidates_by_the_critics(monkeypatch):
    monkeypatch.setattr(
        fql_impl, "fixed_normals", lambda n, size, device: torch.tensor([[-1.0], [4.0], [0.0]])
    )
    # mu = 0.5 + 0.25 z = (0.25, 1 clipped, 0.5) and -0.5 + 0.25 z = (-0.75, 0.5, -0.5).
    # Q1 = 3 a, Q2 = -2 a: their mean rises with a; their minimum is highest nearest to 0: 0.25, and -0.5 of
    # (-2.25, -1, -1.5) is at 0.5.
    for target_value, expected in (("mean", [[1.0], [0.5]]), ("min", [[0.25], [0.5]])):
        impl = with_networks(monkeypatch, [[0.0], [0.0]], target_value=target_value, n_candidates=3)
        set_table(impl.q, [[[0.0], [0.0], [3.0]], [[0.0], [0.0], [-2.0]]])
        close(impl.predict_best_action(STATES), expected)


def test_candidates_act_as_soon_as_they_are_set():
    algo = FQL(encoder=MLPEncoder((16,)), n_candidates=1, seed=0, device="cpu").build(continuous_dataset())
    observations = np.zeros((1, 2), np.float32)
    few = algo.predict(observations)
    assert np.array_equal(few, algo.predict(observations))
    algo.n_candidates = 64
    assert not np.array_equal(few, algo.predict(observations))


def test_acting_takes_one_of_two_ways_and_not_the_middle():
    # One state, actions near -0.7 and 0.7 that pay alike; noise 0 is carried to between them.
    random = np.random.default_rng(0)
    actions = np.where(random.random(512) < 0.5, -0.7, 0.7) + 0.02 * random.normal(size=512)
    actions = actions[:, None].astype(np.float32)
    rewards = (np.abs(np.abs(actions[:, 0]) - 0.7) < 0.2).astype(np.float32)
    data = MDPDataset(np.zeros((512, 1), np.float32), actions, rewards, np.ones(512, bool))
    given = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3, "batch_size": 64, "seed": 0}
    algo = FQL(encoder=MLPEncoder((32, 32), "gelu"), flow_steps=4, device="cpu", **given)
    algo.fit(data, 600, out=None, progress=False)
    state = np.zeros((1, 1), np.float32)
    assert abs(abs(algo.predict(state).item()) - 0.7) < 0.3
    algo.n_candidates = None
    assert abs(algo.predict(state).item()) < 0.3


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.1, 0.0, 0.1), (1_000.0, 0.15, 0.6)])
def test_alpha_leads_from_the_best_action_to_cloning(alpha, low, high):
    algo = FQL(alpha=alpha, flow_steps=4, n_candidates=None, **BANDIT)
    assert low <= bandit_error(algo, 500) < high
