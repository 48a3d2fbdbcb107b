"""ReBRAC: both penalties, by hand, and next actions that stay in their episode."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import MLPEncoder, ReBRAC
from offlinekit.algos.torch.rebrac_impl import ReBRACImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError


def build(action_size: int = 1, **options: object) -> ReBRACImpl:
    options = {"actor_penalty": 0.3, "critic_penalty": 0.7, "target_noise": 0.0, **options}
    algo = ReBRAC(encoder=TABLE, critic_encoder=TABLE, seed=0, device="cpu", **options)
    return algo.build(continuous_dataset(action_size=action_size)).impl


def test_target_pays_for_the_distance_to_the_next_action_of_the_data():
    impl = build()
    set_constant(impl.q, [[100.0], [100.0]])
    set_constant(impl.policy, [9.0])
    set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[2.0], [0.0], [4.0]]])
    set_table(impl.target_policy, [[math.atanh(0.5)], [math.atanh(-0.25)]])
    after = STATES.flip(0)
    batch = make_batch(
        STATES,
        [[0.9], [0.9]],
        [1.0, 2.0],
        next_observations=after,
        next_actions=[[0.25], [-0.5]],
        discounts=[0.9, 0.5],
    )
    # row 0: a' = -0.25, min(1.75, -1) = -1, distance 0.25: y = 1 + 0.9 * (-1 - 0.7 * 0.25) = -0.0575
    # row 1: a' = 0.5, min(1.5, 4) = 1.5, distance 1: y = 2 + 0.5 * (1.5 - 0.7) = 2.4
    close(impl.compute_target(batch), [-0.0575, 2.4])
    # Where the MDP ended neither value nor penalty counts.
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_target_actions_are_noisy_clipped_and_clamped_in_value_and_penalty():
    impl = build(target_noise=0.4)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0]]] * 2)  # Q = a
    set_constant(impl.target_policy, [math.atanh(0.6)])
    impl.random.normal = lambda *shape: torch.tensor([[2.0], [-1.0]])
    batch = make_batch(STATES, [[0.0]] * 2, next_actions=[[0.5], [0.5]], discounts=[1.0, 1.0])
    # Noise 0.8 clipped to 0.5, 1.1 clamped to 1: 1 - 0.7 * 0.25; noise -0.4: 0.2 - 0.7 * 0.09
    close(impl.compute_target(batch), [0.825, 0.137])


def test_distances_are_sums_over_action_dimensions():
    impl = build(action_size=2)
    set_constant(impl.target_q, [[0.0], [0.0]])
    set_constant(impl.q, [[0.0], [0.0]])
    for policy in (impl.target_policy, impl.policy):
        set_constant(policy, [0.0, 0.0])
    row = make_batch(STATES[:1], [[0.2, 0.4]], next_actions=[[0.1, 0.3]], discounts=[1.0])
    # -0.7 * (0.01 + 0.09); 0.3 * (0.04 + 0.16)
    close(impl.compute_target(row), [-0.07])
    loss, metrics = total(impl.compute_actor_loss(row))
    close(loss, 0.06)
    close(metrics["distance"], 0.2)


def test_quantile_targets_are_shifted_by_the_penalty():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [-9.0, 9.0]])
    set_constant(impl.target_policy, [0.0])
    batch = make_batch(STATES[:1], [[0.0]], [1.0], next_actions=[[1.0]], discounts=[0.5])
    # 1 + 0.5 * ((-9, 9) - 0.7)
    close(impl.compute_target(batch), [[-3.85], [5.15]])


def test_actor_loss_and_its_gradient():
    impl = build()
    # At pi = (0.5, 0): Q1 = (-1, 4), Q2 = (-2, 5); the lowest (-2, 4), mean 1, mean |Q| = 3
    set_table(impl.q, [[[-2.0], [4.0], [2.0]], [[-4.0], [5.0], [4.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.2]]))
    loss, metrics = total(returned)
    # distance (0.16 + 0.04) / 2 = 0.1; loss = 0.3 * 0.1 - 1 / 3
    close(loss, 0.03 - 1 / 3)
    close(row_losses(returned), [0.3 * 0.16 + 2 / 3, 0.3 * 0.04 - 4 / 3])
    close(metrics["distance"], 0.1)
    assert not metrics["distance"].requires_grad
    # d / d pi = (0.3 * 2 * (pi - a) - dQ / 3) / 2 rows, dQ = (4, 2); times 1 - pi^2 = (0.75, 1)
    expected = [0.75 * (0.6 * -0.4 - 4 / 3) / 2, (0.6 * 0.2 - 2 / 3) / 2]
    close(head_gradients(loss, impl.policy)[0], [expected])


def test_values_of_zero_leave_cloning():
    impl = build()
    set_constant(impl.q, [[0.0], [0.0]])
    set_constant(impl.policy, [0.0])
    close(total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.2]])))[0], 0.3 * (0.81 + 0.04) / 2)


def two_episodes(**options: object) -> MDPDataset:
    """Actions 0.1 .. 0.5; the first three end by a time limit with its final observation, then by the MDP."""
    return MDPDataset(
        np.eye(6, dtype=np.float32)[:5],
        np.arange(1, 6, dtype=np.float32)[:, None] / 10,
        np.zeros(5),
        [0, 0, 0, 0, 1],
        timeouts=[0, 0, 1, 0, 0],
        **options,
    )


def test_next_actions_are_those_of_the_same_episode():
    data = two_episodes(
        final_observations=np.eye(6, dtype=np.float32)[[5, 5]], final_known=np.array([True, True])
    )
    batch = ReBRAC(encoder=TABLE, batch_size=200, action_scaler=None, seed=0, device="cpu").sample_batch(data)
    pairs = torch.cat([batch.actions, batch.next_actions], 1).mul(10).round().div(10)
    follows = {tuple(round(a, 1) for a in pair) for pair in pairs.tolist()}
    # Row 2 ends by the time limit: no action followed it, the next episode's is none; row 4 does not bootstrap.
    assert follows == {(0.1, 0.2), (0.2, 0.3), (0.4, 0.5), (0.5, 0.0)}
    assert set(batch.discounts[batch.next_actions[:, 0] == 0].tolist()) == {0.0}


def test_transitions_without_an_order_have_no_next_actions():
    data = two_episodes(next_observations=np.eye(6, dtype=np.float32)[[3, 0, 5, 1, 2]])
    with pytest.raises(DatasetError, match="learns from the action that follows in the data"):
        ReBRAC(encoder=TABLE, seed=0, device="cpu").sample_batch(data)


def test_critics_have_layer_norm():
    algo = ReBRAC()
    assert algo.critic_encoder.layer_norm
    assert not algo.encoder.layer_norm


@pytest.mark.parametrize(("penalty", "low", "high"), [(0.01, 0.0, 0.12), (100.0, 0.2, 0.3)])
def test_penalty_leads_from_the_best_action_to_cloning(penalty, low, high):
    algo = ReBRAC(critic_encoder=MLPEncoder((32, 32), layer_norm=True), actor_penalty=penalty, **BANDIT)
    assert low <= bandit_error(algo, 500) < high


def test_penalties_fall_online():
    impl = build(cooling_end=0.5, online_critic_share=0.25)
    set_constant(impl.target_q, [[4.0], [4.0]])
    set_constant(impl.target_policy, [math.atanh(0.5)])
    set_constant(impl.policy, [math.atanh(0.5)])
    set_constant(impl.q, [[0.0], [0.0]])  # The penalty alone.
    batch = make_batch(STATES, [[0.0], [0.0]], next_actions=[[0.0], [0.0]], discounts=[1.0, 1.0])
    # Distance 0.25: 4 - 0.7 * 0.25 = 3.825 and 0.3 * 0.25 = 0.075.
    close(impl.compute_target(batch), [3.825, 3.825])
    close(total(impl.compute_actor_loss(batch))[0], 0.075)
    impl.enter_phase(online=True)
    impl.horizon = 4
    # The targets' is a quarter at once: 4 - 0.175 / 4. The actor's has 1, 0.75, 0.5 and 0.5 of it left.
    for share in (1.0, 0.75, 0.5, 0.5):
        impl.begin_update()
        close(impl.compute_target(batch), [3.95625, 3.95625])
        close(total(impl.compute_actor_loss(batch))[0], 0.075 * share)
    impl.enter_phase(online=False)
    close(impl.compute_target(batch), [3.825, 3.825])
    close(total(impl.compute_actor_loss(batch))[0], 0.075)


def test_online_the_targets_penalty_is_gone_by_default():
    front = ReBRAC(seed=0)
    assert (front.cooling_end, front.online_critic_share) == (0.5, 0.0)
    assert ReBRAC.online_settings == {"mixing": "symmetric"}
