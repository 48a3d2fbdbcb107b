from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import package_layouts
import pytest
from gymnasium import spaces

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, DownloadError


def write(path: Path, **changes: Any) -> Path:
    """Two trajectories of 4 and 3 states along a line: 0 1 2 3 | 10 11 12."""
    place = np.array([0.0, 1, 2, 3, 10, 11, 12], np.float32)
    columns = {
        "observations": np.stack([place, -place], axis=1),
        "actions": np.arange(7, dtype=np.float32)[:, None] / 10,
        "terminals": np.array([0, 0, 0, 1, 0, 0, 1], np.float32),
        "qpos": np.stack([place, np.zeros(7)], axis=1),
        **changes,
    }
    np.savez(path, **{name: column for name, column in columns.items() if column is not None})
    return path


def test_ends_are_no_terminals_and_their_rows_only_next_states(tmp_path: Path) -> None:
    dataset, env = get_dataset(write(tmp_path / "antmaze-large-navigate-v0.npz"))
    assert env is None
    assert dataset.observations[:, 0].tolist() == [0, 1, 2, 10, 11]
    assert dataset.episode_ends.tolist() == [3, 5]
    assert not dataset.terminals.any()
    assert dataset.final_observations.tolist() == [[3, -3], [12, -12]]
    assert dataset.final_known.all()
    assert dataset.actions[:, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.4, 0.5])
    assert not dataset.rewards.any()
    assert dataset.extras["qpos"][:, 0].tolist() == [0, 1, 2, 10, 11]
    assert dataset.action_space == spaces.Box(-1, 1, (1,), np.float32)
    assert dataset.name == "antmaze-large-navigate-v0"


def test_a_goal_gives_rewards_and_terminals(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write(tmp_path / "x.npz"), goal=[1.3, 0.4])
    # From (1, 0) to (1.3, 0.4) it is exactly 0.5; reached there, in the state of row 1, and nowhere else.
    assert dataset.rewards.tolist() == [-1, 0, -1, -1, -1]
    assert np.flatnonzero(dataset.terminals).tolist() == [1]
    assert dataset.episode_ends.tolist() == [2, 3, 5]
    assert dataset.final_observations[:, 0].tolist() == [2, 3, 12]


def test_a_goal_of_parts_counts_those_reached(tmp_path: Path) -> None:
    states = np.array([[0, 0], [1, 0], [1, 1], [1, 1], [0, 1], [0, 0], [1, 1]])
    path = write(tmp_path / "x.npz", button_states=states)
    options = {"goal": [[1], [1]], "goal_dims": [[0], [1]], "goal_column": "button_states", "tolerance": 0.0}
    dataset, _ = get_dataset(path, **options)
    assert dataset.rewards.tolist() == [-2, -1, 0, -1, -2]
    assert np.flatnonzero(dataset.terminals).tolist() == [2]


def test_integer_actions_are_discrete_and_images_stay(tmp_path: Path) -> None:
    images = np.arange(7 * 12, dtype=np.uint8).reshape(7, 3, 2, 2)
    dataset, _ = get_dataset(
        write(tmp_path / "x.npz", observations=images, actions=np.array([0, 1, 2, 0, 1, 3, 2], np.int32))
    )
    assert dataset.action_space == spaces.Discrete(4)
    assert dataset.observations.dtype == np.uint8


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ogbench").mkdir()
    write(tmp_path / "ogbench" / "cube-single-play-v0-val.npz")
    dataset, _ = get_dataset("ogbench/cube-single-play-v0-val", goal=[2.0, 0.0])
    assert dataset.terminals.sum() == 1
    with pytest.raises(TypeError, match="has no option 'gaol'; did you mean 'goal'"):
        get_dataset("ogbench/cube-single-play-v0-val", gaol=1)
    monkeypatch.setattr("offlinekit.datasets.sources.ogbench.URL", "ftp://example.invalid")
    with pytest.raises(DownloadError, match=r"ftp://example.invalid/cube-single-play-v0.npz"):
        get_dataset("ogbench/cube-single-play-v0")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz")
    with pytest.raises(
        DatasetError, match="goal_column must be one of actions, observations, qpos, got 'qvel'"
    ):
        get_dataset(path, goal=[0, 0], goal_column="qvel")
    with pytest.raises(
        DatasetError, match="must have one shape, and dims must be columns of qpos, which has 2"
    ):
        get_dataset(path, goal=[0, 0], goal_dims=(0, 2))
    with pytest.raises(DatasetError, match="has no trajectory of two rows"):
        get_dataset(write(tmp_path / "y.npz", terminals=np.ones(7)))
    with_rewards, _ = get_dataset(
        write(tmp_path / "z.npz", rewards=np.ones(7))
    )  # Not of OGBench: all rows count.
    assert len(with_rewards) == 7


def test_compact_files_say_by_valids_which_rows_are_steps(tmp_path: Path) -> None:
    # Terminals stand at the last two rows of each trajectory; only the last of them is no step.
    dataset, _ = get_dataset(package_layouts.ogbench_compact(tmp_path))
    seen = package_layouts.SEEN
    np.testing.assert_array_equal(dataset.observations, seen[[0, 1, 3, 4]])
    np.testing.assert_array_equal(dataset.final_observations, seen[[2, 5]])
    assert dataset.timeouts.tolist() == [False, True, False, True]
    with pytest.raises(DatasetError, match="valids are set at the last row"):
        get_dataset(package_layouts.ogbench_compact(tmp_path, valids=np.ones(6)))


def test_masks_are_terminals_and_terminals_are_timeouts(tmp_path: Path) -> None:
    columns = {"next_observations": package_layouts.NEXT, "rewards": np.arange(6) - 6.0, "valids": None}
    columns |= {"terminals": np.array([0, 0, 1, 0, 0, 1]), "masks": np.array([1, 1, 1, 1, 0, 1])}
    dataset, _ = get_dataset(package_layouts.ogbench_compact(tmp_path, **columns))
    assert dataset.terminals.tolist() == [False] * 4 + [True, False]
    assert dataset.timeouts.tolist() == [False, False, True, False, False, True]
    assert dataset.rewards.tolist() == [-6, -5, -4, -3, -2, -1]
    np.testing.assert_array_equal(dataset.final_observations, package_layouts.NEXT[[2, 4, 5]])
