"""TD3+BC: the one term that TD3 has not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import TD3PlusBC
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl


def build(action_size: int = 1, **options: object) -> TD3PlusBCImpl:
    data = continuous_dataset(action_size=action_size)
    return TD3PlusBC(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def with_networks(**options: object) -> TD3PlusBCImpl:
    """Q1 = (-3, 1) + 2 a; pi = (0.5, 0). The second critic must not matter."""
    impl = build(**options)
    set_table(impl.q, [[[-3.0], [1.0], [2.0]], [[-70.0], [-70.0], [5.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    return impl


def test_actor_loss_by_hand():
    impl = with_networks(alpha=2.5)
    batch = make_batch(STATES, [[0.9], [-0.2]])
    # Q1(s, pi) = (-3 + 1, 1) = (-2, 1): mean -0.5, mean |Q| = 1.5, lambda = 2.5 / 1.5 = 5/3
    # cloning = ((0.5 - 0.9)**2 + (0 + 0.2)**2) / 2 = (0.16 + 0.04) / 2 = 0.1
    # loss = 0.1 - 5/3 * -0.5 = 0.933333
    returned = impl.compute_actor_loss(batch)
    loss, metrics = total(returned)
    close(loss, 0.1 + 5 / 6)
    close(row_losses(returned), [0.16 + 10 / 3, 0.04 - 5 / 3])
    close(metrics["bc_loss"], 0.1)
    assert not metrics["bc_loss"].requires_grad


def test_lambda_is_a_number_without_gradient():
    impl = with_networks(alpha=2.5)
    loss, _ = total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.2]])))
    # d / d pi = (2 * (pi - a) - lambda * 2) / 2 rows = (-0.4 - 5/3, 0.2 - 5/3), times (1 - pi**2) = (0.75, 1)
    # With a gradient through lambda the value term would differ.
    close(head_gradients(loss, impl.policy)[0], [[0.75 * (-0.4 - 5 / 3), 0.2 - 5 / 3]])


def test_scaling_all_values_changes_nothing():
    impl, scaled = with_networks(), with_networks()
    with torch.no_grad():
        for parameter in scaled.q.parameters():
            parameter.mul_(1_000.0)
    batch = make_batch(STATES, [[0.9], [-0.2]])
    close(total(impl.compute_actor_loss(batch))[0], total(scaled.compute_actor_loss(batch))[0])


def test_values_of_zero_leave_cloning():
    impl = with_networks()
    set_constant(impl.q, [[0.0], [0.0]])
    close(total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.2]])))[0], 0.1)


def test_cloning_is_a_mean_over_action_dimensions():
    impl = build(action_size=2)
    set_constant(impl.q, [[0.0], [0.0]])
    set_constant(impl.policy, [0.0, 0.0])
    # (0.04 + 0.16) / 2
    close(total(impl.compute_actor_loss(make_batch(STATES[:1], [[0.2, 0.4]])))[0], 0.1)


def test_actor_loss_reaches_the_policy_alone():
    impl = with_networks()
    targets = [p.clone() for p in impl.target_q.parameters()]
    critics = [p.clone() for p in impl.q.parameters()]
    actor = next(o for o in impl.objectives if o.name == "actor")
    actor.minimize(make_batch(STATES, [[0.9], [-0.2]]))
    assert all(torch.equal(a, b) for a, b in zip(critics, impl.q.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(targets, impl.target_q.parameters(), strict=True))


def test_critics_are_those_of_td3():
    impl = build(target_noise=0.0)
    set_constant(impl.target_q, [[3.0], [2.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 1.0], discounts=[0.5, 0.0])
    # 1 + 0.5 * min(3, 2) = 2; 1 at the terminal row
    close(impl.compute_target(batch), [2.0, 1.0])


def test_observations_are_normalised_with_a_thousandth_added():
    data = continuous_dataset()
    algo = TD3PlusBC(encoder=TABLE, batch_size=64, seed=0, device="cpu")
    seen = algo.sample_batch(data).observations
    mean, std = data.observations.mean(0, dtype=np.float64), data.observations.std(0, dtype=np.float64)
    expected = (data.observations - mean) / (std + 1e-3)
    distances = np.abs(seen.numpy()[:, None] - expected[None]).max(-1).min(1)
    assert distances.max() < 1e-5


@pytest.mark.parametrize(("alpha", "low", "high"), [(20.0, 0.0, 0.12), (0.01, 0.2, 0.3)])
def test_alpha_leads_from_cloning_to_the_best_action(alpha, low, high):
    algo = TD3PlusBC(alpha=alpha, **BANDIT)
    assert low <= bandit_error(algo, 500) < high
