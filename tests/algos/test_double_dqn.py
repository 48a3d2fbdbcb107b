"""Double DQN by hand: the online network chooses, the target network values."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import head_gradients, row_losses, total
from small_data import chain_dataset, chain_values, discrete_dataset, two_steps
from table_networks import TABLE, one_hot, set_table
from torch import Tensor

from offlinekit.algos import DQN, DoubleDQN

ONLINE = [[[9.0, 0.0, 1.0], [0.0, 0.0, 7.0]]]  # [K=1, S=2, A=3]
TARGET = [[[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]]]


def make(**options: Any) -> DoubleDQN:
    return DoubleDQN(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset())


steps = functools.partial(two_steps, [2, 0])


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_online_network_chooses_and_target_network_values() -> None:
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    # state 1: online (0, 0, 7) chooses action 2, which the target values at 3, not at its maximum 4:
    # 1 + 0.5 * 3 = 2.5; the end: -1
    close(impl.compute_target(steps()), [2.5, -1.0])


def test_target_is_dqns_where_both_networks_agree() -> None:
    double, single = make().impl, DQN(encoder=TABLE, seed=0, device="cpu").build(discrete_dataset()).impl
    for impl in (double, single):
        set_table(impl.q, TARGET)
        set_table(impl.target_q, TARGET)
    close(double.compute_target(steps()), single.compute_target(steps()).tolist())
    set_table(double.q, ONLINE)
    assert (double.compute_target(steps()) <= single.compute_target(steps())).all()


def test_n_step_discounts_are_the_batchs() -> None:
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    # row 0: 1 + 0.9^2 * 3 = 3.43; row 1, next state 0: online chooses action 0: -1 + 0.1 * 1 = -0.9
    close(impl.compute_target(steps(discounts=torch.tensor([0.81, 0.1]))), [3.43, -0.9])


def test_squared_loss_and_its_gradient() -> None:
    impl = make(td_loss="mse").impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # Q(0, 2) = 1 against 2.5, Q(1, 0) = 0 against -1: (2.25 + 1) / 2
    close(loss, 1.625)
    close(row_losses(returned), [[2.25, 1.0]])
    # 2 * error / 2; nothing at (1, 2), the action that was only chosen
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0, -1.5], [1.0, 0.0, 0.0]]])


def test_huber_loss_and_its_gradient() -> None:
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # errors -1.5 and 1: (1.5 - 0.5 + 0.5) / 2
    close(loss, 0.75)
    close(row_losses(returned), [[1.0, 0.5]])
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0, -0.5], [0.5, 0.0, 0.0]]])


def test_ensemble_mean_chooses_and_lowest_values() -> None:
    impl = make(n_critics=2, td_loss="mse").impl
    set_table(impl.q, [[[0.0, 0.0, 2.0], [5.0, 0.0, 4.0]], [[0.0, 0.0, 5.0], [0.0, 4.0, 3.0]]])
    set_table(impl.target_q, [[[0.0] * 3, [9.0, 9.0, 3.0]], [[0.0] * 3, [9.0, 9.0, 2.0]]])
    # state 1: online means (2.5, 2, 3.5) choose action 2 (the members alone: 0 and 1): min(3, 2) = 2
    # targets 1 + 0.5 * 2 = 2 and -1
    close(impl.compute_target(steps()), [2.0, -1.0])
    # member 0: (2 - 2)^2, (5 + 1)^2: 36 / 2; member 1: (5 - 2)^2, (0 + 1)^2: 10 / 2
    returned = impl.critic_loss(steps())
    loss = total(returned)
    close(loss, 23.0)
    close(row_losses(returned), [[0.0, 36.0], [9.0, 1.0]])
    expected = [[[0.0, 0.0, 0.0], [6.0, 0.0, 0.0]], [[0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]]
    close(head_gradients(loss, impl.q)[0], expected)
    # masked: member 0 sees row 0 alone: 0 / 1; member 1 row 1 alone: 1 / 1
    close(total(impl.critic_loss(steps(masks=torch.tensor([[1.0, 0.0], [0.0, 1.0]])))), 1.0)


def test_quantiles_of_the_chosen_action() -> None:
    impl = make(q_function="qr", n_quantiles=2).impl
    zeros = [0.0, 0.0]
    online = [[[zeros, zeros, [1.0, 2.0]], [[1.0, 1.0], [9.0, -9.0], [-1.0, 4.0]]]]
    target = [[[zeros] * 3, [[5.0, 5.0], [6.0, 6.0], [-2.0, 4.0]]]]
    set_table(impl.q, torch.tensor(online).flatten(-2))
    set_table(impl.target_q, torch.tensor(target).flatten(-2))
    # online means of state 1 (1, 0, 1.5) choose action 2: 1 + 0.5 * (-2, 4); the end: -1
    close(impl.compute_target(steps()), [[0.0, -1.0], [3.0, -1.0]])
    # row 0, quantiles (1, 2), targets (0, 3): errors -1, 2; -2, 1 -> huber 0.5, 1.5; 1.5, 0.5
    # weights 3/4, 1/4; 1/4, 3/4 -> 0.375, 0.375; 0.375, 0.375 -> means 0.375 each -> 0.75
    # row 1, quantiles (1, 1), targets (-1, -1): huber 1.5, weights 3/4; 1/4 -> 1.125 + 0.375 = 1.5
    close(total(impl.critic_loss(steps())), (0.75 + 1.5) / 2)


def test_choice_sends_no_gradient() -> None:
    impl = make().impl
    batch = steps(next_observations=one_hot([0, 0], 2), discounts=torch.ones(2))
    with torch.enable_grad():
        assert not impl.compute_target(batch).requires_grad
    weight, _ = head_gradients(total(impl.critic_loss(batch)), impl.q)
    assert weight is not None
    assert weight[0].nonzero().tolist() == [[0, 2], [1, 0]]


def test_target_is_copied_every_interval() -> None:
    impl = make(target_update_interval=2, learning_rate=0.1).impl
    for step in range(1, 5):
        impl.update(steps())
        target, online = (net.network.mlp.layers[-1].weight for net in (impl.target_q, impl.q))
        assert torch.equal(target, online) == (step % 2 == 0)


def test_predicts_with_the_online_network() -> None:
    algo = make()
    set_table(algo.impl.q, ONLINE)
    set_table(algo.impl.target_q, TARGET)
    observations = np.eye(2, dtype=np.float32)
    assert algo.predict(observations).tolist() == [0, 2]
    assert algo.predict_value(observations).tolist() == [9.0, 7.0]
    assert algo.predict_value(observations, np.array([2, 0])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("n_critics", [1, 2])
def test_learns_the_exact_values_of_a_chain(n_critics: int) -> None:
    algo = DoubleDQN(
        encoder=TABLE,
        optimizer="sgd",
        learning_rate=0.5,
        td_loss="mse",
        gamma=0.9,
        batch_size=64,
        n_critics=n_critics,
        target_update_interval=10,
        seed=1,
        device="cpu",
    )
    algo.fit(chain_dataset(), n_steps=1_200, out=None, progress=False)
    values = algo.impl.q.values(torch.eye(5)).detach()
    torch.testing.assert_close(values.mean(0), chain_values(0.9), rtol=0, atol=1e-2)
    assert algo.predict(np.eye(5, dtype=np.float32)).tolist() == [1] * 5
