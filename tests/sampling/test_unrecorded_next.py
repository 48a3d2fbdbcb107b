"""Rows whose next observation was not recorded, in data in any order: none is bootstrapped from, at any door."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.thinning import merge
from offlinekit.metrics.model_diagnosis import next_observations
from offlinekit.metrics.ope.fitted_policies import constant_value
from offlinekit.sampling.block_reader import BlockReader
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.sampling.n_step import drawable_rows, single_steps
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Scaling

HOW = {"gamma": 0.5, "n_step": 1, "device": torch.device("cpu"), "seed": 0, "scaling": Scaling()}
UNKNOWN = [1, 5]


def unordered(n_rows=8, unknown=(1, 5), after=-999.0):
    """Episodes of two rows that time out; what follows rows `unknown` was not recorded."""
    rng = np.random.default_rng(0)
    following = rng.normal(size=(n_rows, 2))
    following[list(unknown)] = after
    return MDPDataset(
        rng.normal(size=(n_rows, 2)),
        rng.normal(size=(n_rows, 1)),
        np.arange(1.0, n_rows + 1),
        np.zeros(n_rows),
        timeouts=np.arange(n_rows) % 2 == 1,
        next_observations=following,
        final_known=~np.isin(np.arange(1, n_rows, 2), unknown),
    )


def test_they_are_zeros_whatever_stood_there():
    for after in (-999.0, np.nan):
        dataset = unordered(after=after)
        assert (dataset.next_observations[UNKNOWN] == 0).all()
        assert (dataset.next_observations_at(UNKNOWN) == 0).all()
        assert not (dataset.next_observations[[0, 2, 3, 4, 6, 7]] == 0).any()


def test_they_take_no_step_by_hand():
    dataset = unordered()
    steps = single_steps(dataset, dataset.rewards, 0.5)
    np.testing.assert_array_equal(steps.steps, [1, 0, 1, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(steps.rewards, [1, 0, 3, 4, 5, 0, 7, 8])
    np.testing.assert_array_equal(drawable_rows(dataset, 1, ["next_observations"]), steps.steps == 1)
    assert drawable_rows(dataset, 1, []).all()


def test_one_where_the_mdp_ended_is_drawn():
    dataset = unordered()
    dataset.terminals[1], dataset.timeouts[1] = True, False
    steps = single_steps(dataset, dataset.rewards, 0.5)
    np.testing.assert_array_equal(steps.steps, [1, 1, 1, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(steps.discounts[[0, 1]], [0.5, 0.0])


@pytest.mark.parametrize("kind", ["memory", "joined", "replay"])
def test_no_sampler_of_memory_draws_them(kind):
    needs = ["next_observations", "next_known"]
    dataset = unordered()
    if kind == "joined":  # Rows in order of time, joined with two that are not.
        ordered = MDPDataset(
            5 + np.arange(12.0).reshape(6, 2),
            np.zeros((6, 1)),
            np.ones(6),
            np.zeros(6),
            timeouts=[0, 1, 0, 1, 0, 1],
        )
        dataset = merge([ordered, unordered(2, ())])
        assert len(dataset) - 3 == drawable_rows(dataset, 1, needs).sum()
    if kind == "replay":
        sampler = ReplayMemory(dataset, capacity=4, keep=True, batch_size=64, needs=needs, **HOW)
    else:
        sampler = TransitionSampler(dataset, batch_size=64, needs=needs, **HOW)
    for _ in range(4):
        batch = sampler.sample()
        assert batch.next_known.all()
        assert (batch.next_observations != 0).any(1).all()


def test_next_known_says_which():
    sampler = TransitionSampler(unordered(), batch_size=1, needs=["next_known"], **HOW)
    np.testing.assert_array_equal(sampler.gather(torch.arange(8)).next_known, [1, 0, 1, 1, 1, 0, 1, 1])


def test_blocks_of_a_file_draw_all_but_them(tmp_path):
    # Blocks of 64 rows at least, so 400 rows are seven; an odd number of rows a block cuts no other row off.
    unknown = np.arange(3, 400, 10)
    dataset = unordered(400, unknown)
    opened = MDPDataset.open(dataset.save(tmp_path / "data.h5", compress=False))
    needs = ["next_observations", "rows", "next_known"]
    sampler = BlockSampler(opened, batch_size=256, needs=needs, block_bytes=1, pool_bytes=2 * 64 * 24, **HOW)
    assert sampler.reader.n_blocks == 7
    drawn = set()
    for _ in range(80):
        batch = sampler.sample()
        rows = batch.rows.numpy()
        drawn |= set(rows.tolist())
        assert batch.next_known.all()
        np.testing.assert_array_equal(batch.next_observations, dataset.next_observations[rows])
    assert drawn == set(range(400)) - set(unknown.tolist())


def test_a_row_at_the_edge_of_a_block_keeps_its_own():
    dataset = unordered(130, (63,))
    dataset.timeouts[:] = False
    dataset.timeouts[129] = True  # One episode, cut at row 64 and at row 128.
    dataset.episode_starts, dataset.episode_ends = np.array([0]), np.array([130])
    dataset.final_known = np.array([False])
    reader = BlockReader(
        dataset,
        columns={},
        returns=False,
        gamma=0.5,
        scaling=Scaling(),
        before=0,
        after=1,
        block_bytes=1,
        n_threads=1,
    )
    for block, known in ((0, [True]), (1, [True]), (2, [False])):
        assert reader.read(np.array([block])).dataset.final_known.tolist() == known


def test_models_are_compared_with_recorded_outcomes():
    np.testing.assert_array_equal(next_observations(unordered())[1], [1, 0, 1, 1, 1, 0, 1, 1])


def test_the_constant_value_leaves_them_out():
    class Fit:
        gamma = 0.5

        class scaling:  # As an algorithm has it.
            reward = None

        def sampling_weights_for(self, dataset):
            return None

    # Rewards 1..8 without 2 and 6 sum to 28, over six rows that each lack 1 - 0.5.
    assert constant_value(Fit(), unordered()) == pytest.approx(28 / 3)
