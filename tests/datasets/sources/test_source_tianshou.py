from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import get_dataset
from offlinekit.errors import FileFormatError


def put(group: Any, name: str, value: Any) -> None:
    """As Tianshou's converter writes: arrays, nested groups, numbers as attributes, pickles for the rest."""
    if isinstance(value, dict):
        inner = group.create_group(name)
        inner.attrs["__data_type__"] = "Batch"
        for key, part in value.items():
            put(inner, key, part)
    elif isinstance(value, np.ndarray):
        group[name] = value
        group[name].attrs["__data_type__"] = "ndarray"
    elif isinstance(value, int | float):
        group.attrs[name] = value
    else:
        group[name] = np.frombuffer(pickle.dumps(value), np.uint8)
        group[name].attrs["__data_type__"] = type(value).__name__


def columns(values: list[float], **changes: Any) -> dict[str, Any]:
    seen = np.array(values, np.float64)[:, None]
    flags = {"terminated": np.zeros(len(values), bool), "truncated": np.zeros(len(values), bool)}
    made = {"obs": seen, "obs_next": seen + 1, "act": np.arange(len(values)), "rew": seen[:, 0] * 2, **flags}
    return {name: column for name, column in {**made, **changes}.items() if column is not None}


def write(path: Path, meta: dict[str, Any], **rest: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in {"_meta": meta, **rest}.items():
            put(file, name, value)
    return path


def test_a_ring_is_read_from_its_oldest_row(tmp_path: Path) -> None:
    # Six slots, the next to be written is slot 2: oldest first it is 12 13 14 15 20 21, an episode ends at 15.
    ended = np.array([0, 0, 0, 0, 0, 1], bool)
    meta = columns([20, 21, 12, 13, 14, 15], terminated=ended, truncated=ended)
    rest = {"_size": 6, "_index": 2, "maxsize": 6, "last_index": np.array([1]), "_indices": np.arange(6)}
    dataset, _ = get_dataset(write(tmp_path / "x.hdf5", meta, **rest))
    assert dataset.observations[:, 0].tolist() == [12, 13, 14, 15, 20, 21]
    assert dataset.actions.tolist() == [2, 3, 4, 5, 0, 1]
    assert dataset.action_space == spaces.Discrete(6)
    assert np.flatnonzero(dataset.terminals).tolist() == [3]
    assert dataset.final_observations.tolist() == [[16], [22]]


def test_empty_slots_and_pickles_are_left_out(tmp_path: Path) -> None:
    meta = columns([1, 2, 3, 0, 0], obs_next=None, truncated=np.array([0, 1, 0, 0, 0], bool))
    path = write(tmp_path / "x.hdf5", meta, _size=3, _index=3, options={"stack_num": 1}, policy=Path("x"))
    with pytest.warns(UserWarning, match=r"holds pickled objects, which are not read: policy"):
        dataset, _ = get_dataset(path)
    assert dataset.observations[:, 0].tolist() == [1, 2, 3]
    assert dataset.episode_ends.tolist() == [2, 3]
    assert dataset.timeouts.tolist() == [False, True, True]
    assert not dataset.final_known.any()


def test_a_vector_buffer_is_a_ring_for_each_environment(tmp_path: Path) -> None:
    meta = columns([12, 13, 11, 21, 22, 0])  # Rings of three slots: one full, one of two rows.
    rest = {"_offset": np.array([0, 3]), "_lengths": np.array([3, 2]), "last_index": np.array([1, 4])}
    with pytest.warns(UserWarning, match="pickled objects"):
        dataset, _ = get_dataset(write(tmp_path / "x.hdf5", meta, **rest, _size=0, _index=0, buffers=[1]))
    assert dataset.observations[:, 0].tolist() == [11, 12, 13, 21, 22]
    assert dataset.episode_ends.tolist() == [3, 5]


def test_nested_observations_and_old_done(tmp_path: Path) -> None:
    seen = {"a": np.ones((4, 2)), "b": np.full((4, 3), 200, np.uint8)}
    done = np.array([0, 1, 0, 1], bool)
    meta = columns([1, 2, 3, 4], obs=seen, obs_next=seen, terminated=None, truncated=None, done=done)
    dataset, _ = get_dataset(write(tmp_path / "x.hdf5", meta, _size=4, _index=0))
    assert sorted(dataset.observations) == ["a", "b"]
    assert dataset.terminals.tolist() == [False, True, False, True]


def test_flat_columns(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, column in columns([1, 2, 3]).items():
            file[name] = column
    assert get_dataset(tmp_path / "x.h5")[0].rewards.tolist() == [2, 4, 6]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.hdf5", columns([1.0], act=[None]), _size=1, _index=0)
    with pytest.raises(FileFormatError, match=r"'act' in .*:/_meta is a pickled object, which is never read"):
        get_dataset(path)
    with pytest.raises(FileFormatError, match="is an empty buffer"):
        get_dataset(write(tmp_path / "x.hdf5", columns([1.0]), _size=0, _index=0))
    with pytest.raises(FileFormatError, match=r"has no 'rew'"):
        get_dataset(write(tmp_path / "x.hdf5", columns([1.0], rew=None), _size=1), format="tianshou")
