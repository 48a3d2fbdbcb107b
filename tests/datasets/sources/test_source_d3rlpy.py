from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.families.d3rlpy_export import export_d3rlpy
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError, UnsupportedError

RealData = Callable[[str], Path]


def test_facts_of_cartpole(real_data: RealData) -> None:
    dataset, env = get_dataset(real_data("d3rlpy_v1/cartpole_v1.1.0.h5"))
    assert env is None
    assert (len(dataset), dataset.n_episodes) == (99_866, 1_582)
    assert dataset.episode_returns().mean() == pytest.approx(63.1, abs=0.05)
    assert dataset.terminals.sum() == 1_448
    assert dataset.timeouts.sum() == 134
    assert dataset.action_space == spaces.Discrete(2)
    assert not dataset.final_known.any()


def test_facts_of_pendulum(real_data: RealData) -> None:
    dataset, env = get_dataset(real_data("d3rlpy_v1/pendulum_v1.1.0.h5"), env_id="Pendulum-v1")
    assert env is not None
    assert (len(dataset), dataset.n_episodes) == (99_500, 500)
    assert dataset.episode_returns().mean() == pytest.approx(-180.5, abs=0.05)
    assert not dataset.terminals.any()
    assert dataset.action_space == spaces.Box(-2, 2, (1,), np.float32)


def write_v1(path: Path, **changes: Any) -> Path:
    columns = {
        "observations": np.arange(6, dtype=np.float32)[:, None],
        "actions": np.array([0, 1, 0, 1, 0, 1], np.int32),
        "rewards": np.ones(6, np.float32),
        "terminals": np.array([0, 1, 1, 0, 0, 0], np.float32),
        "episode_terminals": np.array([0, 0, 1, 0, 1, 0], np.float32),
        "discrete_action": True,
        "version": "1.0",
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            if values is not None:
                file[name] = values
    return path


def test_v1_episode_terminals_rule(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write_v1(tmp_path / "x.h5"))
    assert dataset.episode_ends.tolist() == [3, 5, 6]
    assert dataset.terminals.tolist() == [False, False, True, False, False, False]
    assert np.flatnonzero(dataset.timeouts).tolist() == [4, 5]


def test_v1_without_episode_terminals(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write_v1(tmp_path / "x.h5", episode_terminals=None))
    assert dataset.episode_ends.tolist() == [2, 3, 6]


def test_v1_discrete_actions_stored_as_floats(tmp_path: Path) -> None:
    path = write_v1(tmp_path / "x.h5", actions=np.array([[0.0], [1], [2], [1], [0], [1]], np.float32))
    assert get_dataset(path)[0].action_space == spaces.Discrete(3)


def test_v1_fractions_are_not_discrete(tmp_path: Path) -> None:
    path = write_v1(tmp_path / "x.h5", actions=np.full(6, 0.5, np.float32))
    with pytest.raises(
        ValueError, match=r"actions must be whole numbers in a Discrete space, got 0.5 at row 0"
    ):
        get_dataset(path)


def test_v1_continuous_actions_are_clipped_where_asked(tmp_path: Path) -> None:
    actions = np.array([[-1.1], [1], [0], [0], [0], [1.5]], np.float32)
    path = write_v1(tmp_path / "x.h5", actions=actions, discrete_action=False)
    dataset, _ = get_dataset(path, clip_actions=True, action_space=spaces.Box(-1, 1, (1,)))
    assert dataset.actions[[0, 5], 0].tolist() == [-1, 1]
    with pytest.raises(ValueError, match="clip_actions=True needs the range"):
        get_dataset(path, clip_actions=True)


def write_v2(path: Path, episodes: list[dict[str, Any]], version: str = "2.1") -> Path:
    """The layout that ReplayBuffer.dump of d3rlpy 2.8.1 writes."""
    with h5py.File(path, "w") as file:
        file.create_dataset("columns", data=["observations", "actions", "rewards", "terminated"])
        file.create_dataset("num_episodes", data=len(episodes))
        for i, episode in enumerate(episodes):
            for key, value in episode.items():
                if isinstance(value, tuple):
                    for j, part in enumerate(value):
                        file.create_dataset(f"{key}_{i}_{j}", data=part)
                else:
                    file.create_dataset(f"{key}_{i}", data=value)
        file.create_dataset("version", data=version)
    return path


def episode(n: int, terminated: bool, observations: Any = None) -> dict[str, Any]:
    seen = np.full((n, 2), n, np.float32)
    return {
        "observations": seen if observations is None else observations,
        "actions": np.full((n, 1), 0.5, np.float32),
        "rewards": np.ones((n, 1), np.float32),
        "terminated": terminated,
    }


def test_v2_keeps_every_row(tmp_path: Path) -> None:
    path = write_v2(tmp_path / "x.h5", [episode(3, True), episode(4, False), episode(12, True)])
    dataset, _ = get_dataset(path)
    assert dataset.episode_lengths().tolist() == [3, 4, 12]
    assert np.flatnonzero(dataset.terminals).tolist() == [2, 18]
    assert np.flatnonzero(dataset.timeouts).tolist() == [6]
    assert dataset.observations[:, 0].tolist() == [3] * 3 + [4] * 4 + [12] * 12
    assert dataset.actions.shape == (19, 1)


def test_v2_with_discrete_actions_and_images(tmp_path: Path) -> None:
    images = [np.full((2, 1, 8, 8), value, np.uint8) for value in (7, 9)]
    episodes = [{**episode(2, True, image), "actions": np.array([[0], [3]])} for image in images]
    with pytest.warns(DatasetWarning, match="actions skip 2 of the numbers 0 to 3"):
        dataset, _ = get_dataset(write_v2(tmp_path / "x.h5", episodes))
    assert dataset.action_space == spaces.Discrete(4)
    assert dataset.observations.dtype == np.uint8
    assert dataset.observations[:, 0, 0, 0].tolist() == [7, 7, 9, 9]


def test_v2_with_tuple_observations(tmp_path: Path) -> None:
    pairs = [(np.full((2, 3), i), np.full((2, 1), 10 * i)) for i in range(2)]
    dataset, _ = get_dataset(write_v2(tmp_path / "x.h5", [episode(2, True, pair) for pair in pairs]))
    assert isinstance(dataset.observations, tuple)
    assert dataset.observations[0].shape == (4, 3)
    assert dataset.observations[1][:, 0].tolist() == [0, 0, 10, 10]


def test_other_versions_and_damage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"has version 2.0 of d3rlpy, expected 2.1"):
        get_dataset(write_v2(tmp_path / "x.h5", [episode(2, True)], version="2.0"))
    with pytest.raises(FileFormatError, match="has no episodes"):
        get_dataset(write_v2(tmp_path / "x.h5", []))
    path = write_v2(tmp_path / "x.h5", [episode(2, True)])
    with h5py.File(path, "r+") as file:
        file["num_episodes"][()] = 10**9
    with pytest.raises(FileFormatError, match="has no 'observations_1', it holds actions_0"):
        get_dataset(path)


def test_what_is_exported_is_read_again(tmp_path: Path) -> None:
    dataset, _ = get_dataset("lunarlander-mixed")
    part = dataset[:4]
    lost = "d3rlpy cannot hold final_observations, observation space, metadata 'env_id', left out"
    with pytest.warns(DatasetWarning, match=lost):
        path = export_d3rlpy(part, tmp_path / "x.h5")
    back, _ = get_dataset(path)
    for name in ("observations", "actions", "rewards", "terminals", "timeouts", "episode_ends"):
        np.testing.assert_array_equal(getattr(back, name), getattr(part, name), err_msg=name)
    assert not back.final_known.any()
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["actions_0"].shape == (part.episode_ends[0], 1)
        assert file["rewards_0"].shape == (part.episode_ends[0], 1)
        assert [key.decode() for key in file["columns"][()]] == [
            "observations",
            "actions",
            "rewards",
            "terminated",
        ]


def test_tuples_are_exported_and_dicts_are_not(tmp_path: Path) -> None:
    seen = (np.arange(8.0).reshape(4, 2), np.ones((4, 3)))
    made = [np.zeros((4, 1), np.float32), np.ones(4), [0, 1, 0, 0]]
    back, _ = get_dataset(export_d3rlpy(MDPDataset(seen, *made), tmp_path / "x.h5"))
    assert back.observations[0].tolist() == seen[0].tolist()
    with pytest.raises(UnsupportedError, match="one array or a tuple of arrays, got a dict"):
        export_d3rlpy(MDPDataset({"a": seen[0]}, *made), tmp_path / "y.h5")
    with pytest.raises(DatasetError, match="holds whole episodes, but this dataset holds unordered"):
        export_d3rlpy(MDPDataset(seen[0], *made, next_observations=seen[0] + 9), tmp_path / "y.h5")
    assert not (tmp_path / "y.h5").exists()
