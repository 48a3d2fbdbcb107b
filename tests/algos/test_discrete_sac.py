"""Discrete SAC by hand: expectations over all actions, the temperature, the order."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import discrete_dataset, two_steps
from small_tasks import CHOICE, choice_score
from table_networks import POLICY, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import DiscreteSAC

LOG2, LOG3 = math.log(2.0), math.log(3.0)


def make(**options):
    return DiscreteSAC(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset()).impl


steps = functools.partial(two_steps, [2, 0])


def test_target_is_the_mean_of_the_lowest_values_less_the_weighted_log_probabilities():
    impl = make(initial_temperature=0.2)
    set_constant(impl.q, [[99.0] * 3, [99.0] * 3])
    set_table(impl.target_q, [[[1.0, 2.0, 50.0], [4.0, 9.0, 50.0]], [[3.0, 0.0, 50.0], [8.0, 2.0, 50.0]]])
    set_table(impl.policy, POLICY)
    # State 1: lowest (4, 2), probabilities (1/4, 3/4): 2.5, entropy 1/4 log 4 + 3/4 log 4/3.
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    with torch.no_grad():
        close(impl.compute_target(steps()), [1 + 0.5 * (2.5 + 0.2 * entropy), -1.0])
        # State 0: lowest (1, 0): 0.5, entropy log 2.
        both = steps(discounts=torch.tensor([0.5, 0.9]))
        close(impl.compute_target(both)[1], -1 + 0.9 * (0.5 + 0.2 * LOG2))


def test_quantile_target_mixes_the_lowest_distributions_of_the_actions():
    impl = make(initial_temperature=0.2, q_function="qr", n_quantiles=2)
    zeros = [[0.0, 0.0]] * 3
    first = [zeros, [[0.0, 6.0], [1.0, 1.0], [0.0, 0.0]]]
    second = [zeros, [[-9.0, 9.0], [2.0, 8.0], [0.0, 0.0]]]
    set_table(impl.target_q, torch.tensor([first, second]).flatten(-2))
    set_table(impl.policy, POLICY)
    # State 1: action 0 has means 3 and 0: (-9, 9); action 1 has means 1 and 5: (1, 1).
    # Their mixture by (1/4, 3/4): (-1.5, 3).
    entropy = 0.2 * (0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    with torch.no_grad():
        found = impl.compute_target(steps())
    close(found, [[1 + 0.5 * (-1.5 + entropy), -1.0], [1 + 0.5 * (3 + entropy), -1.0]])


def test_critic_loss_is_the_squared_error_of_the_datas_action():
    impl = make()
    set_table(impl.q, [[[9.0, 9.0, 4.0], [0.0, 9.0, 9.0]], [[9.0, 9.0, 1.0], [2.0, 9.0, 9.0]]])
    returned = impl.compute_critic_loss(steps(), torch.tensor([1.0, 0.0]))
    loss = total(returned)
    # (3^2 + 0) / 2 + (0 + 2^2) / 2; the Huber loss would be 1.25 + 0.75
    close(loss, 6.5)
    close(row_losses(returned), [[9.0, 0.0], [0.0, 4.0]])
    zero = [0.0] * 3
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0, 3.0], zero], [zero, [2.0, 0.0, 0.0]]])


def test_actor_loss_and_its_gradient():
    impl = make(initial_temperature=0.2)
    set_table(impl.q, [[[1.0, 2.0, 0.0], [4.0, 9.0, 0.0]], [[3.0, 0.0, 0.0], [8.0, 2.0, 0.0]]])
    set_constant(impl.target_q, [[-100.0] * 3, [-100.0] * 3])
    set_table(impl.policy, POLICY)
    returned = impl.compute_actor_loss(steps())
    loss = total(returned)
    # Costs c = 0.2 log pi - lowest Q. State 0: Q (1, 0), c = (-0.2 log 2 - 1, -0.2 log 2), mean -0.638629.
    first = -0.2 * LOG2 - 0.5
    # State 1: Q (4, 2), c = (-0.2 log 4 - 4, -0.2 log 4/3 - 2).
    costs = [-0.2 * math.log(4) - 4, -0.2 * math.log(4 / 3) - 2]
    second = 0.25 * costs[0] + 0.75 * costs[1]
    close(loss, (first + second) / 2)
    close(row_losses(returned), [first, second])
    # d / d logit_i = pi_i (c_i - mean c) over 2 rows; the 0.2 from log pi itself sums to nothing.
    found = head_gradients(loss, impl.policy)[0].T
    low = 0.5 * (-0.5) / 2
    high = 0.25 * (costs[0] - second) / 2
    close(found, [[low, -low, 0.0], [high, -high, 0.0]])


def test_actor_loss_reaches_the_policy_alone():
    impl = make()
    loss = total(impl.compute_actor_loss(steps()))
    assert head_gradients(loss, impl.q) == (None, None)
    assert torch.autograd.grad(loss, impl.log_temperature, allow_unused=True, retain_graph=True)[0] is None
    critic = total(impl.critic_loss(steps(discounts=torch.ones(2))))
    assert head_gradients(critic, impl.policy) == (None, None)
    assert torch.autograd.grad(critic, impl.log_temperature, allow_unused=True)[0] is None


@pytest.mark.parametrize(("given", "target"), [(None, 0.98 * LOG3), (0.25, 0.25)])
def test_temperature_loss_and_its_gradient(given, target):
    impl = make(initial_temperature=0.2, target_entropy=given)
    set_table(impl.policy, POLICY)
    loss, metrics = total(impl.compute_temperature_loss(steps()))
    entropy = (LOG2 + 0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 2
    # -0.2 * (target - entropy); its derivative by log temperature is the loss itself.
    expected = -0.2 * (target - entropy)
    close(loss, expected)
    close(torch.autograd.grad(loss, impl.log_temperature, retain_graph=True)[0], expected)
    assert head_gradients(loss, impl.policy) == (None, None)
    close(metrics["temperature"], 0.2)
    close(metrics["entropy"], entropy)


@pytest.mark.parametrize(("logits", "grows"), [([9.0, 0.0, 0.0], True), ([0.0, 0.0, 0.0], False)])
def test_temperature_grows_while_the_policy_is_too_certain(logits, grows):
    impl = make()
    set_constant(impl.policy, logits)
    impl.update(steps())
    assert (impl.log_temperature.item() > 0.0) is grows


def test_order_is_temperature_actor_critics_and_targets_follow():
    impl = make(tau=0.25)
    assert [o.name for o in impl.objectives] == ["temperature", "actor", "critic"]
    set_constant(impl.target_q, [[4.0] * 3, [8.0] * 3])
    impl.update(steps())
    online = impl.q.network.mlp.layers[-1].bias
    before = torch.tensor([[[3.0] * 3], [[6.0] * 3]])
    close(impl.target_q.network.mlp.layers[-1].bias, before + 0.25 * online)


def test_acts_by_the_likeliest_action_and_draws_by_probability():
    algo = DiscreteSAC(encoder=TABLE, seed=0, device="cpu").build(discrete_dataset())
    set_table(algo.impl.policy, POLICY)
    set_constant(algo.impl.q, [[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])
    states = np.eye(2, dtype=np.float32)
    assert algo.predict(states)[1] == 1  # The critics prefer action 0.
    close(algo.predict_value(states)[1], 2.0)
    drawn = algo.sample_action(np.repeat(states[1:], 4_000, 0))
    # 3/4 with a standard error of 0.007
    assert abs((drawn == 1).mean() - 0.75) < 0.03
    assert not (drawn == 2).any()


def test_drawn_actions_come_with_their_log_probabilities():
    impl = make()
    set_table(impl.policy, POLICY)
    states = one_hot([1] * 50, 2)
    actions, log_probs = impl.policy.sample(states)
    close(log_probs, [math.log([0.25, 0.75][a]) for a in actions])
    close(impl.policy.log_prob(states, actions), log_probs.tolist())


def test_learns_a_choice_that_cloning_misses():
    algo = DiscreteSAC(actor_learning_rate=1e-2, initial_temperature=0.05, **CHOICE)
    assert choice_score(algo, 200) > 0.9
