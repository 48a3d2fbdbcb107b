from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.sources.npz import export_npz
from offlinekit.errors import DatasetWarning, FileFormatError, UnsupportedError


def columns(**options: Any) -> dict[str, Any]:
    return {
        "observations": np.arange(8.0).reshape(4, 2),
        "actions": [0, 1, 0, 1],
        "rewards": np.ones(4),
        "terminals": [0, 0, 0, 1],
        **options,
    }


def test_usual_keys_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    following = np.arange(8.0).reshape(4, 2) + 2
    np.savez_compressed(path, **columns(timeouts=[0, 1, 0, 0], next_observations=following, other=[1]))
    dataset, env = get_dataset(path)
    assert env is None
    assert dataset.episode_ends.tolist() == [2, 4]
    assert dataset.final_observations.tolist() == [[4, 5], [8, 9]]


def test_keys_are_named_by_options(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(
        path, obs=np.zeros((4, 2)), a=np.full((4, 1), 1.5), r=np.ones(4), dones=[0, 0, 0, 1], cut=[0, 1, 0, 1]
    )
    options = {"observations": "obs", "actions": "a", "rewards": "r", "terminals": "dones"}
    dataset, _ = get_dataset(path, **options, timeouts="cut")
    assert dataset.episode_ends.tolist() == [2, 4]
    assert dataset.terminals.tolist() == [False, False, False, True]
    dataset, _ = get_dataset(path, **options, action_space=spaces.Box(-1, 1, (1,)), clip_actions=True)
    assert dataset.actions.tolist() == [[1]] * 4


def test_missing_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, observatons=np.zeros((4, 2)))
    with pytest.raises(
        FileFormatError, match=r"has no key 'observations'; did you mean 'observatons'.; it has"
    ):
        get_dataset(path)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path, sprung = tmp_path / "x.npz", tmp_path / "sprung"
    objects = np.array([Trap(sprung)] * 4, object)
    np.savez(path, **columns(rewards=objects))
    with pytest.raises(FileFormatError, match="is damaged, or holds objects, which are never read"):
        get_dataset(path)
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(FileFormatError, match="is not an NPZ file"):
        get_dataset(path, format="npz")
    assert not sprung.exists()


def test_truncated_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **columns(observations=np.random.default_rng(0).normal(size=(4, 200))))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(FileFormatError, match="is not an NPZ file, or is truncated"):
        get_dataset(path, format="npz")
    path.write_bytes(content[:300] + bytes([content[300] ^ 0xFF]) + content[301:])
    with pytest.raises(FileFormatError, match="is damaged"):
        get_dataset(path)


def test_what_is_exported_is_read_again(tmp_path: Path) -> None:
    dataset, _ = get_dataset("pendulum-mixed")
    part = dataset[:3]
    with pytest.warns(
        DatasetWarning, match="NPZ cannot hold action space, observation space, metadata 'env_id',"
    ):
        path = export_npz(part, tmp_path / "x.npz")
    back, _ = get_dataset(path, action_space=part.action_space)
    names = (
        "observations",
        "actions",
        "rewards",
        "terminals",
        "timeouts",
        "final_observations",
        "final_known",
    )
    for name in names:
        np.testing.assert_array_equal(getattr(back, name), getattr(part, name), err_msg=name)
    assert back.next_observations is None
    part.final_known = np.zeros(3, bool)
    with pytest.warns(DatasetWarning, match="NPZ cannot hold"):
        path = export_npz(part, tmp_path / "x.npz")
    assert not get_dataset(path)[0].final_known.any()
    with pytest.raises(
        UnsupportedError, match="NPZ files hold one array of observations, got a dict or tuple"
    ):
        export_npz(MDPDataset({"a": np.zeros((1, 1))}, [0], [1.0], [1]), tmp_path / "y.npz")
