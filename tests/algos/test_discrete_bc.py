"""Behaviour cloning of discrete actions by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import head_gradients, row_losses, total
from small_data import discrete_dataset, make_batch
from small_tasks import choice_score
from table_networks import TABLE, one_hot, set_constant, set_table
from torch import Tensor

from offlinekit.algos import DiscreteBC, MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.batch import Batch

LOG2, LOG3 = math.log(2.0), math.log(3.0)


def make(n_actions: int = 2, **options: Any) -> DiscreteBC:
    return DiscreteBC(encoder=TABLE, seed=0, device="cpu", **options).build(
        discrete_dataset(n_actions=n_actions)
    )


def steps() -> Batch:
    return make_batch(one_hot([0, 1], 2), [1, 0])


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def counted(counts: list[list[int]]) -> MDPDataset:
    """Makes a dataset in which each state takes each action as often as counted."""
    pairs = [(s, a) for s, row in enumerate(counts) for a, n in enumerate(row) for _ in range(n)]
    states, actions = np.array(pairs).T
    ends = np.arange(len(pairs)) == len(pairs) - 1
    return MDPDataset(np.eye(len(counts), dtype=np.float32)[states], actions, np.zeros(len(pairs)), ends)


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    impl = make().impl
    set_table(impl.policy, [[0.0, LOG3], [LOG3, 0.0]])
    # both actions have probability 3/4: -log(3/4)
    close(total(impl.compute_actor_loss(steps())), math.log(4 / 3))
    set_table(impl.policy, [[0.0, LOG3], [0.0, 0.0]])
    # (-log 3/4 - log 1/2) / 2
    close(total(impl.compute_actor_loss(steps())), (math.log(4 / 3) + LOG2) / 2)


def test_gradient_is_the_probability_less_the_action() -> None:
    impl = make().impl
    set_table(impl.policy, [[0.0, LOG3], [0.0, 0.0]])
    weight, bias = head_gradients(total(impl.compute_actor_loss(steps())), impl.policy)
    assert weight is not None
    # row 0: ((1/4, 3/4) - (0, 1)) / 2; row 1: ((1/2, 1/2) - (1, 0)) / 2; nn.Linear holds [A, S]
    close(weight.T, [[0.125, -0.125], [-0.25, 0.25]])
    close(bias, [-0.125, 0.125])


def test_probabilities_are_taken_over_actions() -> None:
    impl = make(n_actions=3).impl
    set_table(impl.policy, [[0.0, 0.0, 0.0], [50.0, 50.0, 50.0]])
    # each row is uniform over 3 actions whatever its level
    close(total(impl.compute_actor_loss(steps())), LOG3)


def test_penalty_is_the_mean_squared_logit() -> None:
    impl = make(logits_penalty=0.1).impl
    set_table(impl.policy, [[2.0, 2.0], [4.0, 4.0]])
    returned = impl.compute_actor_loss(steps())
    loss = total(returned)
    # log 2 + 0.1 * (4 + 4 + 16 + 16) / 4
    close(loss, LOG2 + 1.0)
    close(row_losses(returned), [LOG2 + 0.4, LOG2 + 1.6])
    weight, _ = head_gradients(loss, impl.policy)
    assert weight is not None
    # ((1/2, 1/2) - (0, 1)) / 2 + 0.1 * 2 * 2 / 4; ((1/2, 1/2) - (1, 0)) / 2 + 0.1 * 2 * 4 / 4
    close(weight.T, [[0.35, -0.15], [-0.05, 0.45]])


def test_rewards_and_ends_do_not_matter() -> None:
    impl = make().impl
    batch = steps()
    other = batch._replace(rewards=torch.tensor([9.0, -9.0]), discounts=torch.ones(2))
    assert torch.equal(total(impl.compute_actor_loss(batch)), total(impl.compute_actor_loss(other)))


def test_one_update_descends_the_gradient() -> None:
    impl = make(optimizer="sgd", learning_rate=0.8).impl
    set_constant(impl.policy, [0.0, 0.0])
    metrics = impl.update(make_batch(one_hot([0, 0], 2), [1, 1]))
    assert set(metrics) == {"actor_loss"}
    close(metrics["actor_loss"], LOG2)
    # bias 0 - 0.8 * ((1/2, 1/2) - (0, 1))
    close(impl.policy.mlp.layers[-1].bias.detach(), [-0.4, 0.4])


def test_predict_takes_the_likeliest_action() -> None:
    algo = make(n_actions=3)
    set_table(algo.impl.policy, [[0.0, 2.0, 1.0], [-1.0, -3.0, -2.0]])
    assert algo.predict(np.eye(2, dtype=np.float32)).tolist() == [1, 0]
    assert algo.predict(np.array([1.0, 0.0], np.float32)) == 1


def test_sample_action_draws_by_probability() -> None:
    algo = make(n_actions=3)
    set_table(algo.impl.policy, [[math.log(0.1), math.log(0.2), math.log(0.7)], [0.0, -90.0, -90.0]])
    draws = algo.sample_action(np.eye(2, dtype=np.float32)[[0] * 20_000 + [1] * 100])
    shares = np.bincount(draws[:20_000], minlength=3) / 20_000
    # The standard error of a share is at most sqrt(0.25 / 20000) = 0.0035.
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.015)
    assert (draws[20_000:] == 0).all()


def test_has_no_value() -> None:
    algo = make()
    assert not algo.has_value
    with pytest.raises(UnsupportedError, match="learns no value function"):
        algo.predict_value(np.eye(2, dtype=np.float32))


def test_learns_from_rows_without_a_next_observation() -> None:
    # An unterminated tail: its last row has no next observation, which cloning does not need.
    dataset = MDPDataset(np.eye(2, dtype=np.float32), np.array([0, 1]), np.zeros(2), np.zeros(2, bool))
    algo = DiscreteBC(encoder=TABLE, seed=0, device="cpu", batch_size=64)
    assert set(algo.sample_batch(dataset).actions.tolist()) == {0, 1}


def test_recovers_the_datas_conditional_frequencies() -> None:
    counts = [[6, 3, 1], [1, 1, 2], [0, 5, 5]]
    algo = DiscreteBC(
        encoder=TABLE, learning_rate=0.05, lr_schedule="cosine", batch_size=256, seed=0, device="cpu"
    )
    algo.fit(counted(counts), n_steps=800, out=None, progress=False)
    with torch.no_grad():
        shares = torch.softmax(algo.impl.policy(torch.eye(3)), -1)
    wanted = torch.tensor(counts) / torch.tensor(counts).sum(1, keepdim=True)
    torch.testing.assert_close(shares, wanted, rtol=0, atol=0.03)


def test_cloning_takes_the_common_action_whatever_it_pays() -> None:
    algo = DiscreteBC(encoder=MLPEncoder((32,)), learning_rate=1e-2, batch_size=64, seed=0, device="cpu")
    assert choice_score(algo, 300) == 0.0
