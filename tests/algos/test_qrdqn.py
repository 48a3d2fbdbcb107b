"""QR-DQN by hand: tables of quantiles, their target and the quantile Huber loss."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import chain_dataset, chain_values, discrete_dataset, make_batch, two_steps
from small_tasks import choice_score
from table_networks import TABLE, one_hot, set_constant, set_table

from offlinekit.algos import QRDQN, MLPEncoder


def make(n_actions=3, **options):
    options = {"n_quantiles": 2, **options}
    data = discrete_dataset(n_actions=n_actions)
    return QRDQN(encoder=TABLE, seed=0, device="cpu", **options).build(data)


def quantiles(table):
    """Lays [..., A, N] out as the network's outputs [..., A * N]."""
    return torch.tensor(table).flatten(-2)


steps = functools.partial(two_steps, [2, 0])


def test_target_is_the_distribution_of_the_target_networks_best_mean():
    impl = make().impl
    set_table(impl.q, quantiles([[[[9.0, 9.0]] * 3, [[0.0, 0.0], [0.0, 0.0], [99.0, 99.0]]]]))
    set_table(impl.target_q, quantiles([[[[9.0, 9.0]] * 3, [[0.0, 4.0], [1.0, 1.5], [-2.0, 5.0]]]]))
    # State 1 has means 2, 1.25, 1.5: action 0 with quantiles (0, 4), though action 2 has the highest quantile
    # and the online network prefers it: 1 + 0.5 * (0, 4); the end: -1.
    close(impl.compute_target(steps()), [[1.0, -1.0], [3.0, -1.0]])


def test_loss_and_its_gradient():
    impl = make().impl
    set_table(impl.q, quantiles([[[[7.0, 7.0], [7.0, 7.0], [0.0, 2.0]], [[1.0, 1.0]] * 3]]))
    targets = torch.tensor([[1.0, 1.0], [3.0, 1.0]])
    returned = impl.compute_critic_loss(steps(), targets)
    loss = total(returned)
    # Row 0, levels 1/4 and 3/4, quantiles (0, 2), targets (1, 3). Errors of the first: 1, 3, Huber 0.5, 2.5,
    # each times 1/4: mean 0.375. Of the second: -1, 1, Huber 0.5, 0.5, times 1/4 and 3/4: mean 0.25.
    # Row 1 fits. Loss = (0.625 + 0) / 2.
    close(loss, 0.3125)
    close(row_losses(returned), [[0.625, 0.0]])
    # d / d first = -mean(1/4 * 1, 1/4 * 1) / 2 rows, the error of 3 clipped to 1;
    # d / d second = -mean(1/4 * -1, 3/4 * 1) / 2 rows.
    zeros = [0.0] * 4
    close(head_gradients(loss, impl.q)[0], [[[*zeros, -0.125, -0.125], [0.0] * 6]])


def test_the_quantiles_of_a_coin():
    # Rewards 0 and 10: the quantile of level 1/4 rests where 1/4 * 1 = 3/4 * q, a pull clipped to 1 from
    # above against one of q from below: q = 1/3; that of level 3/4 at 10 - 1/3.
    impl = make().impl
    set_constant(impl.q, [[1 / 3, 10 - 1 / 3] * 3])
    batch = make_batch(one_hot([0, 0], 2), [1, 1], [0.0, 10.0])
    close(head_gradients(total(impl.critic_loss(batch)), impl.q)[0], torch.zeros(1, 2, 6))


def test_ensemble_takes_the_whole_distribution_of_the_lowest_member():
    impl = make(n_actions=2, n_critics=2).impl
    zeros = [[0.0, 0.0], [0.0, 0.0]]
    tables = [[zeros, [[0.0, 8.0], [5.0, 5.0]]], [zeros, [[-3.0, 7.0], [-9.0, -9.0]]]]
    set_table(impl.target_q, quantiles(tables))
    # Means of members: (4, 5) and (2, -9), together (3, -2): action 0; its lower member has (-3, 7).
    batch = steps(actions=torch.tensor([1, 0]))
    close(impl.compute_target(batch), [[-0.5, -1.0], [4.5, -1.0]])
    # Members learn alike and their losses add; a mask leaves a row to one of them.
    set_constant(impl.q, [[0.0] * 4, [0.0] * 4])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # Row 0: errors 1, Huber 0.5, levels add to 1: 0.5 / 2 rows, twice.
    close(total(impl.compute_critic_loss(batch, targets)), 0.5)
    masks = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    close(total(impl.compute_critic_loss(batch._replace(masks=masks), targets)), 0.5)
    close(total(impl.compute_critic_loss(batch._replace(masks=masks.flip(0)), targets)), 0.5)
    close(total(impl.compute_critic_loss(batch._replace(masks=masks * 0), targets)), 0.0)


def test_acts_by_the_mean():
    algo = make()
    set_constant(algo.impl.q, [[0.0, 4.0, 2.5, 2.5, -9.0, 9.0]])
    states = np.eye(2, dtype=np.float32)
    assert algo.predict(states).tolist() == [1, 1]
    close(algo.predict_value(states), [2.5, 2.5])
    close(algo.predict_value(states, np.array([0, 2])), [2.0, 0.0])


def test_no_gradient_reaches_the_target_and_it_is_copied_every_interval():
    impl = make(target_update_interval=2, learning_rate=0.1).impl
    assert not any(p.requires_grad for p in impl.target_q.parameters())
    for step in range(1, 5):
        impl.update(steps())
        target, online = (net.network.mlp.layers[-1].weight for net in (impl.target_q, impl.q))
        assert torch.equal(target, online) == (step % 2 == 0)


def test_only_quantiles_can_be_asked_for():
    assert QRDQN(seed=0).n_quantiles == 200
    with pytest.raises(ValueError, match="q_function must be one of"):
        QRDQN(q_function="mean")


def test_learns_the_exact_values_of_a_chain():
    algo = QRDQN(
        encoder=TABLE,
        n_quantiles=4,
        optimizer="sgd",
        learning_rate=0.5,
        gamma=0.9,
        batch_size=64,
        target_update_interval=10,
        seed=0,
        device="cpu",
    ).fit(chain_dataset(), 800, out=None, progress=False)
    values = algo.impl.q.values(torch.eye(5)).detach()[0]
    torch.testing.assert_close(values, chain_values(0.9), rtol=0, atol=2e-2)


def test_learns_a_choice_that_cloning_misses():
    algo = QRDQN(encoder=MLPEncoder((32,)), n_quantiles=8, learning_rate=1e-2, batch_size=64, seed=0)
    assert choice_score(algo, 200) > 0.9
