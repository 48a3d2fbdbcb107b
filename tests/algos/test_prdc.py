"""PRDC: the search, the one action it puts in TD3+BC's place, and what a run does with it."""

from __future__ import annotations

import logging
import math

import gymnasium
import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import PENDULUM, bandit_error, pendulum_return
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

import offlinekit
from offlinekit.algos import PRDC, MLPEncoder, Population
from offlinekit.algos.torch.prdc_impl import PRDCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import NotFittedError, UnsupportedError
from offlinekit.nn.neighbours import INDEXES, Neighbours, nearest_rows
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.testing import small_dataset

BATCH = make_batch(STATES, [[0.9], [-0.2]], next_observations=STATES.flip(0))
DATA_ACTIONS = torch.tensor([[0.9], [0.1], [-0.6], [-0.2]])
QUIET = {"out": None, "progress": False}


def build(**options: object) -> PRDCImpl:
    """Q1 = (-3, 1) + 2 a, pi = (0.5, 0); of state 0 the data hold 0.9 and 0.1, of state 1 -0.6 and -0.2."""
    algo = PRDC(encoder=TABLE, seed=0, device="cpu", **options)
    impl = algo.build(continuous_dataset()).impl
    set_table(impl.q, [[[-3.0], [1.0], [2.0]], [[-70.0], [-70.0], [5.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    impl.neighbours = Neighbours(one_hot([0, 0, 1, 1], 2), DATA_ACTIONS, algo.state_weight)
    return impl


def test_finds_the_nearest_row_by_weighted_observation_and_action():
    impl = build(state_weight=2.0)
    # State 0: |0.5 - 0.9| = |0.5 - 0.1| - a tie; 0.45 is nearer to 0.1. The other state is sqrt(8) away.
    near = impl.neighbours.nearest_actions(STATES, torch.tensor([[0.45], [-0.5]]))
    close(near, [[0.1], [-0.6]])


def test_without_the_observation_the_action_alone_counts():
    near = Neighbours(one_hot([0, 0, 1, 1], 2), DATA_ACTIONS, 0.0).nearest_actions(
        STATES, torch.tensor([[-0.3], [0.8]])
    )
    close(near, [[-0.2], [0.9]])


@pytest.mark.parametrize(("weight", "expected"), [(0.1, 0.1), (1.0, 0.9)])
def test_the_weight_multiplies_the_observation_once(weight, expected):
    # From (1, 0.4): squares w^2 + 0.3^2 and (0.4 w)^2 + 0.5^2, 0.1 and 0.2516 or 1.09 and 0.41
    index = Neighbours(torch.tensor([[0.0], [1.4]]), torch.tensor([[0.1], [0.9]]), weight)
    close(index.nearest_actions(torch.tensor([[1.0]]), torch.tensor([[0.4]])), [[expected]])


@pytest.mark.parametrize("at_once", [7, 100, 1000])
def test_looking_at_all_rows_finds_what_the_tree_finds(at_once):
    generator = torch.Generator().manual_seed(0)
    rows, queries = (torch.randn(n, 5, generator=generator) for n in (500, 40))
    tree = Neighbours(rows[:, :3], rows[:, 3:], 1.0)
    expected = torch.cdist(queries, rows).argmin(1)
    assert torch.equal(tree.search(queries), expected)
    assert torch.equal(nearest_rows(queries, rows, at_once), expected)


def test_actor_loss_and_its_gradient():
    impl = build(alpha=2.5)
    # Nearest to pi = (0.45, 0) are 0.1 and -0.2
    set_table(impl.policy, [[math.atanh(0.45)], [0.0]])
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    # Q1(s, pi) = (-2.1, 1): mean -0.55, lambda = 2.5 / 1.55; distance = (0.35^2 + 0.2^2) / 2
    scale, distance = 2.5 / 1.55, (0.35**2 + 0.2**2) / 2
    close(loss, distance + scale * 0.55)
    close(row_losses(returned), [0.35**2 + scale * 2.1, 0.2**2 - scale])
    close(metrics["bc_loss"], distance)
    # d / d pi = (2 (pi - near) - lambda * 2) / 2 = (0.35 - lambda, 0.2 - lambda), times 1 - pi^2
    close(head_gradients(loss, impl.policy)[0], [[(0.35 - scale) * (1 - 0.45**2), 0.2 - scale]])


def test_values_of_zero_leave_the_distance():
    impl = build()
    set_constant(impl.q, [[0.0], [0.0]])
    set_constant(impl.policy, [math.atanh(-0.3)])
    # The nearest are 0.1 and -0.2
    close(total(impl.compute_actor_loss(BATCH))[0], (0.4**2 + 0.1**2) / 2)


def test_critics_are_those_of_td3():
    impl = build(target_noise=0.0)
    set_constant(impl.target_q, [[3.0], [2.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 1.0], discounts=[0.5, 0.0])
    close(impl.compute_target(batch), [2.0, 1.0])


def test_a_run_indexes_the_rows_that_can_be_drawn_as_batches_hold_them():
    data = small_dataset("continuous")
    cut = MDPDataset(data.observations, data.actions, data.rewards, data.terminals, timeouts=data.timeouts)
    algo = PRDC(encoder=MLPEncoder((8,)), batch_size=8, state_weight=3.0, seed=0, device="cpu")
    batch = algo.fit(cut, 2, **QUIET).sample_batch(cut)
    index = algo.impl.neighbours
    assert len(index.rows) == algo.sampler.n_usable == len(cut) - 3  # Three timeouts without what followed.
    # Each row of a batch is nearest to itself: observations standardised, actions in [-1, 1]
    close(index.nearest_actions(batch.observations, batch.actions), batch.actions)
    found = index.rows[index.search(torch.cat([3 * batch.observations, batch.actions], -1))]
    close(found, torch.cat([3 * batch.observations, batch.actions], -1))


def test_each_instance_searches_its_own_data_and_a_loaded_one_too(tmp_path):
    first, second = small_dataset("continuous"), small_dataset("continuous", n_episodes=3)
    make = lambda: PRDC(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu")  # noqa: E731
    one, other = make().fit(first, 2, **QUIET), make().fit(second, 2, **QUIET)
    mine, theirs = one.impl.neighbours, other.impl.neighbours
    assert (len(mine.rows), len(theirs.rows)) == (120, 60)
    assert mine.number != theirs.number
    loaded = offlinekit.load(one.save(tmp_path / "policy.okt"), device="cpu")
    assert loaded.impl.neighbours is None
    np.testing.assert_array_equal(loaded.predict(first.observations), one.predict(first.observations))
    loaded.fit(first, 1, **QUIET)
    assert torch.equal(loaded.impl.neighbours.rows, mine.rows)
    gone = mine.number
    one.fit(second, 1, **QUIET)
    assert len(one.impl.neighbours.rows) == 60
    del mine
    assert gone not in INDEXES


def test_recorded_losses_search_anew_each_time():
    states = []
    for engine in ("eager", "graph"):
        algo = PRDC(encoder=MLPEncoder((8,)), batch_size=8, policy_delay=1, seed=0, device="cpu")
        algo.fit(small_dataset("continuous"), 40, engine=engine, **QUIET)
        states.append(algo.impl.state_tensors())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_recording_holds_the_search(caplog):
    caplog.set_level(logging.INFO, "offlinekit")
    algo = PRDC(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu")
    algo.fit(small_dataset("continuous"), 40, engine="graph", **QUIET)
    assert not any("stays eager" in text for text in caplog.messages)


def test_members_of_a_population_train_alone_and_the_log_says_why(caplog):
    caplog.set_level(logging.INFO, "offlinekit")
    members = [PRDC(encoder=MLPEncoder((8,)), batch_size=8, seed=s, device="cpu") for s in range(2)]
    population = Population(members).fit(small_dataset("continuous"), 3, **QUIET)
    assert population.stacks == [[0], [1]]
    assert any("not stacked" in text and "of the whole dataset" in text for text in caplog.messages)
    assert population[0].impl.neighbours is not population[1].impl.neighbours


def test_losses_before_a_run_and_observations_that_are_no_vectors_are_refused():
    impl = PRDC(encoder=TABLE, seed=0, device="cpu").build(continuous_dataset()).impl
    with pytest.raises(NotFittedError, match=r"call fit\(dataset\)"):
        total(impl.compute_actor_loss(BATCH))
    images = MDPDataset(
        np.zeros((4, 1, 9, 9), np.uint8),
        np.zeros((4, 1), np.float32),
        np.zeros(4),
        np.arange(4) == 3,
        action_space=gymnasium.spaces.Box(-1.0, 1.0, (1,)),
    )
    with pytest.raises(UnsupportedError, match="must be a vector"):
        PRDC(device="cpu").build(images)


def test_data_that_stay_in_a_file_are_refused(tmp_path):
    path = tmp_path / "data.h5"
    small_dataset("continuous").save(path, compress=False)
    algo = PRDC(encoder=TABLE, seed=0, device="cpu")
    data = MDPDataset.open(path)
    algo.build(data)
    settings = {"gamma": 0.99, "n_step": 1, "device": algo.impl.device, "seed": 0, "scaling": algo.scaling}
    with pytest.raises(UnsupportedError, match=r"MDPDataset\.load"):
        algo.impl.learn_data(data, BlockSampler(data, batch_size=8, **settings))


def test_learns_a_bandit_better_than_cloning():
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    algo = PRDC(encoder=MLPEncoder((32, 32)), batch_size=64, seed=0, device="cpu", **rates)
    assert bandit_error(algo, 400) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    assert pendulum_return(PRDC(**PENDULUM), 3_000) > -1000
