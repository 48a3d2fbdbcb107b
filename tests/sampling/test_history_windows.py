"""Histories of rows as samplers make them: within an episode, the first row again before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import next_observations_of, stacked_observations
from offlinekit.errors import DatasetError
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Affine, Scaling

PLAIN = {"gamma": 0.5, "device": torch.device("cpu"), "seed": 0, "scaling": Scaling(), "batch_size": 4}


def episodes(**options):
    """Two episodes, rows 0, 1, 2 and then 3, 4; the first is cut off with 9 behind it, the second ends the MDP."""
    observations = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], np.float32)
    return MDPDataset(
        options.pop("observations", observations),
        np.array([[10.0], [11.0], [12.0], [13.0], [14.0]], np.float32) / 20,
        np.arange(5.0),
        [0, 0, 0, 0, 1],
        timeouts=[0, 0, 1, 0, 0],
        **{"final_observations": np.array([[9.0], [0.0]], np.float32), **options},
    )


def sampler(data, **options):
    return TransitionSampler(data, **{**PLAIN, "n_step": 1, **options})


def test_a_history_ends_with_its_row_and_begins_with_the_episode():
    batch = sampler(episodes(), history=3).gather(torch.arange(4))
    # Row 0 has nothing before it: itself three times. Row 3 is the first of the second episode: nothing of the first.
    assert batch.observations[..., 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3]]
    # What follows has moved by one row; the first episode was cut off with 9 behind it.
    assert batch.next_observations[..., 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 9], [3, 3, 4]]
    assert batch.rewards.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(batch.actions[:, 0], [0.5, 0.55, 0.6, 0.65])


def test_histories_of_joined_steps_end_where_these_do():
    batch = sampler(episodes(), history=2, n_step=2).gather(torch.tensor([0, 1, 3]))
    assert batch.observations[..., 0].tolist() == [[0, 0], [0, 1], [3, 3]]
    # Two steps from row 0 lies row 2, from row 1 what follows the first episode; row 3 ends the MDP in two steps.
    assert batch.next_observations[:2, :, 0].tolist() == [[1, 2], [2, 9]]
    assert batch.rewards.tolist() == [0 + 0.5 * 1, 1 + 0.5 * 2, 3 + 0.5 * 4]
    assert batch.discounts.tolist() == [0.25, 0.25, 0.0]


def test_next_actions_and_columns_stay_of_their_row():
    data = episodes(extras={"costs": np.arange(5, dtype=np.float32), "marks": np.arange(5)})
    needs = ("next_observations", "next_actions", "costs", "marks")
    batch = sampler(data, history=3, needs=needs).gather(torch.tensor([0, 1]))
    np.testing.assert_allclose(batch.next_actions[:, 0], [0.55, 0.6])
    assert batch.costs.tolist() == [0, 1]
    assert batch.marks.tolist() == [0, 1]


def test_each_leaf_has_its_history_but_for_the_legal_actions():
    tree = {
        "legal_actions": np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1]],
        "picture": np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1),
        "speed": np.arange(5, dtype=np.float32)[:, None],
    }
    finals = {name: np.zeros((2, *leaf.shape[1:]), leaf.dtype) for name, leaf in tree.items()}
    finals["legal_actions"][:] = 1
    data = MDPDataset(
        tree, np.array([0, 1, 2, 0, 1]), np.zeros(5), [0, 0, 0, 0, 1], timeouts=[0, 0, 1, 0, 0],
        final_observations=finals,
    )  # fmt: skip
    batch = sampler(data, history=2).gather(torch.tensor([1, 3]))
    assert batch.observations["speed"][..., 0].tolist() == [[0, 1], [3, 3]]
    assert batch.observations["picture"][..., 0, 0, 0].tolist() == [[0, 1], [3, 3]]
    assert batch.next_observations["picture"][..., 0, 0, 0].tolist() == [[1, 2], [3, 4]]
    assert batch.observations["legal_actions"].tolist() == [[0, 1, 0], [1, 0, 0]]
    seen = stacked_observations(data, np.array([1, 3]), 1, history=2)
    following = next_observations_of(data, np.array([1, 3]), 1, history=2)
    for name in tree:
        np.testing.assert_array_equal(seen[name], batch.observations[name])
        np.testing.assert_array_equal(following[name], batch.next_observations[name])


def test_numpy_sees_what_the_sampler_does():
    batch = sampler(episodes(), history=4).gather(torch.arange(4))
    index = np.arange(4)
    np.testing.assert_array_equal(stacked_observations(episodes(), index, 1, history=4), batch.observations)
    following = next_observations_of(episodes(), index, 1, history=4)
    np.testing.assert_array_equal(following, batch.next_observations)


def test_rows_are_scaled_as_without_a_history():
    scaling = Scaling(observation=Affine(np.array([1.0]), np.array([2.0])))
    batch = sampler(episodes(), history=2, scaling=scaling).gather(torch.tensor([1]))
    assert batch.observations[0, :, 0].tolist() == [(0 - 1) / 2, (1 - 1) / 2]


@pytest.mark.parametrize("history", [1, 3])
def test_a_minibatch_in_the_memory_of_the_last_is_the_same(history):
    options = {"history": history, "needs": ("next_observations", "next_actions"), "batch_size": 3}
    one, other = (sampler(episodes(), **options) for _ in range(2))
    reused = one.sample()
    other.sample()
    assert one.refill(reused)
    for ours, theirs in zip(reused, other.sample(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_columns_are_written_at_their_rows():
    columns = sampler(episodes(), history=3, needs=("lambda_returns",)).columns
    columns.write("lambda_returns", torch.arange(5.0) * 7)
    assert columns.gather(torch.arange(5)).lambda_returns.tolist() == [0, 7, 14, 21, 28]


def test_members_of_a_population_have_an_axis_before():
    batch = sampler(episodes(), history=2).gather(torch.tensor([[0, 1], [2, 3]]))
    assert batch.observations.shape == (2, 2, 2, 1)
    assert batch.observations[1, :, :, 0].tolist() == [[1, 2], [3, 3]]


def test_transitions_in_no_order_have_no_history():
    data = MDPDataset(
        np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3), [0, 0, 1], next_observations=np.ones((3, 1))
    )
    with pytest.raises(DatasetError, match="history_length=2 needs rows in temporal order"):
        sampler(data, history=2)
    with pytest.raises(DatasetError, match="history_length=2 needs rows in temporal order"):
        stacked_observations(data, np.arange(2), 1, history=2)


def test_a_replay_memory_of_single_rows_refuses_them():
    with pytest.raises(Exception, match="histories"):
        ReplayMemory(episodes(), **{**PLAIN, "n_step": 1}, capacity=4, keep=True, history=2)
