from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError


def test_not_done_under_the_names_of_td3(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.buffer(tmp_path))
    assert dataset.terminals.tolist() == [False, False, True] * 2
    assert dataset.rewards.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(dataset.final_observations, layouts.NEXT[[2, 5]])


def test_dones_in_place_of_terminals(tmp_path: Path) -> None:
    path = layouts.buffer_hdf5(tmp_path)
    assert get_dataset(path)[0].terminals.sum() == 2
    dataset, _ = get_dataset(path, step_limit=3)  # Both episodes end at the limit.
    assert (dataset.terminals.sum(), dataset.timeouts.tolist()) == (0, [False, False, True] * 2)


def test_done_at_a_timeout_is_no_terminal(tmp_path: Path) -> None:
    path = layouts.buffer_hdf5(tmp_path, timeouts=np.array([0, 0, 1, 0, 0, 0]))
    dataset, _ = get_dataset(path)
    assert dataset.terminals.tolist() == [False] * 5 + [True]
    assert dataset.timeouts.tolist() == [False, False, True, False, False, False]


def test_many_ends_at_one_length_are_warned_of(tmp_path: Path) -> None:
    columns = {"observations": np.zeros((9, 1)), "actions": np.zeros((9, 1)), "rewards": np.ones(9)}
    path = layouts.hdf5(tmp_path / "x.h5", {**columns, "dones": np.arange(9) % 3 == 2})
    with pytest.warns(DatasetWarning, match="'dones' have 3 rows, the most of all: .* pass step_limit=3"):
        get_dataset(path)


def test_keys_may_be_named(tmp_path: Path) -> None:
    path = layouts.buffer_hdf5(tmp_path, ended=np.array([0, 1, 0, 0, 0, 1]))
    dataset, _ = get_dataset(path, dones="ended")
    assert dataset.episode_ends.tolist() == [2, 6]
    assert get_dataset(path, terminals="dones")[0].episode_ends.tolist() == [3, 6]
    with pytest.raises(FileFormatError, match="has no key 'endd'; did you mean 'ended'"):
        get_dataset(path, dones="endd")
    with pytest.raises(DatasetError, match="timeouts has 2 rows, expected 6"):
        get_dataset(layouts.buffer_hdf5(tmp_path, timeouts=np.zeros(2)))


ODD = {
    "state": np.zeros((6, 2)),
    "torque": np.ones((6, 1)),
    "gain": np.arange(6.0),
    "over": [0, 0, 1, 0, 0, 1],
}
KEYS = {"observations": "state", "actions": "torque", "rewards": "gain"}


def written(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, column in columns.items():
                file[name] = column
    else:
        path.mkdir()
        for name, column in columns.items():
            np.save(path / f"{name}.npy", column)
    return path


@pytest.mark.parametrize("name", ["x.npz", "x.h5", "x"])
def test_keys_of_ones_own_in_any_flat_file(name, tmp_path):
    """Named by options alone; time limits are enough of ends."""
    path = written(tmp_path / name, ODD)
    dataset, _ = get_dataset(path, **KEYS, timeouts="over")
    assert (dataset.episode_ends.tolist(), int(dataset.terminals.sum())) == ([3, 6], 0)
    assert dataset.rewards.tolist() == [0, 1, 2, 3, 4, 5]
    dataset, _ = get_dataset(path, **KEYS, terminals="over")
    assert (dataset.episode_ends.tolist(), int(dataset.terminals.sum())) == ([3, 6], 2)


def test_a_file_of_unknown_keys_is_described(tmp_path):
    said = r"which holds gain \[6\], over \[6\], state \[6, 2\], torque \[6, 1\]; name its arrays .* observations='s'"
    with pytest.raises(FileFormatError, match=said):
        get_dataset(written(tmp_path / "x.h5", ODD))


@pytest.mark.parametrize("name", ["x.npz", "x.h5", "x"])
@pytest.mark.parametrize("key", ["truncated", "episode_terminals"])
def test_usual_keys_without_terminals(name, key, tmp_path):
    usual = dict(zip(("obs", "actions", "rewards", key), ODD.values(), strict=True))
    path = written(tmp_path / name, usual)
    with pytest.warns(DatasetWarning, match=f"has {key}, but no terminals") as caught:
        dataset, _ = get_dataset(path)
    assert caught[0].filename == __file__
    assert (dataset.episode_ends.tolist(), int(dataset.timeouts.sum())) == ([3, 6], 2)
    option = "timeouts" if key == "truncated" else key
    assert get_dataset(path, **{option: key})[0].episode_ends.tolist() == [3, 6]
