"""CQN by hand: half of double DQN's loss, and the gap between logsumexp and the mean over all actions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from loss_checks import head_gradients, row_losses, total
from small_data import discrete_dataset, make_batch
from table_networks import TABLE, one_hot, set_table
from torch import Tensor

from offlinekit.algos import CQN, DoubleDQN, get_algo
from offlinekit.algos.torch.cqn_impl import gap_to_mean
from offlinekit.nn.losses import FLOOR
from offlinekit.sampling.batch import Batch

LOG2, LOG3 = math.log(2.0), math.log(3.0)


def make(**options: Any) -> CQN:
    return CQN(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset(n_actions=2))


def steps() -> Batch:
    """Two last steps, in states 0 and 1, of actions 1 and 0 and reward 0."""
    return make_batch(one_hot([0, 1], 2), (1, 0))


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_loss_is_half_the_temporal_difference_and_the_gap_to_the_mean() -> None:
    impl = make(alpha=3.0).impl
    set_table(impl.q, [[[0.0, LOG3], [1.0, 1.0]]])
    returned = impl.compute_critic_loss(steps(), torch.tensor([LOG3 + 1.0, 1.0]))
    loss, metrics = total(returned)
    # td: (1 + 0) / 2 = 0.5; gaps: log(1 + 3) - log(3) / 2 and log(2 e) - 1 = log 2
    gaps = [math.log(4.0) - LOG3 / 2, LOG2]
    close(metrics["td_loss"], 0.5)
    close(metrics["conservative_gap"], sum(gaps) / 2)
    close(loss, 0.25 + 3.0 * sum(gaps) / 2)
    close(row_losses(returned), [[0.5 + 3.0 * gaps[0], 3.0 * gaps[1]]])


def test_gradient_pulls_values_together_whatever_the_data_do() -> None:
    impl = make(alpha=2.0).impl
    set_table(impl.q, [[[0.0, LOG3], [1.0, 1.0]]])
    loss, _ = total(impl.compute_critic_loss(steps(), torch.tensor([LOG3, 1.0])))
    # row 0: alpha (softmax - 1/2) / 2 = (1/4 - 1/2, 3/4 - 1/2); row 1: the softmax is 1/2, the mean's share 1/2
    close(head_gradients(loss, impl.q)[0], [[[-0.25, 0.25], [0.0, 0.0]]])


def test_the_mean_is_one_of_legal_actions() -> None:
    # log(e + e^3) - (1 + 3) / 2
    values = torch.tensor([[[1.0, FLOOR, 3.0]]])
    close(gap_to_mean(values, torch.tensor([0])), [[math.log(math.e + math.exp(3.0)) - 2.0]])


def test_targets_are_those_of_double_dqn() -> None:
    cqn, double = make(gamma=0.9).impl, DoubleDQN(encoder=TABLE, seed=0, device="cpu", gamma=0.9)
    other = double.build(discrete_dataset(n_actions=2)).impl
    other.load_state_dict(cqn.state_dict())
    assert torch.equal(cqn.compute_target(steps()), other.compute_target(steps()))


def test_defaults_are_those_of_the_library_that_named_it() -> None:
    algo = get_algo("cqn")(seed=0)
    assert isinstance(algo, CQN)
    optimisation = (algo.learning_rate, algo.batch_size, algo.clip_grad_norm)
    assert optimisation == (1e-4, 64, 1.0)
    assert (algo.tau, algo.target_update_interval, algo.td_loss) == (1e-3, 1, "mse")
    assert algo.alpha == pytest.approx(1.0)
