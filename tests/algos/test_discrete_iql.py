"""Discrete IQL by hand: expectile value, critics and weighted cloning of discrete actions."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import discrete_dataset, make_batch
from small_tasks import CHOICE, choice_score
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import DiscreteIQL

LOG2, LOG3 = math.log(2.0), math.log(3.0)
BATCH = make_batch(STATES, [2, 0])


def build(**options):
    return DiscreteIQL(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset()).impl


def with_networks(**options):
    """min Q_target = (5, 1) for the actions 2, 0 of the data; V = (4, 4); other numbers are far off."""
    impl = build(**options)
    set_constant(impl.q, [[100.0] * 3, [100.0] * 3])
    set_table(impl.target_q, [[[50.0, 50.0, 5.0], [9.0, 50.0, 50.0]], [[0.0, 0.0, 6.0], [1.0, 0.0, 0.0]]])
    set_table(impl.value, [[4.0], [4.0]])
    return impl


def test_value_loss_and_its_gradient():
    impl = with_networks(expectile=0.7)
    # errors = (5, 1) - (4, 4) = (1, -3); loss = (0.7 * 1 + 0.3 * 9) / 2 = 1.7
    returned = impl.compute_value_loss(BATCH)
    loss, metrics = total(returned)
    close(loss, 1.7)
    close(row_losses(returned), [0.7, 2.7])
    close(metrics["value"], 4.0)
    # d / d V = -2 * weight * error / 2 = (-0.7, 0.9)
    close(head_gradients(loss, impl.value)[0], [[-0.7, 0.9]])
    assert head_gradients(loss, impl.q) == (None, None)
    assert not any(p.requires_grad for p in impl.target_q.parameters())


@pytest.mark.parametrize(("expectile", "solution"), [(0.5, 3.0), (0.75, 4.0)])
def test_value_tends_to_the_expectile_of_the_actions_in_the_data(expectile, solution):
    # Values 1 and 5 at one state, 99 for the action that the data lack: V = 1 + 4 * expectile.
    impl = with_networks(expectile=expectile)
    set_constant(impl.target_q, [[1.0, 5.0, 99.0]] * 2)
    set_table(impl.value, [[solution], [0.0]])
    loss, _ = total(impl.compute_value_loss(make_batch(one_hot([0, 0], 2), [0, 1])))
    close(head_gradients(loss, impl.value)[0], [[0.0, 0.0]])


def test_critics_learn_reward_plus_discounted_value():
    impl = with_networks()
    set_table(impl.value, [[4.0], [-2.0]])
    batch = make_batch(STATES, [2, 0], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5])
    # 1 + 0.9 * -2 = -0.8; 2 + 0.5 * 4 = 4
    close(impl.compute_target(batch), [-0.8, 4.0])
    set_table(impl.q, [[[0.0, 0.0, 1.0], [0.0] * 3], [[0.0, 0.0, -0.8], [5.0, 0.0, 0.0]]])
    loss = total(impl.critic_loss(batch))
    # (1.8^2 + 4^2) / 2 + (0 + 1) / 2
    close(loss, (1.8**2 + 17) / 2)
    zero = [0.0] * 3
    expected = [[[0.0, 0.0, 1.8], [-4.0, 0.0, 0.0]], [zero, [1.0, 0.0, 0.0]]]
    close(head_gradients(loss, impl.q)[0], expected)
    assert head_gradients(loss, impl.value) == (None, None)


def test_quantile_critics_learn_from_one_sample():
    impl = build(q_function="qr", n_quantiles=2)
    set_table(impl.value, [[4.0], [-2.0]])
    batch = make_batch(STATES, [0, 1], [1.0, 2.0], discounts=[0.5, 0.5])
    close(impl.compute_target(batch), [[3.0, 1.0]])
    # The data's values are means over quantiles, of the lowest member: action 0 has 3 and 2, action 1 has 1.
    set_constant(impl.target_q, [[0.0, 6.0, 1.0, 1.0, 9.0, 9.0], [1.0, 3.0, 9.0, 9.0, 9.0, 9.0]])
    close(impl.data_values(batch), [2.0, 1.0])


def test_actor_loss_and_its_gradient():
    impl = with_networks(beta=0.5)
    set_table(impl.value, [[4.0], [3.0]])
    set_table(impl.policy, [[0.0, 0.0, 0.0], [LOG2, 0.0, 0.0]])
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    # advantages (1, -2), weights exp(0.5 * A); -log pi = log 3 and log 2
    weights = [math.exp(0.5), math.exp(-1.0)]
    close(loss, (weights[0] * LOG3 + weights[1] * LOG2) / 2)
    close(row_losses(returned), [weights[0] * LOG3, weights[1] * LOG2])
    close(metrics["advantage"], -0.5)
    close(metrics["weight"], sum(weights) / 2)
    # weight * (pi - one-hot) / 2: pi (1/3, 1/3, 1/3) and (1/2, 1/4, 1/4)
    first, second = weights[0] / 2, weights[1] / 2
    expected = [[first / 3, first / 3, -2 * first / 3], [-second / 2, second / 4, second / 4]]
    close(head_gradients(loss, impl.policy)[0].T, expected)


def test_weights_are_one_a_row_bounded_and_without_gradient():
    impl = with_networks(beta=1_000.0, max_weight=20.0)
    set_constant(impl.policy, [0.0, 0.0, 0.0])
    loss, metrics = total(impl.compute_actor_loss(BATCH))
    # weights (20, 0): [B] against [B], no outer product
    close(metrics["weight"], 10.0)
    close(loss, 10 * LOG3)
    for other in (impl.value, impl.q):
        assert head_gradients(loss, other) == (None, None)


def test_beta_zero_is_cloning():
    impl = with_networks(beta=0.0)
    set_constant(impl.policy, [0.0, 0.0, 0.0])
    close(total(impl.compute_actor_loss(BATCH))[0], LOG3)


def test_order_is_value_actor_critics_each_on_the_new_value():
    impl = build(tau=0.5, value_learning_rate=0.5)
    assert [o.name for o in impl.objectives] == ["value", "actor", "critic"]
    batch = make_batch(STATES, [2, 0], [1.0, 2.0], discounts=[0.9, 0.5])
    targets = impl.data_values(batch)
    metrics = impl.update(batch)
    value = impl.value(STATES).squeeze(-1).detach()
    assert not torch.allclose(value.mean(), metrics["value"])  # That one was before the update.
    close(metrics["advantage"], float((targets - value).mean()))
    assert not torch.allclose(targets, impl.data_values(batch))  # The targets moved last.


def test_target_critics_follow_by_polyak_averaging():
    impl = build(tau=0.25)
    set_constant(impl.target_q, [[4.0] * 3, [8.0] * 3])
    impl.update(BATCH)
    online = impl.q.network.mlp.layers[-1].bias
    before = torch.tensor([[[3.0] * 3], [[6.0] * 3]])
    close(impl.target_q.network.mlp.layers[-1].bias, before + 0.25 * online)


def test_learns_a_choice_that_cloning_misses():
    algo = DiscreteIQL(
        beta=10.0, expectile=0.8, actor_learning_rate=1e-2, value_learning_rate=1e-2, tau=0.05, **CHOICE
    )
    assert choice_score(algo, 300) > 0.9
