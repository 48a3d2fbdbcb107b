"""Discrete CQL by hand: double DQN's loss, and the gap between logsumexp and the data's action."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import head_gradients, row_losses, total
from small_data import chain_dataset, discrete_dataset, make_batch
from table_networks import TABLE, one_hot, set_constant, set_table
from torch import Tensor

from offlinekit.algos import DiscreteCQL, DoubleDQN
from offlinekit.sampling.batch import Batch

LOG2, LOG3 = math.log(2.0), math.log(3.0)


def make(n_actions: int = 2, **options: Any) -> DiscreteCQL:
    return DiscreteCQL(encoder=TABLE, seed=0, device="cpu", **options).build(
        discrete_dataset(n_actions=n_actions)
    )


def steps(actions: tuple[int, int] = (1, 0), **changes: Any) -> Batch:
    """Two last steps, in states 0 and 1, of reward 0: with Q(s, a) = 0 they leave no temporal difference."""
    return make_batch(one_hot([0, 1], 2), actions)._replace(**changes)


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_loss_is_the_temporal_difference_and_the_gap() -> None:
    impl = make(alpha=2.0, td_loss="mse").impl
    set_table(impl.q, [[[0.0, LOG3], [1.0, 1.0]]])
    returned = impl.compute_critic_loss(steps(), torch.tensor([LOG3 + 1.0, 1.0]))
    loss, metrics = total(returned)
    # td: (1 + 0) / 2 = 0.5
    close(metrics["td_loss"], 0.5)
    # gap: (log(1 + 3) - log 3 + log(2e) - 1) / 2 = (log(4/3) + log 2) / 2
    gap = (math.log(4 / 3) + LOG2) / 2
    close(metrics["conservative_gap"], gap)
    close(loss, 0.5 + 2.0 * gap)
    close(row_losses(returned), [[1.0 + 2.0 * math.log(4 / 3), 2.0 * LOG2]])
    assert not any(value.requires_grad for value in metrics.values())


def test_gradient_lowers_every_action_by_its_softmax_and_raises_the_datas() -> None:
    impl = make(alpha=2.0, td_loss="mse").impl
    set_table(impl.q, [[[0.0, LOG3], [1.0, 1.0]]])
    loss, _ = total(impl.compute_critic_loss(steps(), torch.tensor([LOG3 + 1.0, 1.0])))
    # row 0: alpha * (softmax - one-hot) / 2 = (1/4, 3/4 - 1), and 2 * (-1) / 2 of the difference
    # row 1: (1/2 - 1, 1/2)
    close(head_gradients(loss, impl.q)[0], [[[0.25, -1.25], [-0.5, 0.5]]])


def test_gap_takes_the_datas_action_and_not_the_mean_over_actions() -> None:
    impl = make(n_actions=3, alpha=1.0).impl
    set_constant(impl.q, [[0.0, 0.0, 3.0]])
    _, metrics = total(impl.compute_critic_loss(steps((2, 2)), torch.tensor([3.0, 3.0])))
    # log(2 + e^3) - 3; the mean over actions would leave log(2 + e^3) - 1
    close(metrics["conservative_gap"], math.log(2 + math.exp(3.0)) - 3.0)


def test_alpha_zero_is_double_dqn_exactly() -> None:
    cql, double = (
        algo(encoder=TABLE, seed=3, device="cpu", n_critics=2, **options).build(discrete_dataset())
        for algo, options in ((DiscreteCQL, {"alpha": 0.0}), (DoubleDQN, {}))
    )
    batch = cql.sample_batch(discrete_dataset())
    (loss, _), expected = total(cql.impl.critic_loss(batch)), total(double.impl.critic_loss(batch))
    assert torch.equal(loss, expected)
    found, wanted = (
        head_gradients(value, algo.impl.q)[0] for value, algo in ((loss, cql), (expected, double))
    )
    assert found is not None
    assert wanted is not None
    assert torch.equal(found, wanted)


def test_target_is_double_dqns() -> None:
    impl = make(n_actions=3).impl
    set_table(impl.q, [[[9.0, 0.0, 1.0], [0.0, 0.0, 7.0]]])
    set_table(impl.target_q, [[[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]]])
    batch = steps(
        rewards=torch.tensor([1.0, -1.0]),
        next_observations=one_hot([1, 0], 2),
        discounts=torch.tensor([0.5, 0.0]),
    )
    # online (0, 0, 7) chooses action 2, valued at 3: 1 + 0.5 * 3; the end: -1
    close(impl.compute_target(batch), [2.5, -1.0])


def test_ensemble_sums_members_and_masks_leave_rows_out() -> None:
    impl = make(alpha=1.0, td_loss="mse", n_critics=2).impl
    set_table(impl.q, [[[0.0, LOG3], [0.0, 0.0]], [[0.0, 0.0], [LOG3, 0.0]]])
    targets = torch.tensor([0.0, 0.0])
    gap = math.log(4 / 3)
    # member 0: gaps log(4/3), log 2; member 1: log 2, log 4 - log 3
    _, metrics = total(impl.compute_critic_loss(steps(), targets))
    close(metrics["conservative_gap"], gap + LOG2)
    # td: member 0 (log 3)^2 / 2 of row 0, member 1 (log 3)^2 / 2 of row 1
    close(metrics["td_loss"], LOG3**2)
    masks = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss, metrics = total(impl.compute_critic_loss(steps(masks=masks), targets))
    # member 0 alone, on row 0 alone
    close(metrics["conservative_gap"], gap)
    close(metrics["td_loss"], LOG3**2)
    weight, _ = head_gradients(loss, impl.q)
    # softmax (1/4, 3/4) - (0, 1), plus 2 log 3 of the difference; nothing for member 1
    close(weight, [[[0.25, -0.25 + 2 * LOG3], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_quantiles_enter_the_gap_by_their_mean() -> None:
    impl = make(alpha=2.0, q_function="qr", n_quantiles=2).impl
    table = [[[[-1.0, 1.0], [LOG3, LOG3]], [[0.0, 0.0], [-5.0, 5.0]]]]  # means (0, log 3), (0, 0)
    set_table(impl.q, torch.tensor(table).flatten(-2))
    targets = torch.tensor([[LOG3, 0.0], [LOG3, 0.0]])  # [N, B]: the data's quantiles fit
    loss, metrics = total(impl.compute_critic_loss(steps(), targets))
    gap = (math.log(4 / 3) + LOG2) / 2
    close(metrics["td_loss"], 0.0)
    close(metrics["conservative_gap"], gap)
    close(loss, 2.0 * gap)
    # each quantile gets half of its action's share: 2 * (1/4, -1/4) / 2 rows / 2 quantiles
    weight, _ = head_gradients(loss, impl.q)
    close(weight, [[[0.125, 0.125, -0.125, -0.125], [-0.25, -0.25, 0.25, 0.25]]])


def test_gap_sends_no_gradient_to_the_target() -> None:
    impl = make().impl
    assert not any(parameter.requires_grad for parameter in impl.target_q.parameters())
    before = [parameter.clone() for parameter in impl.target_q.parameters()]
    impl.update(steps())
    assert all(torch.equal(a, b) for a, b in zip(before, impl.target_q.parameters(), strict=True))


def test_target_is_copied_every_interval() -> None:
    impl = make(target_update_interval=2, learning_rate=0.1).impl
    for step in range(1, 5):
        impl.update(steps())
        target, online = (net.network.mlp.layers[-1].weight for net in (impl.target_q, impl.q))
        assert torch.equal(target, online) == (step % 2 == 0)


def test_update_reports_the_whole_loss_and_its_parts() -> None:
    metrics = make(alpha=0.5).impl.update(steps())
    assert set(metrics) == {"critic_loss", "td_loss", "conservative_gap"}
    close(metrics["critic_loss"], (metrics["td_loss"] + 0.5 * metrics["conservative_gap"]).item())


def test_bandit_minimizer_by_hand() -> None:
    # One state's gradient, data frequencies p = (3/4, 1/4), at Q = (0, 0), softmax (1/2, 1/2), alpha 1:
    # 2 p (0 - r) + softmax - p = 0 at r = (softmax - p) / 2p = (-1/6, 1/2): the rare action's reward is
    # 1/2, its conservative value 0.
    impl = make(alpha=1.0, td_loss="mse").impl
    set_constant(impl.q, [[0.0, 0.0]])
    batch = make_batch(one_hot([0] * 4, 2), [0, 0, 0, 1], [-1 / 6, -1 / 6, -1 / 6, 0.5])
    loss, _ = total(impl.critic_loss(batch))
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0], [0.0, 0.0]]])


@pytest.mark.parametrize("missing", [[(1, 0), (3, 0)], [(0, 0), (2, 0), (4, 0)]])
def test_unseen_actions_lie_below_the_seen(missing: list[tuple[int, int]]) -> None:
    options: dict[str, Any] = {
        "encoder": TABLE,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "td_loss": "mse",
        "gamma": 0.9,
        "batch_size": 64,
        "target_update_interval": 10,
        "seed": 1,
        "device": "cpu",
    }
    algo, plain = DiscreteCQL(alpha=1.0, **options), DoubleDQN(**options)
    for one in (algo, plain):
        one.build(chain_dataset(missing))
        set_constant(one.impl.q, [[3.0, 0.0]])  # Far too high for the action on the left.
        set_constant(one.impl.target_q, [[3.0, 0.0]])
        one.fit(chain_dataset(missing), n_steps=600, out=None, progress=False)
    values, plain_values = (one.impl.q.values(torch.eye(5)).detach()[0] for one in (algo, plain))
    for state, action in missing:
        assert values[state, action] < values[state, 1 - action] - 1.0
        assert values[state, action] < plain_values[state, action] - 0.5
    assert algo.predict(np.eye(5, dtype=np.float32))[[s for s, _ in missing]].tolist() == [1] * len(missing)
