"""AWAC: targets, advantages and weighted cloning, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, normals, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_gaussian, set_table

from offlinekit.algos import AWAC
from offlinekit.algos.torch.awac_impl import AWACImpl

BATCH = make_batch(STATES, [[0.0], [0.25]])
LOG_TWO_PI = math.log(2 * math.pi)


def build(action_size: int = 1, **options: object) -> AWACImpl:
    data = continuous_dataset(action_size=action_size)
    return AWAC(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def test_target_is_the_lowest_target_critic_at_an_action_of_the_policy():
    impl = build()
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    set_gaussian(impl.policy, [0.5, -0.25], 1.0)
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    state = impl.random.state()
    found = impl.compute_target(batch)
    # Row 0 goes to state 1, row 1 to state 0: a' = mean + e * noise, clipped to the box, as one of them is.
    action = (np.array([-0.25, 0.5]) + math.e * normals(state, 2, 1)[:, 0]).clip(-1, 1)
    assert abs(action).max() == 1.0
    lowest = np.minimum([2 + action[0], 1 + action[1]], [4 * action[0], 2 + 4 * action[1]])
    close(found, np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * lowest)


def test_terminal_rows_do_not_bootstrap():
    impl = build()
    set_constant(impl.target_q, [[5.0], [6.0]])
    close(impl.compute_target(make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[0.0, 0.5])), [1.0, 4.5])


def test_quantile_target_is_the_distribution_of_the_lowest_mean():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [-9.0, 9.0]])
    batch = make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5])
    close(impl.compute_target(batch), [[-3.5], [5.5]])


def test_advantage_is_the_lowest_value_less_its_mean_over_actions_of_the_policy():
    impl = build(n_actions=3)
    set_table(impl.q, [FIRST, SECOND])
    set_constant(impl.target_q, [[-100.0], [-100.0]])
    set_gaussian(impl.policy, [0.5, -0.25], -1.0)
    state = impl.random.state()
    found = impl.advantages(BATCH)
    noise = normals(state, 3, 2, 1)[..., 0]
    action = (np.array([0.5, -0.25]) + math.exp(-1) * noise).clip(-1, 1)  # [3, 2]
    sampled = np.minimum(np.array([1, 2]) + action, np.array([2, 0]) + 4 * action)
    # Of the data's actions 0 and 0.25: min(1, 2) = 1 and min(2.25, 1) = 1.
    close(found, 1.0 - sampled.mean(0))
    assert not found.requires_grad


def with_advantages(**options: object) -> AWACImpl:
    """Q = 0 + 4 a and 3 - 4 a around policies that hardly vary: advantages (2, -1) for the batch."""
    impl = build(**options)
    set_table(impl.q, [[[2.0], [3.0], [-4.0]]] * 2)
    set_gaussian(impl.policy, [0.5, 0.0], -5.0)
    impl.policy.random.normal = lambda *shape: torch.zeros(shape)
    return impl


def test_actor_loss_and_its_gradients():
    impl = with_advantages(temperature=2.0)
    # Q at the data 2, 2; at the means 0.5, 0 it is 0, 3: advantages (2, -1), weights exp(1), exp(-1/2)
    # scores (a - mean) / std with std e^-5: s = (-0.5, 0.25) e^5
    # log pi = -s^2 / 2 + 5 - log(2 pi) / 2
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    weights = [math.exp(1.0), math.exp(-0.5)]
    scores = [-0.5 * math.exp(5), 0.25 * math.exp(5)]
    logs = [-0.5 * s**2 + 5 - 0.5 * LOG_TWO_PI for s in scores]
    close(loss, -(weights[0] * logs[0] + weights[1] * logs[1]) / 2)
    close(row_losses(returned), [-w * log for w, log in zip(weights, logs, strict=True)])
    close(metrics["advantage"], 0.5)
    close(metrics["weight"], sum(weights) / 2)
    # d loss / d table = -weight * score * e^5 * (1 - mean**2) / 2 rows
    table = [-w * s * math.exp(5) * slope / 2 for w, s, slope in zip(weights, scores, (0.75, 1), strict=True)]
    close(head_gradients(loss, impl.policy)[0], [table])
    # d loss / d log std = mean(weight * (1 - s^2))
    by_std = torch.autograd.grad(loss, impl.policy.log_stds)[0]
    close(by_std, [sum(w * (1 - s**2) for w, s in zip(weights, scores, strict=True)) / 2])


def test_weights_are_bounded():
    impl = with_advantages(temperature=0.01, max_weight=20.0)
    # exp(200) -> 20, exp(-100) -> 0
    close(total(impl.compute_actor_loss(BATCH))[1]["weight"], 10.0)


def test_every_row_has_its_own_weight():
    # A [B, 1] x [B] product would give the mean weight times the mean likelihood.
    impl = with_advantages(temperature=2.0)
    both = total(impl.compute_actor_loss(BATCH))[0]
    apart = [total(impl.compute_actor_loss(make_batch(STATES[[i]], BATCH.actions[[i]])))[0] for i in range(2)]
    close(both, sum(loss.item() for loss in apart) / 2)


def test_the_advantage_carries_no_gradient():
    impl = with_advantages(temperature=2.0)
    loss, metrics = total(impl.compute_actor_loss(BATCH))
    assert head_gradients(loss, impl.q) == (None, None)
    assert not any(metric.requires_grad for metric in metrics.values())


def test_critics_go_first_and_targets_follow():
    impl = build(tau=0.25)
    assert [o.name for o in impl.objectives] == ["critic", "actor"]
    set_constant(impl.target_q, [[4.0], [8.0]])
    impl.update(BATCH)
    online = impl.q.network.mlp.layers[-1].bias
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)


@pytest.mark.parametrize(("temperature", "low", "high"), [(0.03, 0.0, 0.12), (100.0, 0.2, 0.3)])
def test_temperature_leads_from_the_best_action_to_cloning(temperature, low, high):
    algo = AWAC(temperature=temperature, **BANDIT)
    assert low <= bandit_error(algo, 500) < high
