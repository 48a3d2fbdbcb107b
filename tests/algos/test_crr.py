"""CRR: targets, advantages, both weights and the critic-weighted policy, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, normals, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import bandit_error
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_gaussian, set_table

from offlinekit.algos import CRR, MLPEncoder
from offlinekit.algos.torch.crr_impl import CRRImpl

BATCH = make_batch(STATES, [[0.0], [0.25]])
LOG_TWO_PI = math.log(2 * math.pi)


def build(**options: object) -> CRRImpl:
    return CRR(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl


def test_target_is_the_lowest_target_critic_at_an_action_of_the_target_policy():
    impl = build(n_critics=2)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    set_gaussian(impl.policy, [0.9, 0.9], -5.0)
    set_gaussian(impl.target_policy, [0.5, -0.25], -1.0)
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    state = impl.random.state()
    found = impl.compute_target(batch)
    # Row 0 goes to state 1, row 1 to state 0: a' = mean + noise / e, clipped to the box.
    action = (np.array([-0.25, 0.5]) + math.exp(-1) * normals(state, 2, 1)[:, 0]).clip(-1, 1)
    lowest = np.minimum([2 + action[0], 1 + action[1]], [4 * action[0], 2 + 4 * action[1]])
    close(found, np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * lowest)


def test_terminal_rows_do_not_bootstrap():
    impl = build()
    set_constant(impl.target_q, [[5.0]])
    close(impl.compute_target(make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[0.0, 0.5])), [1.0, 4.5])


def test_quantile_target_is_the_distribution_of_the_lowest_mean():
    impl = build(q_function="qr", n_quantiles=2, n_critics=2)
    set_constant(impl.target_q, [[0.0, 6.0], [-9.0, 9.0]])
    batch = make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5])
    close(impl.compute_target(batch), [[-3.5], [5.5]])


@pytest.mark.parametrize("advantage", ["mean", "max"])
def test_advantage_is_the_value_less_that_of_the_policys_actions(advantage):
    impl = build(n_actions=3, n_critics=2, advantage=advantage)
    set_table(impl.q, [FIRST, SECOND])
    set_constant(impl.target_q, [[-100.0], [-100.0]])
    set_gaussian(impl.policy, [0.5, -0.25], -1.0)
    state = impl.random.state()
    found = impl.advantages(BATCH)
    noise = normals(state, 3, 2, 1)[..., 0]
    action = (np.array([0.5, -0.25]) + math.exp(-1) * noise).clip(-1, 1)  # [3, 2]
    sampled = np.minimum(np.array([1, 2]) + action, np.array([2, 0]) + 4 * action)
    # Of the data's actions 0 and 0.25: min(1, 2) = 1 and min(2.25, 1) = 1.
    close(found, 1.0 - (sampled.mean(0) if advantage == "mean" else sampled.max(0)))
    assert not found.requires_grad


def test_binary_weights_keep_strictly_positive_advantages():
    close(build(weight="binary").weights(torch.tensor([-1.0, 0.0, 1e-6, 50.0])), [0.0, 0.0, 1.0, 1.0])


def test_exponential_weights_are_bounded():
    # exp(A / 2) for A = -1, 0, 4, and exp(25) bounded by 20.
    impl = build(temperature=2.0)
    expected = [math.exp(-0.5), 1.0, math.exp(2.0), 20.0]
    close(impl.weights(torch.tensor([-1.0, 0.0, 4.0, 50.0])), expected)


def with_advantages(**options: object) -> CRRImpl:
    """Q = 2 - 4 a and 3 - 4 a with draws at the means (0.5, 0): advantages (2, -1) for the batch."""
    impl = build(**options)
    set_table(impl.q, [[[2.0], [3.0], [-4.0]]])
    set_gaussian(impl.policy, [0.5, 0.0], 0.0)
    impl.policy.random.normal = lambda *shape: torch.zeros(shape)
    return impl


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"temperature": 2.0}, [math.exp(1.0), math.exp(-0.5)]),
        ({"weight": "binary"}, [1.0, 0.0]),
        ({"weight": "binary", "advantage": "max"}, [1.0, 0.0]),
    ],
)
def test_actor_loss_and_its_gradients(options, weights):
    impl = with_advantages(**options)
    # Q of the data 2, 2; of the policy 0, 3. log pi = -(a - mean)^2 / 2 - log(2 pi) / 2, std 1
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    logs = [-0.125 - 0.5 * LOG_TWO_PI, -0.03125 - 0.5 * LOG_TWO_PI]
    close(loss, -(weights[0] * logs[0] + weights[1] * logs[1]) / 2)
    close(row_losses(returned), [-weight * log for weight, log in zip(weights, logs, strict=True)])
    close(metrics["advantage"], 0.5)
    close(metrics["weight"], sum(weights) / 2)
    # d loss / d table = -weight * (a - mean) * (1 - mean**2) / 2 rows
    close(head_gradients(loss, impl.policy)[0], [[weights[0] * 0.5 * 0.75 / 2, -weights[1] * 0.25 / 2]])
    # d loss / d log std = mean(weight * (1 - (a - mean)^2))
    by_std = torch.autograd.grad(loss, impl.policy.log_stds)[0]
    close(by_std, [(weights[0] * 0.75 + weights[1] * 0.9375) / 2])


def test_weights_meet_their_own_rows():
    # Values [B, 1] against likelihoods [B] would give a [B, B] table whose mean mixes rows.
    impl = with_advantages(temperature=2.0)
    assert impl.advantages(BATCH).shape == (2,)
    assert impl.weights(impl.advantages(BATCH)).shape == (2,)
    both = total(impl.compute_actor_loss(BATCH))[0]
    apart = [total(impl.compute_actor_loss(make_batch(STATES[[i]], BATCH.actions[[i]])))[0] for i in range(2)]
    close(both, sum(loss.item() for loss in apart) / 2)


def test_the_advantage_carries_no_gradient():
    # Draws are reparametrised: with a gradient through the advantage the policy would move by the critic too.
    impl = with_advantages(temperature=2.0)
    loss, metrics = total(impl.compute_actor_loss(BATCH))
    assert head_gradients(loss, impl.q) == (None, None)
    assert not any(metric.requires_grad for metric in metrics.values())


def test_the_critic_weighted_policy_prefers_actions_of_higher_value():
    impl = build(temperature=0.5, n_actions=2)
    set_table(impl.q, [[[0.0], [0.0], [1.0]]])  # Q = a
    set_gaussian(impl.policy, [0.0, 0.0], 0.0)
    draws = iter([torch.tensor([0.5, -0.5])[:, None, None].expand(2, 4_000, 1)])
    impl.policy.random.normal = lambda *shape: next(draws)
    actions = impl.sample_action(STATES[:1].expand(4_000, 2))
    # P(0.5) = 1 / (1 + exp(-1 / 0.5)) = 0.8808
    close((actions == 0.5).float().mean(), 0.8808, atol=0.02)
    assert set(actions.unique().tolist()) == {-0.5, 0.5}
    assert impl.predict_best_action(STATES).tolist() == [[0.0], [0.0]]


def test_each_state_draws_among_its_own_actions():
    impl = build(temperature=1e-3, n_actions=2)
    set_table(impl.q, [[[0.0], [0.0], [1.0]]])  # Q = a: the higher of a state's two is chosen.
    set_gaussian(impl.policy, [0.0, 0.0], 0.0)
    draws = iter([torch.tensor([[[0.1], [0.7]], [[0.4], [-0.2]]])])  # [M, B, A]
    impl.policy.random.normal = lambda *shape: next(draws)
    close(impl.sample_action(STATES), [[0.4], [0.7]])


def test_targets_are_copied_at_their_interval():
    impl = build(target_update_interval=2)
    before = [p.clone() for p in impl.target_policy.parameters()]
    impl.update(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(before, impl.target_policy.parameters(), strict=True))
    impl.update(BATCH)
    for online, target in ((impl.q, impl.target_q), (impl.policy, impl.target_policy)):
        for mine, other in zip(online.parameters(), target.parameters(), strict=True):
            assert torch.equal(mine, other)
    assert not all(torch.equal(a, b) for a, b in zip(before, impl.target_policy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [({"temperature": 0.03}, 0.0, 0.12), ({"weight": "binary"}, 0.0, 0.12), ({"temperature": 100}, 0.2, 0.3)],
)
def test_learns_a_bandit_better_than_cloning(options, low, high):
    algo = CRR(
        encoder=MLPEncoder((32, 32)),
        actor_learning_rate=3e-3,
        critic_learning_rate=3e-3,
        batch_size=64,
        seed=0,
        device="cpu",
        **options,
    )
    assert low <= bandit_error(algo, 500) < high
