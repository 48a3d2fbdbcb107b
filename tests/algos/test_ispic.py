"""ISPI-C: two agents with half of the rows each, their targets, filtered distances and choice, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import PENDULUM, bandit_error, pendulum_return
from table_networks import FIRST, SECOND, STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import ISPIC, MLPEncoder
from offlinekit.algos.torch.ispic_impl import ISPICImpl
from offlinekit.errors import UnsupportedError

ROWS = one_hot([0, 1, 0, 1], 2)  # The first two are the first agent's, the others the second's.
ACTIONS = np.array([0.9, -0.2, 0.3, 0.6])


def build(**options: object) -> ISPICImpl:
    """pi_1 = (0.5, 0.1), pi_2 = (-0.3, 0.2); the target policies (0.25, -0.5) and (-0.5, 0.75)."""
    impl = ISPIC(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_table(impl.q, [FIRST, SECOND])
    for policy, actions in (
        (impl.policy, [[0.5, 0.1], [-0.3, 0.2]]),
        (impl.target_policy, [[0.25, -0.5], [-0.5, 0.75]]),
    ):
        tables = [[*([math.atanh(a)] for a in row)] for row in actions]
        set_table(policy, tables)
    return impl


def batch(**columns: object):
    return make_batch(ROWS, ACTIONS.astype(np.float32)[:, None], [1.0, 2.0, 3.0, 4.0], **columns)


def test_target_is_the_lowest_target_critic_each_at_its_own_target_policy():
    impl = build(target_noise=0.0)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    # State 0: Q1'(0.25) = 1.25, Q2'(-0.5) = 0; state 1: Q1'(-0.5) = 1.5, Q2'(0.75) = 3
    found = impl.compute_target(batch(next_observations=ROWS.flip(0), discounts=[0.9, 0.5, 1.0, 0.0]))
    close(found, [1 + 0.9 * 1.5, 2.0, 3 + 1.5, 4.0])


def test_both_agents_see_the_same_clipped_noise():
    impl = build(target_noise=0.4, target_noise_clip=0.5)
    impl.random.normal = lambda *shape: torch.tensor([0.5, -9.0, 9.0, 1.0]).view(shape)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0]]] * 2)  # Q' = a, so the lower action
    # Noise 0.2, -0.5, 0.5, 0.4 on (-0.5, -0.5, -0.5, -0.5)
    close(impl.compute_target(batch(discounts=np.ones(4))), [0.7, 1.0, 3.0, 3.9])


def test_target_actions_stay_in_the_box():
    impl = build(target_noise_clip=2.0, target_noise=1.0)
    impl.random.normal = lambda *shape: torch.full(shape, 9.0)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0]]] * 2)
    close(impl.compute_target(batch(discounts=np.ones(4))), np.arange(1, 5) + 1.0)


def test_each_critic_learns_from_its_own_half():
    impl = build()
    returned = impl.compute_critic_loss(batch(), torch.ones(4))
    loss = total(returned)
    # Q1 = 1.9, 1.8 of rows 0, 1; Q2 = 3.2, 2.4 of rows 2, 3: errors 0.9, 0.8 and 2.2, 1.4
    close(loss, (0.81 + 0.64) / 2 + (4.84 + 1.96) / 2)
    close(row_losses(returned)[0, :2], [0.81, 0.64])
    # d / d bias = mean(2 * error)
    close(head_gradients(loss, impl.q)[1], [[[1.7]], [[3.6]]])


def test_bootstrap_masks_leave_rows_out():
    impl = build()
    loss = total(impl.compute_critic_loss(batch(masks=[[1, 0, 1, 1], [1, 1, 1, 0]]), torch.ones(4)))
    close(loss, 0.81 + 4.84)


def test_actor_loss_and_its_gradient():
    impl = build(alpha=2.0, reference_weight=0.7)
    returned = impl.compute_actor_loss(batch())
    loss, metrics = total(returned)
    # Q1(s, pi_1) = 1.5, 2.1; Q2(s, pi_2) = 0.8, 0.8: the second is held to the first, not the first to the second
    first, second = np.array([0.5, 0.1]), np.array([-0.3, 0.2])
    one = 0.3 * (first - ACTIONS[:2]) ** 2
    other = 0.7 * (second - first) ** 2 + 0.3 * (second - ACTIONS[2:]) ** 2
    # lambda = 2 / 1.8 and 2 / 0.8, of means 1.8 and 0.8
    close(loss, one.mean() - 2 + other.mean() - 2)
    close(row_losses(returned)[0, :2], one - 2 / 1.8 * np.array([1.5, 2.1]))
    close(metrics["distance"], (one.mean() + other.mean()) / 2)
    assert not metrics["distance"].requires_grad
    by_first = (0.6 * (first - ACTIONS[:2]) - 2 / 1.8 * 1) / 2
    by_second = (1.4 * (second - first) + 0.6 * (second - ACTIONS[2:]) - 2 / 0.8 * 4) / 2
    expected = np.stack([by_first * (1 - first**2), by_second * (1 - second**2)])
    close(head_gradients(loss, impl.policy)[0], expected[..., None])


def test_the_first_is_held_to_the_second_where_that_is_worth_more():
    impl = build(alpha=1e-9, reference_weight=1.0)
    set_table(impl.q, [[[1.0], [9.0], [0.0]], [[2.0], [0.0], [0.0]]])
    # State 0: the second is worth more; state 1: the first. Alike they hold nobody.
    close(total(impl.compute_actor_loss(batch()))[0], 0.8**2 / 2 + 0.1**2 / 2)
    set_constant(impl.q, [[1.0], [1.0]])
    close(total(impl.compute_actor_loss(batch()))[0], 0.0)


def test_acts_by_the_agent_that_values_its_own_action_more():
    impl = build()
    set_table(impl.q, [[[1.0], [0.0], [0.0]], [[0.0], [1.0], [0.0]]])
    close(impl.predict_best_action(STATES), [[0.5], [0.2]])
    close(impl.sample_action(STATES), [[0.5], [0.2]])


def test_losses_move_their_own_networks_and_targets_follow_both():
    impl = build(tau=0.25)
    before = [p.clone() for p in impl.q.parameters()]
    old = impl.target_policy.network.mlp.layers[-1].weight.clone()
    next(o for o in impl.objectives if o.name == "actor").minimize(batch())
    assert all(torch.equal(a, b) for a, b in zip(before, impl.q.parameters(), strict=True))
    assert list(impl.update(batch())) == ["critic_loss", "actor_loss", "distance"]
    online = impl.policy.network.mlp.layers[-1].weight
    close(impl.target_policy.network.mlp.layers[-1].weight, 0.75 * old + 0.25 * online)


def test_quantile_target_is_the_distribution_of_the_lowest_mean():
    algo = ISPIC(encoder=TABLE, seed=0, device="cpu", q_function="qr", n_quantiles=3)
    impl = algo.build(continuous_dataset()).impl
    set_constant(impl.target_q, [[0.0, 3.0, 6.0], [-9.0, 1.0, 9.0]])
    found = impl.compute_target(make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5]))
    close(found, [[-3.5], [1.5], [5.5]])


def test_other_numbers_of_critics_are_refused():
    with pytest.raises(UnsupportedError, match="one critic for each"):
        ISPIC(n_critics=3, device="cpu").build(continuous_dataset())


def test_learns_a_bandit_better_than_cloning():
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    algo = ISPIC(encoder=MLPEncoder((32, 32)), batch_size=64, seed=0, device="cpu", **rates)
    assert bandit_error(algo, 400) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    assert pendulum_return(ISPIC(**PENDULUM), 3_000) > -1000
