"""Discrete AWAC by hand: exact expectations, the advantage, weighted cloning."""

from __future__ import annotations

import functools
import math

import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import discrete_dataset, two_steps
from small_tasks import CHOICE, choice_score
from table_networks import POLICY, TABLE, VALUES, set_constant, set_table

from offlinekit.algos import DiscreteAWAC

LOG3 = math.log(3.0)


def make(**options):
    return DiscreteAWAC(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset()).impl


steps = functools.partial(two_steps, [0, 1])


def test_target_is_the_mean_of_the_lowest_values_under_the_policy():
    impl = make()
    set_table(impl.target_q, VALUES)
    set_constant(impl.q, [[99.0] * 3] * 2)
    set_table(impl.policy, POLICY)
    with torch.no_grad():
        # State 1: 4 / 4 + 3/4 * 2 = 2.5; state 0: 0.5
        close(impl.compute_target(steps()), [2.25, -1.0])
        close(impl.compute_target(steps(discounts=torch.tensor([0.5, 0.9]))), [2.25, -0.55])


def test_quantile_target_mixes_the_lowest_distributions_of_the_actions():
    impl = make(q_function="qr", n_quantiles=2)
    zeros = [[0.0, 0.0]] * 3
    first = [zeros, [[0.0, 6.0], [1.0, 1.0], [0.0, 0.0]]]
    second = [zeros, [[-9.0, 9.0], [2.0, 8.0], [0.0, 0.0]]]
    set_table(impl.target_q, torch.tensor([first, second]).flatten(-2))
    set_table(impl.policy, POLICY)
    with torch.no_grad():
        # (1/4, 3/4) of (-9, 9) and (1, 1), the members with the lower means: (-1.5, 3)
        close(impl.compute_target(steps()), [[0.25, -1.0], [2.5, -1.0]])


def test_critic_loss_is_the_squared_error_without_gradient_to_the_policy():
    impl = make()
    set_table(impl.q, [[[3.0, 9.0, 9.0], [9.0, 0.0, 9.0]], [[1.0, 9.0, 9.0], [9.0, -2.0, 9.0]]])
    returned = impl.compute_critic_loss(steps(), torch.tensor([1.0, 0.0]))
    loss = total(returned)
    # (2^2 + 0) / 2 + (0 + 2^2) / 2
    close(loss, 4.0)
    close(row_losses(returned), [[4.0, 0.0], [0.0, 4.0]])
    zero = [0.0] * 3
    close(head_gradients(loss, impl.q)[0], [[[2.0, 0.0, 0.0], zero], [zero, [0.0, -2.0, 0.0]]])
    whole = total(impl.critic_loss(steps(discounts=torch.ones(2))))
    assert head_gradients(whole, impl.policy) == (None, None)


def test_advantage_is_one_a_row_over_the_policys_own_value():
    impl = make()
    set_table(impl.q, VALUES)
    set_constant(impl.target_q, [[-50.0] * 3] * 2)
    set_table(impl.policy, POLICY)
    # State 0: 1 - (1 + 0) / 2 = 0.5; state 1: 2 - (4 / 4 + 3/4 * 2) = -0.5
    found = impl.advantages(steps())
    close(found, [0.5, -0.5])
    assert not found.requires_grad


def test_actor_loss_and_its_gradient():
    impl = make(temperature=0.5)
    set_table(impl.q, VALUES)
    set_table(impl.policy, POLICY)
    returned = impl.compute_actor_loss(steps())
    loss, metrics = total(returned)
    # weights exp(2 * (0.5, -0.5)); -log pi = log 2, log 4/3
    weights = [math.exp(1.0), math.exp(-1.0)]
    close(loss, (weights[0] * math.log(2) + weights[1] * math.log(4 / 3)) / 2)
    close(row_losses(returned), [weights[0] * math.log(2), weights[1] * math.log(4 / 3)])
    close(metrics["advantage"], 0.0)
    close(metrics["weight"], sum(weights) / 2)
    # weight * (pi - one-hot) / 2
    first, second = weights[0] / 4, weights[1] / 8
    close(head_gradients(loss, impl.policy)[0].T, [[-first, first, 0.0], [second, -second, 0.0]])
    assert head_gradients(loss, impl.q) == (None, None)


def test_weights_are_bounded():
    impl = make(temperature=1e-3, max_weight=20.0)
    set_table(impl.q, VALUES)
    set_table(impl.policy, POLICY)
    # weights (20, 0)
    loss, metrics = total(impl.compute_actor_loss(steps()))
    close(metrics["weight"], 10.0)
    close(loss, 10 * math.log(2))
    assert make().config.max_weight == 100.0


def test_an_infinite_temperature_is_cloning():
    impl = make(temperature=float("inf"))
    set_table(impl.policy, POLICY)
    close(total(impl.compute_actor_loss(steps()))[0], (math.log(2) + math.log(4 / 3)) / 2)


def test_order_is_critics_actor_and_the_actor_sees_the_new_critics():
    impl = make(learning_rate=0.1, tau=0.25)
    assert [o.name for o in impl.objectives] == ["critic", "actor"]
    before = impl.advantages(steps()).mean()
    set_constant(impl.target_q, [[4.0] * 3, [8.0] * 3])
    policy = {name: value.clone() for name, value in impl.policy.state_dict().items()}
    metrics = impl.update(steps())
    online = impl.q.network.mlp.layers[-1].bias
    moved = torch.tensor([[[3.0] * 3], [[6.0] * 3]]) + 0.25 * online
    close(impl.target_q.network.mlp.layers[-1].bias, moved)
    impl.policy.load_state_dict(policy)
    close(metrics["advantage"], float(impl.advantages(steps()).mean()))
    assert not torch.allclose(before, metrics["advantage"])


def test_learns_a_choice_that_cloning_misses():
    algo = DiscreteAWAC(temperature=0.1, actor_learning_rate=1e-2, **CHOICE)
    assert choice_score(algo, 300) > 0.9
