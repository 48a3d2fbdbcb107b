"""IQL: expectile value, critics and weighted cloning, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import IQL
from offlinekit.algos.torch.iql_impl import IQLImpl

LOG_TWO_PI = math.log(2 * math.pi)


def build(**options: object) -> IQLImpl:
    return IQL(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl


def with_networks(**options: object) -> IQLImpl:
    """min Q_target = (5, 1) at a = 0; V = (4, 4); the online critics would give numbers far off."""
    impl = build(**options)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [[[5.0], [9.0], [1.0]], [[6.0], [1.0], [1.0]]])
    set_table(impl.value, [[4.0], [4.0]])
    return impl


BATCH = make_batch(STATES, [[0.0], [0.0]])


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


def test_value_sees_the_target_critics_at_the_actions_of_the_data():
    impl = with_networks(expectile=0.5)
    batch = make_batch(STATES, [[1.0], [-2.0]])
    # Q_target = min(6, 7), min(7, -1) = (6, -1); errors (2, -5); loss = 0.5 * (4 + 25) / 2 = 7.25
    close(total(impl.compute_value_loss(batch))[0], 7.25)


def test_value_loss_sends_no_gradient_to_critics():
    impl = with_networks()
    loss, _ = total(impl.compute_value_loss(BATCH))
    assert head_gradients(loss, impl.q) == (None, None)
    assert not any(p.requires_grad for p in impl.target_q.parameters())


@pytest.mark.parametrize(("expectile", "solution"), [(0.5, 3.0), (0.75, 4.0), (0.25, 2.0)])
def test_value_tends_to_the_expectile(expectile, solution):
    # Values 1 and 5 at one state: expectile * (5 - V) = (1 - expectile) * (V - 1), V = 1 + 4 * expectile.
    impl = with_networks(expectile=expectile)
    set_table(impl.target_q, [[[1.0], [0.0], [4.0]]] * 2)
    batch = make_batch(one_hot([0, 0], 2), [[0.0], [1.0]])
    set_table(impl.value, [[solution], [0.0]])
    loss, _ = total(impl.compute_value_loss(batch))
    close(head_gradients(loss, impl.value)[0], [[0.0, 0.0]])


def test_critics_learn_reward_plus_discounted_value():
    impl = with_networks()
    set_table(impl.value, [[4.0], [-2.0]])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    # 1 + 0.9 * -2 = -0.8; 2 + 0.5 * 4 = 4
    close(impl.compute_target(batch), [-0.8, 4.0])
    terminal = batch._replace(discounts=torch.zeros(2))
    close(impl.compute_target(terminal), [1.0, 2.0])


def test_critic_loss_by_hand():
    impl = build()
    set_table(impl.q, [[[5.0], [9.0], [1.0]], [[6.0], [1.0], [1.0]]])
    # Q1 = (5, 9), Q2 = (6, 1), target (5, 2): (0 + 49) / 2 + (1 + 1) / 2 = 25.5
    returned = impl.compute_critic_loss(BATCH, torch.tensor([5.0, 2.0]))
    loss = total(returned)
    close(loss, 25.5)
    close(row_losses(returned), [[0.0, 49.0], [1.0, 1.0]])
    # d / d bias = mean(2 * error) = (0 + 14) / 2, (2 - 2) / 2
    close(head_gradients(loss, impl.q)[1], [[[7.0]], [[0.0]]])


def test_critic_loss_sends_no_gradient_to_the_value():
    impl = with_networks()
    loss = total(impl.critic_loss(BATCH._replace(discounts=torch.ones(2))))
    assert head_gradients(loss, impl.value) == (None, None)


def test_quantile_critics_learn_from_one_sample():
    impl = build(q_function="qr", n_quantiles=2)
    set_table(impl.value, [[4.0], [-2.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=[0.5, 0.5])
    close(impl.compute_target(batch), [[3.0, 1.0]])
    # The data's values are means over quantiles of the member that is lowest: 3 and 2.
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    close(impl.data_values(batch), [2.0, 2.0])
    assert torch.isfinite(total(impl.critic_loss(batch)))


def test_actor_loss_and_its_gradients():
    impl = with_networks(beta=0.5)
    set_constant(impl.policy, [math.atanh(0.5)])
    batch = make_batch(STATES, [[0.0], [0.25]])
    # Q_target = min(5, 6), min(9.25, 1.25) = (5, 1.25); advantages = (1, -2.75)
    # weights = exp(0.5 * advantages) = (1.648721, 0.252840)
    # log pi = -(a - 0.5)**2 / 2 - log(2 pi) / 2, std 1: -(0.125, 0.03125) - 0.918939
    returned = impl.compute_actor_loss(batch)
    loss, metrics = total(returned)
    weights = [math.exp(0.5), math.exp(-1.375)]
    constant = 0.5 * LOG_TWO_PI
    close(loss, (weights[0] * (0.125 + constant) + weights[1] * (0.03125 + constant)) / 2)
    close(row_losses(returned), [weights[0] * (0.125 + constant), weights[1] * (0.03125 + constant)])
    close(metrics["advantage"], -0.875)
    close(metrics["weight"], sum(weights) / 2)
    # d / d bias = mean(weight * (0.5 - a)) * (1 - 0.5**2); d / d log std = mean(weight * (1 - score**2))
    close(head_gradients(loss, impl.policy)[1], [0.75 * (weights[0] * 0.5 + weights[1] * 0.25) / 2])
    by_std = torch.autograd.grad(loss, impl.policy.log_stds)[0]
    close(by_std, [(weights[0] * (1 - 0.25) + weights[1] * (1 - 0.0625)) / 2])


@pytest.mark.parametrize("bound", [100.0, 20.0])
def test_weights_are_bounded(bound):
    impl = with_networks(beta=1_000.0, max_weight=bound)
    set_constant(impl.policy, [0.0])
    # Advantages (1, -3): exp(1000) -> bound, exp(-3000) -> 0; loss = bound * log(2 pi) / 2 / 2
    loss, metrics = total(impl.compute_actor_loss(BATCH))
    close(metrics["weight"], bound / 2)
    close(loss, bound / 4 * LOG_TWO_PI, atol=1e-3)


def test_beta_zero_is_cloning():
    impl = with_networks(beta=0.0)
    set_constant(impl.policy, [0.0])
    close(total(impl.compute_actor_loss(BATCH))[0], 0.5 * LOG_TWO_PI)


def test_actor_loss_reaches_the_policy_alone():
    impl = with_networks()
    loss, metrics = total(impl.compute_actor_loss(BATCH))
    for other in (impl.value, impl.q):
        assert head_gradients(loss, other) == (None, None)
    assert not any(metric.requires_grad for metric in metrics.values())
    others = [*impl.value.parameters(), *impl.q.parameters(), *impl.target_q.parameters()]
    before = [p.clone() for p in others]
    next(o for o in impl.objectives if o.name == "actor").minimize(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))


def test_order_is_value_actor_critics_each_on_the_new_value():
    impl = build(tau=0.5, value_learning_rate=0.5)
    assert [o.name for o in impl.objectives] == ["value", "actor", "critic"]
    batch = make_batch(STATES, [[0.3], [-0.3]], [1.0, 2.0], discounts=[0.9, 0.5])
    targets = impl.data_values(batch)
    values = impl.q.values(batch.observations, batch.actions).detach()
    metrics = impl.update(batch)
    value = impl.value(batch.observations).squeeze(-1).detach()  # The critics' and actor's updates keep it.
    assert not torch.allclose(value.mean(), metrics["value"])  # That one was before the update.
    close(metrics["advantage"], float((targets - value).mean()))
    target = batch.rewards + batch.discounts * value
    close(metrics["critic_loss"], float((values - target).square().mean(-1).sum()))
    assert not torch.allclose(targets, impl.data_values(batch))  # The targets moved last.


def test_target_critics_follow_by_polyak_averaging():
    impl = build(tau=0.25)
    set_constant(impl.target_q, [[4.0], [8.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)


def test_the_policys_learning_rate_alone_falls_to_zero():
    impl = build(actor_learning_rate=1e-3)
    impl.horizon = 4
    rates = []
    for _ in range(6):
        impl.update(BATCH)
        rates.append({o.name: o.optimizer.learning_rate for o in impl.objectives})
    # 1e-3 * (1 + cos(pi k / 4)) / 2 for k = 0..4; past the end it stays at 0.
    wanted = [1e-3, 0.5e-3 * (1 + math.sqrt(0.5)), 0.5e-3, 0.5e-3 * (1 - math.sqrt(0.5)), 0.0, 0.0]
    assert [r["actor"] for r in rates] == pytest.approx(wanted, abs=1e-12)
    assert {r["value"] for r in rates} == {r["critic"] for r in rates} == {3e-4}


def test_learns_a_bandit_better_than_cloning():
    algo = IQL(beta=30.0, tau=0.05, value_learning_rate=3e-3, **BANDIT)
    assert bandit_error(algo, 500) < 0.12
