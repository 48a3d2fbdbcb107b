"""InAC by hand: soft values of the policy, and weights with the behaviour's density divided out."""

from __future__ import annotations

import math

import numpy as np
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import InAC

LOG_TWO_PI = math.log(2 * math.pi)
HALF = math.atanh(0.5)


def build(**options):
    options = {"temperature": 0.5, **options}
    return InAC(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl


def with_networks(**options):
    """Q = min(1 + a, 2 - a), min(4 a, 3); V = (0.5, -1); policy mean 0.5, behaviour mean 0, deviations 1."""
    impl = build(**options)
    set_table(impl.q, [[[1.0], [0.0], [1.0]], [[2.0], [3.0], [-1.0]]])
    set_table(impl.value, [[0.5], [-1.0]])
    set_constant(impl.policy, [HALF])
    set_constant(impl.behaviour, [0.0])
    return impl


def drawn(impl, state):
    """Returns the policy's actions at a deviation of 1 and their log-densities, from a state of its random numbers."""
    noise = (
        torch.randn(2, 1, generator=torch.Generator().manual_seed(0).set_state(state)).double().numpy()[:, 0]
    )
    return np.clip(0.5 + noise, -1, 1), -0.5 * noise**2 - 0.5 * LOG_TWO_PI


def test_behaviour_loss_and_its_gradient():
    impl = with_networks()
    returned = impl.compute_behaviour_loss(make_batch(STATES, [[0.4], [-0.2]]))
    loss = total(returned)
    # (0.4^2 + 0.2^2) / 2 / 2 + log(2 pi) / 2; d / d bias = mean(0 - a) * (1 - 0)
    close(loss, 0.05 + 0.5 * LOG_TWO_PI)
    close(row_losses(returned), [0.08 + 0.5 * LOG_TWO_PI, 0.02 + 0.5 * LOG_TWO_PI])
    close(head_gradients(loss, impl.behaviour)[1], [-0.1])
    for other in (impl.policy, impl.q, impl.value):
        assert head_gradients(loss, other) == (None, None)


def test_value_loss_and_its_gradient():
    impl = with_networks()
    set_constant(impl.target_q, [[-100.0], [-100.0]])
    state = impl.random.state()
    returned = impl.compute_value_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss, metrics = total(returned)
    actions, log_probs = drawn(impl, state)
    # State 0: min(1 + a, 2 - a); state 1: min(a, 3 - a); less 0.5 log pi
    lowest = np.array([min(1 + actions[0], 2 - actions[0]), min(actions[1], 3 - actions[1])])
    errors = np.array([0.5, -1.0]) - (lowest - 0.5 * log_probs)
    close(loss, np.square(errors).mean())
    close(row_losses(returned), np.square(errors))
    close(metrics["value"], -0.25)
    close(head_gradients(loss, impl.value)[0], [errors.tolist()])
    for other in (impl.policy, impl.q, impl.behaviour):
        assert head_gradients(loss, other) == (None, None)


def test_target_is_the_soft_value_of_the_target_critics():
    impl = with_networks()
    set_table(impl.target_q, [[[1.0], [0.0], [1.0]], [[2.0], [3.0], [-1.0]]])
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.policy, [[HALF], [HALF]])
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    state = impl.random.state()
    with torch.no_grad():
        found = impl.compute_target(batch)
    actions, log_probs = drawn(impl, state)
    lowest = np.array([min(actions[0], 3 - actions[0]), min(1 + actions[1], 2 - actions[1])])
    close(found, np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * (lowest - 0.5 * log_probs))
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_quantile_target_shifts_the_lowest_distribution():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [-9.0, 9.0]])
    set_constant(impl.policy, [HALF])
    state = impl.random.state()
    found = impl.compute_target(make_batch(STATES, [[0.0], [0.0]], [1.0, 1.0], discounts=[0.5, 0.5]))
    _, log_probs = drawn(impl, state)
    close(found, 1 + 0.5 * (np.array([[-9.0], [9.0]]) - 0.5 * log_probs))


def test_critic_loss_sends_nothing_to_the_policy():
    impl = with_networks()
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    # Q1 = (1, 0), Q2 = (2, 3) against (1, 1): (0 + 1) / 2 + (1 + 4) / 2
    close(total(impl.compute_critic_loss(batch, torch.tensor([1.0, 1.0]))), 3.0)
    assert head_gradients(total(impl.critic_loss(batch)), impl.policy) == (None, None)


def expected_weights():
    # Actions 0.2 and -0.4: Q = min(1.2, 1.8) and min(-0.4, 3.4); (Q - V) / 0.5 = 1.4 and 1.2;
    # less the behaviour's log-density -a^2 / 2 - log(2 pi) / 2
    return [math.exp(1.4 + 0.02 + 0.5 * LOG_TWO_PI), math.exp(1.2 + 0.08 + 0.5 * LOG_TWO_PI)]


def test_weights_divide_by_the_behaviours_density():
    impl = with_networks()
    set_constant(impl.target_q, [[-100.0], [-100.0]])
    weights = impl.weights(make_batch(STATES, [[0.2], [-0.4]]))
    close(weights, expected_weights())
    assert not weights.requires_grad


def test_actor_loss_and_its_gradients():
    impl = with_networks()
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.2], [-0.4]]))
    loss, metrics = total(returned)
    first, second = expected_weights()
    # -log pi = (a - 0.5)^2 / 2 + log(2 pi) / 2
    constant = 0.5 * LOG_TWO_PI
    close(loss, (first * (0.045 + constant) + second * (0.405 + constant)) / 2)
    close(row_losses(returned), [first * (0.045 + constant), second * (0.405 + constant)])
    close(metrics["weight"], (first + second) / 2)
    # d / d bias = mean(weight * (0.5 - a)) * (1 - 0.25)
    close(head_gradients(loss, impl.policy)[1], [0.75 * (first * 0.3 + second * 0.9) / 2])
    for other in (impl.q, impl.value, impl.behaviour):
        assert head_gradients(loss, other) == (None, None)


def test_weights_are_bounded():
    impl = with_networks(temperature=1e-3, max_weight=30.0)
    close(impl.weights(make_batch(STATES, [[0.2], [-0.4]])), [30.0, 30.0])
    assert InAC(seed=0).max_weight == 1e4


def test_order_and_targets():
    impl = build(tau=0.25)
    assert [o.name for o in impl.objectives] == ["behaviour", "value", "critic", "actor"]
    set_constant(impl.target_q, [[4.0], [8.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)


def test_learns_a_bandit_better_than_cloning():
    algo = InAC(temperature=0.05, value_learning_rate=3e-3, behaviour_learning_rate=3e-3, **BANDIT)
    assert bandit_error(algo, 500) < 0.12
