from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, FileFormatError


def test_actions_and_rewards_move_up_by_one_row(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.v_d4rl(tmp_path))
    # Row t of the file holds the action 0.1 t and the reward t that led to image t.
    np.testing.assert_allclose(dataset.actions[:, 0], [0.1, 0.2, 0.3], rtol=1e-6)
    assert dataset.rewards.tolist() == [1, 2, 3]
    assert dataset.observations[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert dataset.final_observations[0, 0, 0, 0] == 3
    assert dataset.timeouts.tolist() == [False, False, True]


def test_discount_zero_is_a_terminal(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.v_d4rl(tmp_path, discount=np.array([1, 1, 1, 0.0])))
    assert dataset.terminals.tolist() == [False, False, True]
    marks = np.array([False, False, False, True])
    assert get_dataset(layouts.v_d4rl(tmp_path, is_terminal=marks))[0].terminals.sum() == 1


def test_shards_hold_several_episodes(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.v_d4rl_shard(tmp_path))
    assert dataset.rewards.tolist() == [1, 2, 4, 5]
    np.testing.assert_array_equal(dataset.actions, layouts.ACTIONS[[1, 2, 4, 5]])
    assert dataset.terminals.tolist() == [False, True, False, False]


def test_a_folder_of_episodes(tmp_path: Path) -> None:
    layouts.v_d4rl(tmp_path).rename(tmp_path / "b.npz")
    layouts.v_d4rl(tmp_path, reward=np.array([0.0, 5.0, 5.0, 5.0])).rename(tmp_path / "a.npz")
    assert get_dataset(tmp_path)[0].episode_returns().tolist() == [15, 6]


def test_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no 'step_type', which says where episodes begin"):
        get_dataset(layouts.v_d4rl_shard(tmp_path, step_type=None), format="v_d4rl")
    with pytest.raises(DatasetError, match="does not begin with the first step"):
        get_dataset(layouts.v_d4rl_shard(tmp_path, step_type=np.ones(6)))
    with pytest.raises(DatasetError, match="an episode of one step"):
        get_dataset(layouts.v_d4rl_shard(tmp_path, step_type=np.array([0, 1, 2, 0, 0, 2])))
