"""AWR: lambda-returns of a dataset, when they are computed anew, and both losses, by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import bandit_error, pendulum_return
from table_networks import STATES, TABLE, set_table

from offlinekit.algos import AWR, MLPEncoder
from offlinekit.algos.torch.awr_impl import AWRImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.transition_table import TransitionTable
from offlinekit.testing import small_dataset

QUIET = {"out": None, "progress": False}


def episodes() -> MDPDataset:
    """Two episodes over one-hot states: one that the MDP ended, one cut off with nothing known of what followed."""
    states, seen = np.eye(2, dtype=np.float32), [0, 1, 0, 1, 0, 1]
    ends = np.array([False, False, True, False, False, True])
    return MDPDataset(
        states[seen],
        np.linspace(-0.5, 0.5, 6, dtype=np.float32)[:, None],
        np.arange(1.0, 7.0, dtype=np.float32),
        ends & (np.arange(6) == 2),
        timeouts=ends & (np.arange(6) == 5),
    )


def build(**options: object) -> AWRImpl:
    """V' = (10, 20)."""
    impl = AWR(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_table(impl.target_value, [[10.0], [20.0]])
    return impl


def column(impl: AWRImpl, data: MDPDataset, **options: object) -> np.ndarray:
    sampler = AWR(encoder=TABLE, seed=0, device="cpu", **options).build(data).make_sampler(data)
    impl.learn_data(data, sampler)
    return sampler.gather(torch.arange(len(data))).lambda_returns.numpy()


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_lambda_returns_by_hand(decay):
    impl = build(td_lambda=decay)
    found = column(impl, episodes(), gamma=0.9)
    third = 3.0  # Terminal: nothing follows.
    second = 2 + 0.9 * ((1 - decay) * 10 + decay * third)
    first = 1 + 0.9 * ((1 - decay) * 20 + decay * second)
    # The timeout's last row saw nothing follow: its return is its value 20, and those before bootstrap from it
    last = 20.0
    fifth = 5 + 0.9 * ((1 - decay) * 20 + decay * last)
    fourth = 4 + 0.9 * ((1 - decay) * 10 + decay * fifth)
    np.testing.assert_allclose(found, [first, second, third, fourth, fifth, last], rtol=1e-5)
    # Advantages of the rows that can be drawn, less V' = 10, 20, 10, 20, 10
    advantages = np.array([first, second, third, fourth, fifth]) - [10, 20, 10, 20, 10]
    close(impl.shift, advantages.mean())
    close(impl.scale, advantages.std() + 1e-5)


def test_a_known_end_of_a_recording_is_bootstrapped_from():
    data = MDPDataset(
        np.eye(2, dtype=np.float32),
        np.zeros((2, 1), np.float32),
        np.array([1.0, 2.0], np.float32),
        np.zeros(2, bool),
        timeouts=np.array([False, True]),
        next_observations=np.eye(2, dtype=np.float32)[[1, 0]],
    )
    last = 2 + 0.9 * 10
    np.testing.assert_allclose(
        column(build(td_lambda=0.5), data, gamma=0.9), [1 + 0.9 * (10 + 0.5 * last), last], rtol=1e-5
    )


def test_value_loss_and_its_gradient():
    impl = build()
    set_table(impl.value, [[1.0], [2.0]])
    returned = impl.compute_value_loss(
        make_batch(STATES, [[0.0], [0.0]], lambda_returns=torch.tensor([3.0, 1.0]))
    )
    loss, metrics = total(returned)
    close(loss, (4 + 1) / 2)
    close(row_losses(returned), [4.0, 1.0])
    close(metrics["value"], 1.5)
    close(head_gradients(loss, impl.value)[0], [[-2.0, 1.0]])


def test_weights_are_bounded_exponentials_of_normalised_advantages():
    impl = build(temperature=0.5, max_weight=20.0)
    set_table(impl.value, [[1.0], [2.0]])
    impl.shift.fill_(0.5)
    impl.scale.fill_(4.0)
    # (3 - 1 - 0.5) / 4 / 0.5 = 0.75; (62 - 2 - 0.5) / 2 is cut at 20
    found = impl.weights(make_batch(STATES, [[0.0], [0.0]], lambda_returns=torch.tensor([3.0, 62.0])))
    close(found, [math.exp(0.75), 20.0])
    assert not found.requires_grad


def test_actor_loss_and_its_gradient():
    impl = build()
    set_table(impl.value, [[1.0], [2.0]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    # A = (1, -1): weights e, 1/e; log N(a; mean, 1) = -(a - mean)^2 / 2 - log(2 pi) / 2
    returned = impl.compute_actor_loss(
        make_batch(STATES, [[0.9], [-0.2]], lambda_returns=torch.tensor([2.0, 1.0]))
    )
    loss, metrics = total(returned)
    weights, errors = np.array([math.e, 1 / math.e]), np.array([0.4, -0.2])
    close(loss, (weights * (errors**2 / 2 + math.log(2 * math.pi) / 2)).mean())
    close(row_losses(returned), weights * (errors**2 / 2 + math.log(2 * math.pi) / 2))
    close(metrics["weight"], weights.mean())
    close(head_gradients(loss, impl.policy)[0], (-weights * errors / 2 * [0.75, 1.0])[None])
    assert head_gradients(loss, impl.value) == (None, None)


def test_returns_are_computed_anew_when_the_copy_of_the_value_moves():
    data = small_dataset("continuous")
    algo = AWR(encoder=MLPEncoder((8,)), batch_size=8, refresh_interval=3, seed=0, device="cpu")
    algo.build(data)
    seen, refresh = [], algo.impl.refresh

    def spy(columns: TransitionTable, done: int) -> None:
        refresh(columns, done)
        weight = algo.impl.target_value.mlp.layers[-1].weight
        seen.append((done, weight.clone(), algo.sampler.gather(torch.arange(120)).lambda_returns.clone()))

    algo.impl.refresh = spy
    algo.fit(data, 8, **QUIET)
    assert [done for done, _, _ in seen] == [0, 3, 6]
    for (_, weight, returns), (_, newer, anew) in itertools.pairwise(seen):
        assert not torch.equal(weight, newer)
        assert not torch.equal(returns, anew)
    algo.fit(data, 1, **QUIET)  # A run begins with the returns of the copy that stands.
    assert [done for done, _, _ in seen[3:]] == [8, 9]
    assert torch.equal(seen[3][2], seen[2][2])


def test_resumed_runs_and_engines_give_the_same_bits(tmp_path):
    data = small_dataset("continuous")
    make = lambda: AWR(encoder=MLPEncoder((8,)), batch_size=8, refresh_interval=7, seed=0, device="cpu")  # noqa: E731
    settings = {"out": tmp_path, "progress": False, "checkpoint_interval": 14}
    whole = make().fit(data, 40, engine="eager", **settings)
    broken = make()
    for step, _ in broken.fitter(data, 40, log_interval=1, engine="graph", **settings):
        if step == 25:
            break
    resumed = make().fit(data, 40, resume=broken.run_dir, engine="graph", **settings)
    states = [algo.impl.state_tensors() for algo in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_has_no_episodes_in_memory_is_refused():
    impl = build()
    with pytest.raises(UnsupportedError, match="in temporal order and in memory"):
        impl.learn_data(None, object())
    with pytest.raises(ValueError, match="n_step must be 1, got 3"):
        build(n_step=3)


def test_learns_a_bandit_better_than_cloning():
    rates = {"actor_learning_rate": 3e-3, "value_learning_rate": 3e-3}
    algo = AWR(encoder=MLPEncoder((32, 32)), batch_size=64, temperature=0.2, seed=0, device="cpu", **rates)
    assert bandit_error(algo, 500) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    rates = {"actor_learning_rate": 1e-3, "value_learning_rate": 1e-3}
    small = {"encoder": MLPEncoder((64, 64)), "seed": 0, "device": "cpu"}
    algo = AWR(temperature=0.3, reward_scaler="standard", **small, **rates)
    assert pendulum_return(algo, 3_000) > -1000
