"""TD3: targets, losses and the order of its updates, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_table

from offlinekit.algos import TD3
from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.datasets import MDPDataset

# Two one-hot states and one action; Q(s, a) = row of s + last row * a.


def build(action_size: int = 1, **options: object) -> TD3Impl:
    data = continuous_dataset(action_size=action_size)
    return TD3(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def with_networks(**options: object) -> TD3Impl:
    """The target networks are those of the comments; the online ones would give numbers far off."""
    impl = build(**options)
    set_constant(impl.q, [[100.0], [100.0]])
    set_constant(impl.policy, [9.0])
    set_table(impl.target_q, [FIRST, SECOND])
    set_table(impl.target_policy, [[math.atanh(0.5)], [math.atanh(-0.25)]])
    return impl


def test_target_is_the_lowest_target_critic_at_the_target_policy():
    impl = with_networks(target_noise=0.0)
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    # row 0 goes to state 1, a' = -0.25: min(1.75, -1) = -1, y = 1 + 0.9 * -1 = 0.1
    # row 1 goes to state 0, a' = 0.5: min(1.5, 4) = 1.5, y = 2 + 0.5 * 1.5 = 2.75
    close(impl.compute_target(batch), [0.1, 2.75])


def test_terminal_rows_do_not_bootstrap():
    impl = with_networks(target_noise=0.0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=[0.0, 0.5])
    close(impl.compute_target(batch), [1.0, 1.5])


def test_noise_is_scaled_clipped_and_its_action_clamped():
    impl = build(target_noise=0.4, target_noise_clip=0.5)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0]]] * 2)  # Q = a
    set_constant(impl.target_policy, [math.atanh(0.6)])
    batch = make_batch(torch.zeros(500, 2), torch.zeros(500, 1), discounts=np.ones(500))
    state = impl.random.state()
    found = impl.compute_target(batch)
    noise = 0.4 * torch.randn(500, 1, generator=torch.Generator().set_state(state))
    close(found, (0.6 + noise.clamp(-0.5, 0.5)).clamp(-1.0, 1.0)[:, 0])
    # Both bounds were met: 0.6 - 0.5 = 0.1 below, the edge of the box above.
    assert found.min() == pytest.approx(0.1)
    assert found.max() == 1.0


def test_quantile_target_is_the_distribution_of_the_lowest_mean():
    impl = build(q_function="qr", n_quantiles=3, target_noise=0.0)
    set_constant(impl.target_q, [[0.0, 3.0, 6.0], [-9.0, 1.0, 9.0]])
    batch = make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5])
    # Means 3 and 1/3: the second, whole; y = 1 + 0.5 * (-9, 1, 9)
    close(impl.compute_target(batch), [[-3.5], [1.5], [5.5]])


def test_critic_loss_sums_members_of_means_over_rows():
    impl = build()
    set_table(impl.q, [FIRST, SECOND])
    batch = make_batch(STATES, [[1.0], [-0.5]])
    # Q1 = (2, 1.5), Q2 = (6, -2); target (1, 1): errors (1, 0.5) and (5, -3)
    # loss = (1 + 0.25) / 2 + (25 + 9) / 2 = 0.625 + 17 = 17.625
    returned = impl.compute_critic_loss(batch, torch.ones(2))
    loss = total(returned)
    close(loss, 17.625)
    close(row_losses(returned), [[1.0, 0.25], [25.0, 9.0]])
    # d loss / d bias = mean(2 * error) = (1.5, 2); d / d weight of a = mean(2 * error * a):
    # member 1: (2 * 1 - 0.5 * 1) / 2 = 0.75; member 2: (10 * 1 + -6 * -0.5) / 2 = 6.5
    weight, bias = head_gradients(loss, impl.q)
    close(bias, [[[1.5]], [[2.0]]])
    close(weight[:, 2, 0], [0.75, 6.5])


def test_critic_loss_obeys_masks():
    impl = build()
    set_table(impl.q, [FIRST, SECOND])
    batch = make_batch(STATES, [[1.0], [-0.5]], masks=[[1, 0], [0, 0]])
    # Member 1 sees row 0 alone: 1; member 2 sees none: 0.
    close(total(impl.compute_critic_loss(batch, torch.ones(2))), 1.0)


def test_the_target_carries_no_gradient():
    impl = with_networks()
    assert not any(p.requires_grad for p in [*impl.target_q.parameters(), *impl.target_policy.parameters()])
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    loss = total(impl.critic_loss(batch))
    assert head_gradients(loss, impl.policy) == (None, None)
    assert head_gradients(loss, impl.q)[0] is not None


def test_actor_loss_is_minus_the_first_critic():
    impl = build()
    set_table(impl.q, [[[1.0], [2.0], [3.0]], [[-50.0], [-50.0], [-50.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    batch = make_batch(STATES, [[0.9], [0.9]])
    # Q1(s, pi(s)) = (1 + 1.5, 2 + 0) = (2.5, 2); loss = -2.25
    returned = impl.compute_actor_loss(batch)
    loss = total(returned)
    close(loss, -2.25)
    close(row_losses(returned), [-2.5, -2.0])
    # d loss / d table = -3 * (1 - tanh**2) / 2 = -3 * (0.75, 1) / 2
    close(head_gradients(loss, impl.policy)[0], [[-1.125, -1.5]])


def test_actor_update_changes_the_policy_alone():
    impl = build()
    critics = [p.clone() for p in impl.q.parameters()]
    policy = [p.clone() for p in impl.policy.parameters()]
    actor = next(o for o in impl.objectives if o.name == "actor")
    actor.minimize(make_batch(STATES, [[0.0], [0.0]]))
    assert all(torch.equal(a, b) for a, b in zip(critics, impl.q.parameters(), strict=True))
    assert all(p.grad is None for p in impl.q.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(policy, impl.policy.parameters(), strict=True))


def test_policy_and_targets_wait_for_the_delay():
    impl = build(policy_delay=3, tau=0.25)
    set_constant(impl.target_q, [[0.0], [0.0]])
    batch = make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0])
    policy, target = impl.policy.network.mlp.layers[-1], impl.target_q.network.mlp.layers[-1]
    before, frozen = policy.weight.clone(), target.weight.clone()
    for _ in range(2):
        metrics = impl.update(batch)
        assert set(metrics) == {"critic_loss"}
        assert torch.equal(policy.weight, before)
        assert torch.equal(target.weight, frozen)
    assert set(impl.update(batch)) == {"critic_loss", "actor_loss"}
    assert not torch.equal(policy.weight, before)
    # target = 0.75 * target + 0.25 * online
    online = impl.q.network.mlp.layers[-1].weight
    close(target.weight, 0.75 * frozen + 0.25 * online)
    assert not torch.equal(target.weight, frozen)


def test_target_policy_follows_the_policy():
    impl = build(policy_delay=1, tau=0.5)
    set_constant(impl.target_policy, [4.0])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.policy.network.mlp.layers[-1].bias
    close(impl.target_policy.network.mlp.layers[-1].bias, 2.0 + 0.5 * online)


def test_n_steps_discount_the_bootstrap_by_their_power():
    # Rewards 1, 2, 4 of one unfinished recording with a known end; gamma 1/2, three steps from row 0:
    # reward = 1 + 2 / 2 + 4 / 4 = 3, discount = 1 / 8; V = min Q = 8: y = 3 + 1 = 4
    data = MDPDataset(
        np.eye(4)[:3],
        np.zeros((3, 1)),
        np.array([1.0, 2.0, 4.0]),
        np.zeros(3),
        timeouts=[0, 0, 1],
        final_observations=np.eye(4)[3:],
        final_known=np.array([True]),
    )
    algo = TD3(encoder=TABLE, gamma=0.5, n_step=3, batch_size=64, seed=0, device="cpu")
    batch = algo.sample_batch(data)
    set_constant(algo.impl.target_q, [[8.0], [9.0]])
    targets = algo.impl.compute_target(batch)
    rows = batch.observations.argmax(-1)
    close(targets[rows == 0][0], 4.0)
    # Row 1 takes the two steps that are left: 2 + 4 / 2 + 8 / 4 = 6; row 2 one: 4 + 8 / 2 = 8.
    close(targets[rows == 1][0], 6.0)
    close(targets[rows == 2][0], 8.0)


def test_value_is_the_mean_of_the_critics_at_the_policy_or_at_given_actions():
    impl = build()
    set_table(impl.q, [FIRST, SECOND])
    set_constant(impl.policy, [math.atanh(0.5)])
    # State 0: (1.5 + 4) / 2 = 2.75; at a = -1: (0 - 2) / 2 = -1
    close(impl.predict_value(STATES[:1], None), [2.75])
    close(impl.predict_value(STATES[:1], torch.tensor([[-1.0]])), [-1.0])
    close(impl.sample_action(STATES[:1]), [[0.5]])


def test_learns_a_bandit_better_than_cloning():
    algo = TD3(**BANDIT)
    assert bandit_error(algo, 500) < 0.12
