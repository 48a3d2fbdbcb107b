"""SAC: the squashed density, targets, losses and the temperature, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, normals, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import SAC
from offlinekit.algos.torch.sac_impl import SACImpl


def build(action_size: int = 1, **options: object) -> SACImpl:
    data = continuous_dataset(action_size=action_size)
    return SAC(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def log_density(noise: np.ndarray, mean: float | np.ndarray, log_std: float) -> np.ndarray:
    """The density of tanh(mean + std * noise): the normal one over the slope 1 - tanh**2, per dimension."""
    raw = mean + math.exp(log_std) * noise
    normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - np.log(1 - np.tanh(raw) ** 2)).sum(-1)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-0.4, 0.3)])
def test_the_squashed_density_integrates_to_one(mean, log_std):
    impl = build()
    set_constant(impl.policy, [mean, log_std])
    # Midpoints of 20,000 cells of the box [-1, 1].
    actions = (torch.arange(20_000) + 0.5) / 10_000 - 1
    density = impl.policy.log_prob(torch.zeros(20_000, 2), actions[:, None]).exp()
    close(density.sum() / 10_000, 1.0, atol=2e-3)


def test_samples_have_the_density_that_log_prob_gives():
    impl = build(action_size=2)
    set_constant(impl.policy, [0.3, -0.2, -0.5, 0.1])
    actions, log_probs = impl.policy.sample(torch.zeros(50, 2))
    close(impl.policy.log_prob(torch.zeros(50, 2), actions), log_probs, atol=1e-3)


def test_samples_by_hand_with_leading_axes():
    impl = build()
    set_constant(impl.policy, [0.3, -0.5])
    state = impl.random.state()
    actions, log_probs = impl.policy.sample(torch.zeros(4, 2), 3)
    noise = normals(state, 3, 4, 1)
    close(actions, np.tanh(0.3 + math.exp(-0.5) * noise))
    close(log_probs, log_density(noise, 0.3, -0.5))


def test_log_density_sums_action_dimensions():
    impl = build(action_size=2)
    set_constant(impl.policy, [0.3, 0.3, -0.5, -0.5])
    state = impl.random.state()
    _, log_probs = impl.policy.sample(torch.zeros(4, 2))
    close(log_probs, log_density(normals(state, 4, 2), 0.3, -0.5))


@pytest.mark.parametrize(("log_std", "bound"), [(-30.0, -20.0), (5.0, 2.0)])
def test_standard_deviation_is_bounded(log_std, bound):
    impl = build()
    set_constant(impl.policy, [0.1, log_std])
    close(impl.policy(torch.zeros(1, 2))[1], [[bound]])


def test_acts_by_the_mean_and_explores_by_sampling():
    impl = build()
    set_constant(impl.policy, [0.3, -0.5])
    close(impl.predict_best_action(STATES), [[math.tanh(0.3)]] * 2)
    state = impl.random.state()
    close(impl.sample_action(STATES), np.tanh(0.3 + math.exp(-0.5) * normals(state, 2, 1)))


def test_target_is_the_lowest_target_critic_less_the_weighted_log_density():
    impl = build(initial_temperature=0.2)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[2.0], [0.0], [4.0]]])
    set_table(impl.policy, [[-0.6, -0.5], [0.3, -0.5]])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    state = impl.random.state()
    with torch.no_grad():
        found = impl.compute_target(batch)
    noise = normals(state, 2, 1)
    means = np.array([[0.3], [-0.6]])  # Row 0 goes to state 1 and row 1 to state 0.
    action = np.tanh(means + math.exp(-0.5) * noise)[:, 0]
    # y = r + discount * (min(Q1, Q2) - 0.2 * log pi)
    lowest = np.minimum([2 + action[0], 1 + action[1]], [4 * action[0], 2 + 4 * action[1]])
    entropy = -0.2 * log_density(noise, means, -0.5)
    close(found, np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * (lowest + entropy))


def test_terminal_rows_take_neither_value_nor_entropy():
    impl = build()
    set_constant(impl.target_q, [[5.0], [6.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=[0.0, 0.0])
    close(impl.compute_target(batch), [1.0, 2.0])


def test_quantile_target_shifts_the_lowest_distribution_by_the_entropy():
    impl = build(q_function="qr", n_quantiles=2, initial_temperature=0.2)
    set_constant(impl.target_q, [[0.0, 6.0], [-9.0, 9.0]])
    set_constant(impl.policy, [0.3, -0.5])
    state = impl.random.state()
    found = impl.compute_target(make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5]))
    # Means 3 and 0: the second distribution, y = 1 + 0.5 * ((-9, 9) - 0.2 log pi)
    entropy = -0.2 * log_density(normals(state, 1, 1), 0.3, -0.5)
    close(found, 1 + 0.5 * (np.array([[-9.0], [9.0]]) + entropy))


def test_actor_loss_and_its_gradients():
    impl = build(initial_temperature=0.2)
    # At a state the critics differ by a constant alone: the first is lower at state 0, the second at 1.
    set_table(impl.q, [[[1.0], [5.0], [3.0]], [[2.0], [4.0], [3.0]]])
    set_constant(impl.target_q, [[-100.0], [-100.0]])
    mean, log_std = 0.3, -0.5
    set_constant(impl.policy, [mean, log_std])
    state = impl.random.state()
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    noise = normals(state, 2, 1)
    action = np.tanh(mean + math.exp(log_std) * noise)
    # loss = mean(0.2 log pi - (1 + 3 a, 4 + 3 a))
    values = np.array([1.0, 4.0]) + 3 * action[:, 0]
    close(loss, (0.2 * log_density(noise, mean, log_std) - values).mean())
    close(row_losses(returned), 0.2 * log_density(noise, mean, log_std) - values)
    # raw = mean + std * noise; d log pi / d raw = 2 tanh(raw), as the noise is held; d a / d raw = 1 - a**2
    # d loss / d mean = mean(0.4 a - 3 (1 - a**2)); d loss / d log std adds the factor std * noise and -0.2
    slope = 0.4 * action - 3 * (1 - action**2)
    expected = [slope.mean(), (slope * math.exp(log_std) * noise).mean() - 0.2]
    close(head_gradients(loss, impl.policy)[1], expected)


def test_actor_loss_leaves_critics_and_temperature_alone():
    impl = build()
    before = [p.clone() for p in [*impl.q.parameters(), impl.log_temperature]]
    policy = [p.clone() for p in impl.policy.parameters()]
    actor = next(o for o in impl.objectives if o.name == "actor")
    actor.minimize(make_batch(STATES, [[0.0], [0.0]]))
    after = [*impl.q.parameters(), impl.log_temperature]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(policy, impl.policy.parameters(), strict=True))
    loss = total(impl.compute_actor_loss(make_batch(STATES, [[0.0], [0.0]])))
    assert torch.autograd.grad(loss, impl.log_temperature, allow_unused=True)[0] is None


@pytest.mark.parametrize(("target_entropy", "target"), [(None, -1.0), (0.25, 0.25)])
def test_temperature_loss_and_its_gradient(target_entropy, target):
    impl = build(initial_temperature=0.2, target_entropy=target_entropy)
    set_constant(impl.policy, [0.3, -0.5])
    state = impl.random.state()
    returned = impl.compute_temperature_loss(make_batch(STATES, [[0.0], [0.0]]))
    loss, metrics = total(returned)
    log_probs = log_density(normals(state, 2, 1), 0.3, -0.5)
    # loss = -0.2 * (mean log pi + target); its derivative by log temperature is the loss itself.
    expected = -0.2 * (log_probs.mean() + target)
    close(loss, expected)
    close(row_losses(returned), -0.2 * (log_probs + target))
    close(torch.autograd.grad(loss, impl.log_temperature, retain_graph=True)[0], expected)
    assert head_gradients(loss, impl.policy) == (None, None)
    close(metrics["temperature"], 0.2)
    close(metrics["entropy"], -log_probs.mean())


def test_target_entropy_is_minus_the_action_dimensions():
    impl = build(action_size=3, initial_temperature=1.0)
    set_constant(impl.policy, [0.0] * 6)
    loss, metrics = total(impl.compute_temperature_loss(make_batch(STATES, torch.zeros(2, 3))))
    # -1 * (log pi - 3) = entropy + 3
    close(loss, metrics["entropy"] + 3.0)


@pytest.mark.parametrize(("log_std", "grows"), [(-6.0, True), (0.0, False)])
def test_temperature_grows_while_the_policy_is_too_certain(log_std, grows):
    impl = build()
    set_constant(impl.policy, [0.0, log_std])  # Entropy about -4.6 or 0.6, against the target -1.
    impl.update(make_batch(torch.zeros(256, 2), torch.zeros(256, 1)))
    assert (impl.log_temperature.item() > 0.0) is grows


def test_losses_read_the_temperature_as_it_is_now():
    impl = build(initial_temperature=1.0)
    set_constant(impl.target_q, [[0.0], [0.0]])
    set_constant(impl.q, [[0.0], [0.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    state = impl.random.state()
    target = impl.compute_target(batch)
    impl.random.set_state(state)
    loss = total(impl.compute_actor_loss(batch))
    with torch.no_grad():
        impl.log_temperature.add_(math.log(3.0))
    # With Q = 0 the target is -temperature log pi and the actor's loss temperature log pi: both three-fold.
    impl.random.set_state(state)
    close(impl.compute_target(batch), (3 * target).tolist(), atol=1e-4)
    impl.random.set_state(state)
    close(total(impl.compute_actor_loss(batch)), 3 * loss.item(), atol=1e-4)


def test_order_is_temperature_actor_critics():
    assert [o.name for o in build().objectives] == ["temperature", "actor", "critic"]


def test_target_critics_follow_by_polyak_averaging():
    impl = build(tau=0.25)
    set_constant(impl.target_q, [[4.0], [8.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    # 0.75 * (4, 8) + 0.25 * online
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)


def test_the_target_carries_no_gradient():
    impl = build()
    loss = total(impl.critic_loss(make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])))
    assert head_gradients(loss, impl.policy) == (None, None)
    assert torch.autograd.grad(loss, impl.log_temperature, allow_unused=True, retain_graph=True)[0] is None


def test_learns_a_bandit_better_than_cloning():
    algo = SAC(initial_temperature=0.01, **BANDIT)
    assert bandit_error(algo, 400) < 0.12
