"""NFQ by hand: regression on targets that stay as they are for an iteration."""

from __future__ import annotations

import functools

import numpy as np
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import chain_dataset, chain_values, discrete_dataset, two_steps
from small_tasks import choice_score
from table_networks import TABLE, set_constant, set_table

from offlinekit.algos import NFQ, MLPEncoder

ONLINE = [[[9.0, 0.0, 1.0], [0.0, 0.0, 7.0]]]  # [K=1, S=2, A=3]
FITTED = [[[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]]]  # Q_k, what the last iteration left.


def make(**options):
    return NFQ(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset())


steps = functools.partial(two_steps, [2, 0])


def test_targets_are_the_best_values_of_the_last_iteration():
    impl = make().impl
    set_table(impl.q, ONLINE)
    set_table(impl.target_q, FITTED)
    # 1 + 0.5 * max(4, 0, 3) = 3; the end: -1
    close(impl.compute_target(steps()), [3.0, -1.0])


def test_loss_is_the_squared_error_and_its_gradient():
    impl = make().impl
    set_table(impl.q, [[[9.0, 0.0, -4.0], [0.0, 0.0, 7.0]]])
    set_table(impl.target_q, FITTED)
    returned = impl.critic_loss(steps())
    loss = total(returned)
    # (-4 - 3)^2 and (0 + 1)^2: (49 + 1) / 2; the Huber loss would be (6.5 + 0.5) / 2
    close(loss, 25.0)
    close(row_losses(returned), [[49.0, 1.0]])
    # 2 * error / 2 rows
    close(head_gradients(loss, impl.q)[0], [[[0.0, 0.0, -7.0], [1.0, 0.0, 0.0]]])


def test_huber_loss_where_asked_for():
    impl = make(td_loss="huber").impl
    set_table(impl.q, [[[9.0, 0.0, -4.0], [0.0, 0.0, 7.0]]])
    set_table(impl.target_q, FITTED)
    close(total(impl.critic_loss(steps())), 3.5)


def test_targets_stay_fixed_for_an_iteration():
    impl = make(target_update_interval=3, learning_rate=0.1).impl
    fixed = impl.compute_target(steps())
    for step in range(1, 7):
        before = impl.q.network.mlp.layers[-1].weight.clone()
        impl.update(steps())
        assert not torch.equal(before, impl.q.network.mlp.layers[-1].weight)
        assert torch.equal(fixed, impl.compute_target(steps())) == (step % 3 != 0)
        fixed = impl.compute_target(steps())


def test_an_iteration_has_a_thousand_updates_and_ends_with_a_copy():
    algo = NFQ(seed=0)
    assert (algo.target_update_interval, algo.tau, algo.td_loss) == (1_000, 1.0, "mse")


def test_critics_vote_and_the_lowest_counts():
    impl = make(n_critics=2).impl
    set_table(impl.target_q, [[[0.0] * 3, [6.0, 0.0, 3.0]], [[0.0] * 3, [1.0, 3.5, 2.0]]])
    # state 1: means (3.5, 1.75, 2.5) choose action 0, of which the lowest is 1
    close(impl.compute_target(steps()), [1.5, -1.0])
    set_constant(impl.q, [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    # (1 - 1.5)^2, (1 + 1)^2; (2 - 1.5)^2, (2 + 1)^2: (4.25 + 9.25) / 2
    close(total(impl.critic_loss(steps())), 6.75)


def test_each_iteration_looks_one_step_further():
    # After k iterations of an exact regression, values reach k steps back from the reward of the chain.
    algo = NFQ(
        encoder=TABLE,
        optimizer="sgd",
        learning_rate=1.0,
        gamma=0.9,
        batch_size=64,
        target_update_interval=60,
        seed=0,
        device="cpu",
    ).build(chain_dataset())
    set_constant(algo.impl.q, [[0.0, 0.0]])
    set_constant(algo.impl.target_q, [[0.0, 0.0]])
    exact = chain_values(0.9)
    for reached in range(1, 6):
        algo.fit(chain_dataset(), 60, out=None, progress=False)
        values = algo.impl.q.values(torch.eye(5)).detach()[0]
        torch.testing.assert_close(values[5 - reached :, 1], exact[5 - reached :, 1], rtol=0, atol=1e-3)
        assert (values[: 5 - reached, 1].abs() < 1e-3).all()
    assert algo.predict(np.eye(5, dtype=np.float32)).tolist() == [1] * 5


def test_learns_a_choice_that_cloning_misses():
    algo = NFQ(encoder=MLPEncoder((32,)), learning_rate=1e-2, batch_size=64, seed=0, device="cpu")
    assert choice_score(algo, 200) > 0.9
