"""Behaviour cloning: losses by hand, what it samples, what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import bandit_dataset, bandit_error
from table_networks import TABLE, set_constant

from offlinekit.algos import BC, MLPEncoder
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError


def build(action_size: int = 1, **options: object) -> BCImpl:
    data = continuous_dataset(action_size=action_size)
    return BC(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def test_squared_error_and_its_gradient():
    impl = build()
    set_constant(impl.policy, [math.atanh(0.5)])
    batch = make_batch(torch.zeros(2, 2), [[0.1], [-0.5]])
    # errors = 0.5 - (0.1, -0.5) = (0.4, 1.0); loss = (0.16 + 1) / 2 = 0.58
    returned = impl.compute_actor_loss(batch)
    loss = total(returned)
    close(loss, 0.58)
    close(row_losses(returned), [0.16, 1.0])
    # d loss / d bias = mean(2 * error) * (1 - tanh**2) = 1.4 * 0.75 = 1.05
    close(head_gradients(loss, impl.policy)[1], [1.05])


def test_squared_error_is_a_mean_over_action_dimensions_too():
    impl = build(action_size=2)
    set_constant(impl.policy, [0.0, 0.0])
    # errors = (0.2, 0.4); loss = (0.04 + 0.16) / 2 = 0.1
    close(total(impl.compute_actor_loss(make_batch(torch.zeros(1, 2), [[-0.2, -0.4]]))), 0.1)


def test_likelihood_and_its_gradients():
    impl = build(policy="gaussian")
    set_constant(impl.policy, [math.atanh(0.5)])
    with torch.no_grad():
        impl.policy.log_stds.fill_(math.log(0.5))
    batch = make_batch(torch.zeros(2, 2), [[0.1], [-0.5]])
    # scores = (a - 0.5) / 0.5 = (-0.8, -2); mean of score**2 / 2 = (0.32 + 2) / 2 = 1.16
    # loss = 1.16 + log 0.5 + log(2 pi) / 2 = 1.16 - 0.693147 + 0.918939 = 1.385791
    returned = impl.compute_actor_loss(batch)
    loss = total(returned)
    close(loss, 1.385791)
    close(row_losses(returned), [0.32 - 0.693147 + 0.918939, 2.0 - 0.693147 + 0.918939])
    # d loss / d bias = mean(-score / 0.5) * 0.75 = (1.6 + 4) / 2 * 0.75 = 2.1
    close(head_gradients(loss, impl.policy)[1], [2.1])
    # d loss / d log std = 1 - mean(score**2) = 1 - (0.64 + 4) / 2 = -1.32
    close(torch.autograd.grad(loss, impl.policy.log_stds)[0], [-1.32])


def test_likelihood_sums_action_dimensions():
    impl = build(action_size=3, policy="gaussian")
    set_constant(impl.policy, [0.0, 0.0, 0.0])
    # log std 0, scores = (1, 0, -1): 3 * log(2 pi) / 2 + (1 + 0 + 1) / 2 = 2.756816 + 1
    close(total(impl.compute_actor_loss(make_batch(torch.zeros(1, 2), [[1.0, 0.0, -1.0]]))), 3.756816)


@pytest.mark.parametrize(("log_std", "bound"), [(-9.0, -5.0), (7.0, 2.0)])
def test_standard_deviation_is_bounded(log_std, bound):
    impl = build(policy="gaussian")
    set_constant(impl.policy, [0.0])
    with torch.no_grad():
        impl.policy.log_stds.fill_(log_std)
    # The density of the mean itself: -log std - log(2 pi) / 2.
    found = impl.policy.log_prob(torch.zeros(1, 2), torch.zeros(1, 1))
    close(found, [-bound - 0.5 * math.log(2 * math.pi)])


def test_gaussian_samples_come_from_its_own_generator_and_are_clipped():
    impl = build(policy="gaussian")
    set_constant(impl.policy, [math.atanh(0.8)])
    with torch.no_grad():
        impl.policy.log_stds.fill_(math.log(0.5))
    state = impl.random.state()
    actions = impl.sample_action(torch.zeros(200, 2))
    noise = torch.randn(200, 1, generator=torch.Generator().set_state(state))
    close(actions, (0.8 + 0.5 * noise).clamp(-1, 1))
    assert (actions == 1.0).any()
    close(impl.predict_best_action(torch.zeros(1, 2)), [[0.8]])


def test_sampled_densities_are_those_of_the_actions_before_clipping():
    impl = build(policy="gaussian")
    set_constant(impl.policy, [0.0])
    state = impl.random.state()
    _, log_probs = impl.policy.sample(torch.zeros(50, 2))
    noise = torch.randn(50, 1, generator=torch.Generator().set_state(state))
    close(log_probs, (-0.5 * noise**2 - 0.5 * math.log(2 * math.pi))[:, 0])


def test_deterministic_samples_are_the_mode():
    impl = build()
    set_constant(impl.policy, [0.3])
    close(impl.sample_action(torch.zeros(2, 2)), [[math.tanh(0.3)]] * 2)


def test_learns_no_values():
    algo = BC(encoder=TABLE, seed=0, device="cpu").build(continuous_dataset())
    assert not algo.has_value
    with pytest.raises(UnsupportedError, match="BC learns no value function"):
        algo.predict_value(np.zeros((1, 2), np.float32))


def test_learns_from_rows_without_a_next_observation():
    # One recording of three rows that stopped: what follows the last row is unknown, its action is not.
    data = MDPDataset(
        np.eye(3), np.array([[0.0], [0.0], [0.5]]), np.zeros(3), np.zeros(3), timeouts=[0, 0, 1]
    )
    batch = BC(batch_size=64, seed=0, device="cpu").sample_batch(data)
    assert set(batch.observations.argmax(-1).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("policy", ["deterministic", "gaussian"])
def test_clones_the_mean_action(policy):
    algo = BC(
        encoder=MLPEncoder((32,)), learning_rate=3e-3, policy=policy, batch_size=128, seed=0, device="cpu"
    )
    # The data's actions have mean 0 whatever the state: the distance from s / 2 is E|s| / 2 = 0.25.
    assert bandit_error(algo, 200) == pytest.approx(0.25, abs=0.05)
    states = bandit_dataset().observations
    assert np.abs(algo.predict(states)).mean() < 0.1
