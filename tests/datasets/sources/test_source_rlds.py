from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError


def steps(**changes: Any) -> dict[str, Any]:
    """Episodes 0 1 2* | 10 11* | 20 21, where * is a last step; the first is terminal, the third cut off."""
    return {
        "observation": np.array([0.0, 1, 2, 10, 11, 20, 21])[:, None],
        "action": np.array([0, 1, 9, 0, 9, 1, 1]),
        "reward": np.array([0.5, 1, 100, 2, 100, 3, 4]),
        "is_first": np.array([1, 0, 0, 1, 0, 1, 0], bool),
        "is_last": np.array([0, 0, 1, 0, 1, 0, 0], bool),
        "is_terminal": np.array([0, 0, 1, 0, 0, 0, 0], bool),
        **changes,
    }


def test_last_steps_are_only_final_observations(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **steps())
    dataset, _ = get_dataset(tmp_path / "x.npz")
    assert dataset.observations[:, 0].tolist() == [0, 1, 10, 20, 21]
    assert dataset.actions.tolist() == [0, 1, 0, 1, 1]
    assert dataset.rewards.tolist() == [0.5, 1, 2, 3, 4]
    assert dataset.episode_ends.tolist() == [2, 3, 5]
    assert np.flatnonzero(dataset.terminals).tolist() == [1]
    assert dataset.final_known.tolist() == [True, True, False]
    assert dataset.final_observations[:2].tolist() == [[2], [11]]


def test_rewards_before_observations(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **steps(reward=np.array([np.nan, 1, 2, np.nan, 3, np.nan, 4])))
    dataset, _ = get_dataset(tmp_path / "x.npz", alignment="RSA")
    assert dataset.rewards.tolist() == [1, 2, 3, 4]
    assert dataset.observations[:, 0].tolist() == [0, 1, 10, 20]  # What was earned in 21 is not recorded.
    assert dataset.final_observations.tolist() == [[2], [11], [21]]
    assert np.flatnonzero(dataset.terminals).tolist() == [1]
    with pytest.raises(ValueError, match="alignment must be 'SAR' or 'RSA', got 'ARS'"):
        get_dataset(tmp_path / "x.npz", alignment="ARS")


def test_folders_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, column in steps().items():
            file[f"steps/{name}/eye" if name == "observation" else f"steps/{name}"] = column
        file["steps/observation/arm/joint"] = np.ones((7, 2))
    dataset, _ = get_dataset(tmp_path / "x.h5")
    assert dataset.observations["eye"][:, 0].tolist() == [0, 1, 10, 20, 21]
    assert dataset.observations["arm"]["joint"].shape == (5, 2)


def test_marks_that_contradict(tmp_path: Path) -> None:
    for name, column, message in (
        ("is_terminal", [0, 1, 0, 0, 0, 0, 0], "is_terminal is set at row 1, where is_last is not"),
        ("is_first", [0, 0, 0, 1, 0, 1, 0], "is_first is not set at row 0"),
        ("is_first", [1, 0, 0, 0, 0, 1, 0], "row 3 follows a last step, but is_first is not set there"),
        ("is_last", [1, 1, 1, 1, 1, 1, 1], "is_first is not set there|every step is a last one"),
    ):
        np.savez(tmp_path / "x.npz", **steps(**{name: np.array(column, bool)}))
        with pytest.raises(DatasetError, match=message):
            get_dataset(tmp_path / "x.npz")
