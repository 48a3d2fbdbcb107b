"""DQN by hand: tables as networks, the arithmetic above each assertion."""

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

from offlinekit.algos import DQN

ONLINE = [[[9.0, 0.0, 1.0], [0.0, 0.0, 7.0]]]  # [K=1, S=2, A=3]
TARGET = [[[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]]]


def make(**options: Any) -> DQN:
    return DQN(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset())


steps = functools.partial(two_steps, [2, 0])


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def two_critics(**options: Any) -> DQN:
    algo = make(n_critics=2, **options)
    set_table(algo.impl.q, [[[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]], [[0.0, 0.0, 5.0], [3.0, 0.0, 0.0]]])
    set_table(algo.impl.target_q, [[[0.0] * 3, [6.0, 0.0, 3.0]], [[0.0] * 3, [1.0, 3.5, 2.0]]])
    return algo


def quantiles(tables: Any) -> Tensor:
    """Lays [K, S, A, N] out as the network's outputs [K, S, A * N]."""
    return torch.tensor(tables).flatten(-2)


def test_target_is_the_best_value_of_the_target_network() -> None:
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    # row 0: 1 + 0.5 * max(4, 0, 3) = 3; row 1 ended: -1
    close(impl.compute_target(steps()), [3.0, -1.0])


def test_target_discounts_as_the_batch_says() -> None:
    impl = make().impl
    set_table(impl.target_q, TARGET)
    discounts = torch.tensor([0.99**3, 0.9])
    # row 0: 1 + 0.970299 * 4 = 4.881196; row 1: -1 + 0.9 * max(1, 5, 2) = 3.5
    close(impl.compute_target(steps(discounts=discounts)), [4.881196, 3.5])


def test_n_step_and_gamma_reach_the_batch() -> None:
    algo = make(n_step=2, gamma=0.5, batch_size=512)
    batch = algo.sample_batch(discrete_dataset())
    # rewards 0..5, the last is terminal: row t earns t + (t + 1) / 2 at discount 1/4, the last two rows end
    expected = {(0.5, 0.25), (2.0, 0.25), (3.5, 0.25), (5.0, 0.25), (6.5, 0.0), (5.0, 0.0)}
    assert set(zip(batch.rewards.tolist(), batch.discounts.tolist(), strict=True)) == expected


def test_squared_loss_and_its_gradient() -> None:
    impl = make(td_loss="mse").impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # values Q(0, 2) = 1 and Q(1, 0) = 0 against 3 and -1: (4 + 1) / 2 = 2.5
    close(loss, 2.5)
    close(row_losses(returned), [[4.0, 1.0]])
    weight, bias = head_gradients(loss, impl.q)
    # 2 * error / 2 rows: 1 - 3 = -2 and 0 + 1 = 1, at the actions taken and nowhere else
    close(weight, [[[0.0, 0.0, -2.0], [1.0, 0.0, 0.0]]])
    close(bias, [[[1.0, 0.0, -2.0]]])


def test_huber_loss_and_its_gradient() -> None:
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # errors -2 and 1: (2 - 1/2 + 1/2) / 2 = 1
    close(loss, 1.0)
    close(row_losses(returned), [[1.5, 0.5]])
    # the error clipped to [-1, 1], over 2 rows
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0, -0.5], [0.5, 0.0, 0.0]]])


def test_ensemble_target_is_chosen_by_the_mean_and_valued_by_the_lowest() -> None:
    impl = two_critics().impl
    # state 1: means (3.5, 1.75, 2.5) choose action 0, of which the lowest value is min(6, 1) = 1
    close(impl.compute_target(steps()), [1.5, -1.0])


def test_ensemble_loss_sums_the_members() -> None:
    impl = two_critics(td_loss="mse").impl
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # targets 1.5, -1; member 0: (2 - 1.5)^2, (1 + 1)^2: (0.25 + 4) / 2 = 2.125
    # member 1: (5 - 1.5)^2, (3 + 1)^2: (12.25 + 16) / 2 = 14.125
    close(loss, 16.25)
    close(row_losses(returned), [[0.25, 4.0], [12.25, 16.0]])
    # each member learns as if alone: 2 * error / 2
    expected = [[[0.0, 0.0, 0.5], [2.0, 0.0, 0.0]], [[0.0, 0.0, 3.5], [4.0, 0.0, 0.0]]]
    close(head_gradients(loss, impl.q)[0], expected)


def test_masks_leave_rows_to_members() -> None:
    impl = two_critics(td_loss="mse").impl
    loss = total(impl.critic_loss(steps(masks=torch.tensor([[1.0, 0.0], [1.0, 1.0]]))))
    # member 0 sees row 0 alone: 0.25 / 1; member 1 both: 14.125
    close(loss, 14.375)
    expected = [[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 3.5], [4.0, 0.0, 0.0]]]
    close(head_gradients(loss, impl.q)[0], expected)


def test_masks_come_from_the_dataset_and_fit_the_ensemble() -> None:
    dataset = discrete_dataset(create_mask=True, mask_size=3)
    algo = DQN(encoder=TABLE, n_critics=3, seed=0, device="cpu", batch_size=8)
    batch = algo.sample_batch(dataset)
    assert batch.masks is not None
    assert batch.masks.shape == (3, 8)
    with pytest.raises(ValueError, match="mask_size equal to n_critics"):
        total(two_critics().impl.critic_loss(batch))


def test_quantile_target_keeps_the_distribution() -> None:
    impl = make(q_function="qr", n_quantiles=2).impl
    table = [[[[9.0, 9.0]] * 3, [[0.0, 4.0], [1.0, 1.5], [-2.0, 5.0]]]]
    set_table(impl.target_q, quantiles(table))
    # state 1: means (2, 1.25, 1.5) choose action 0 with quantiles (0, 4): 1 + 0.5 * (0, 4); the end: -1
    close(impl.compute_target(steps()), [[1.0, -1.0], [3.0, -1.0]])


def test_quantile_target_of_an_ensemble_is_one_members() -> None:
    impl = make(q_function="qr", n_quantiles=2, n_critics=2).impl
    zeros = [[0.0, 0.0]] * 3
    tables = [[zeros, [[0.0, 8.0], *zeros[1:]]], [zeros, [[2.0, 4.0], *zeros[1:]]]]
    set_table(impl.target_q, quantiles(tables))
    # both choose action 0; means 4 and 3, so member 1 whole: 1 + 0.5 * (2, 4), not quantile by quantile
    close(impl.compute_target(steps())[:, 0], [2.0, 3.0])


def test_quantile_loss() -> None:
    impl = make(q_function="qr", n_quantiles=2).impl
    zeros = [0.0, 0.0]
    set_table(impl.q, quantiles([[[zeros, zeros, [1.0, 2.0]], [[-1.0, -1.0], zeros, zeros]]]))
    set_table(impl.target_q, quantiles([[[zeros] * 3, [[0.0, 4.0], zeros, zeros]]]))
    # row 0, quantiles (1, 2), targets (1, 3): errors 0, 2; -1, 1 -> huber 0, 1.5; 0.5, 0.5
    # weights 1/4, 1/4; 1/4, 3/4 -> means over targets 0.1875, 0.25 -> 0.4375; row 1 fits: (0.4375 + 0) / 2
    close(total(impl.critic_loss(steps())), 0.21875)


def test_target_network_takes_no_gradient() -> None:
    impl = make().impl
    loss = total(impl.critic_loss(steps(next_observations=one_hot([0, 0], 2), discounts=torch.ones(2))))
    assert not any(parameter.requires_grad for parameter in impl.target_q.parameters())
    weight, _ = head_gradients(loss, impl.q)
    assert weight is not None
    # Only the values of the actions taken learn, although the next state 0 is also an observation.
    assert weight[0].nonzero().tolist() == [[0, 2], [1, 0]]


def test_target_must_be_a_row_each() -> None:
    impl = make().impl
    with pytest.raises(ValueError, match=r"targets must have shape \[2\]"):
        total(impl.critic_loss(steps(rewards=torch.zeros(2, 1))))


def test_target_is_copied_every_interval() -> None:
    algo = make(target_update_interval=3, learning_rate=0.1)
    impl, first = algo.impl, algo.impl.target_q.network.mlp.layers[-1].weight.clone()
    for step in range(1, 7):
        impl.update(steps())
        target, online = (net.network.mlp.layers[-1] for net in (impl.target_q, impl.q))
        assert torch.equal(target.weight, online.weight) == (step in (3, 6))
        assert torch.equal(target.bias, online.bias) == (step in (3, 6))
        assert torch.equal(target.weight, first) == (step < 3)


def test_target_moves_by_the_share_tau() -> None:
    impl = make(target_update_interval=2, tau=0.25, optimizer="sgd", learning_rate=1e-9).impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    impl.update(steps())
    close(impl.target_q.values(torch.eye(2)), TARGET)
    impl.update(steps())
    # target + (online - target) / 4: 1 + 8/4, 5 - 5/4, 2 - 1/4; 4 - 4/4, 0, 3 + 4/4
    close(impl.target_q.values(torch.eye(2)), [[[3.0, 3.75, 1.75], [3.0, 0.0, 4.0]]])


def test_one_update_descends_the_gradient() -> None:
    impl = make(optimizer="sgd", learning_rate=0.1, td_loss="mse").impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, TARGET)
    metrics = impl.update(steps())
    close(metrics["critic_loss"], 2.5)
    # Q - 0.1 * gradient: 1 + 0.2 and 0 - 0.1
    close(impl.q.network.mlp.layers[-1].weight.detach(), [[[9.0, 0.0, 1.2], [-0.1, 0.0, 7.0]]])


def test_predictions_are_the_means_over_members() -> None:
    algo = two_critics()
    set_table(algo.impl.q, [[[0.0, 1.0, 5.0], [2.0, 0.0, 0.0]], [[0.0, 3.0, -5.0], [0.0, 0.0, 1.0]]])
    observations = np.eye(2, dtype=np.float32)
    # means (0, 2, 0) and (1, 0, 0.5)
    assert algo.predict(observations).tolist() == [1, 0]
    assert algo.sample_action(observations).tolist() == [1, 0]
    assert algo.predict_value(observations).tolist() == [2.0, 1.0]
    assert algo.predict_value(observations, np.array([0, 2])).tolist() == [0.0, 0.5]


def test_quantile_predictions_are_means() -> None:
    algo = make(q_function="qr", n_quantiles=2)
    set_table(algo.impl.q, quantiles([[[[0.0, 9.0], [5.0, 5.0], [0.0, 0.0]], [[1.0, 2.0]] * 3]]))
    # means (4.5, 5, 0) and 1.5 each
    assert algo.predict(np.eye(2, dtype=np.float32)).tolist() == [1, 0]
    assert algo.predict_value(np.eye(2, dtype=np.float32)).tolist() == [5.0, 1.5]


@pytest.mark.parametrize(
    "options", [{"n_critics": 2}, {"td_loss": "huber"}, {"target_update_interval": 1, "tau": 0.1}]
)
def test_learns_the_exact_values_of_a_chain(options: dict[str, Any]) -> None:
    algo = DQN(
        encoder=TABLE,
        optimizer="sgd",
        learning_rate=0.5,
        gamma=0.9,
        batch_size=64,
        seed=1,
        device="cpu",
        **{"td_loss": "mse", "target_update_interval": 10, **options},
    )
    algo.fit(chain_dataset(), n_steps=1_200, out=None, progress=False)
    values = algo.impl.q.values(torch.eye(5)).detach()
    torch.testing.assert_close(values.mean(0), chain_values(0.9), rtol=0, atol=1e-2)
    assert algo.predict(np.eye(5, dtype=np.float32)).tolist() == [1] * 5
