"""Datasets that stay in their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.types import leaves

N = 30


def make(**options: Any) -> MDPDataset:
    rng = np.random.default_rng(0)
    return MDPDataset(
        **{
            "observations": {
                "image": rng.integers(0, 256, (N, 1, 4, 4), np.uint8),
                "rest": (rng.normal(size=(N, 2)),),
            },
            "actions": rng.integers(0, 3, N),
            "rewards": rng.normal(size=N),
            "terminals": np.arange(N) % 10 == 9,
            "timeouts": np.arange(N) % 15 == 14,
            "create_mask": True,
            "mask_size": 2,
            "name": "toy",
            "metadata": {"env_id": "X-v0"},
            **options,
        }
    )


def assert_same(left: MDPDataset, right: MDPDataset) -> None:
    assert vars(left).keys() == vars(right).keys()
    for name, value in vars(left).items():
        other = getattr(right, name)
        if isinstance(value, np.ndarray | dict | tuple) and name != "metadata":
            for one, two in zip(leaves(value), leaves(other), strict=True):
                assert one.dtype == two.dtype, name
                np.testing.assert_array_equal(one, two, err_msg=name)
        else:
            assert value == other, name


OTHERS = {
    "toy": {},
    "continuous": {"actions": np.ones((N, 2)), "create_mask": False},
    "unordered": {
        "observations": np.zeros((N, 2)),
        "next_observations": np.random.default_rng(1).normal(size=(N, 2)),
        "final_known": [0, 1, 0, 1],
    },
    "some finals": {
        "observations": np.ones((N, 2)),
        "final_observations": np.ones((4, 2)),
        "final_known": [1, 0, 0, 1],
    },
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_plain_files_give_back_everything(options: dict[str, Any], tmp_path: Path) -> None:
    dataset = make(**options)
    path = dataset.save(tmp_path / "plain.h5", compress=False)
    for found in (MDPDataset.load(path), MDPDataset.open(path), MDPDataset.open(path, mmap=False)):
        assert_same(dataset, found)


def test_open_reads_no_column_through(tmp_path: Path) -> None:
    path = make().save(tmp_path / "plain.h5", compress=False)
    opened = MDPDataset.open(path)
    for leaf in [*leaves(opened.observations), opened.actions, opened.masks]:
        assert isinstance(leaf, np.memmap)
        assert not leaf.flags.writeable
    assert not isinstance(opened.rewards, np.memmap)


def test_an_open_dataset_can_be_used_and_saved_again(tmp_path: Path) -> None:
    dataset = make()
    opened = MDPDataset.open(dataset.save(tmp_path / "plain.h5", compress=False))
    assert_same(dataset[1:3], opened[1:3])
    assert_same(dataset.concat(dataset), opened.concat(opened))
    assert opened.statistics() == dataset.statistics()
    np.testing.assert_array_equal(opened.sample(5, seed=0).actions, dataset.sample(5, seed=0).actions)
    again = opened.save(tmp_path / "again.h5", compress=False)
    assert again.read_bytes() == (tmp_path / "plain.h5").read_bytes()
    assert_same(dataset, MDPDataset.load(opened.save(tmp_path / "small.h5")))


def test_compressed_files_are_not_mapped(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"is compressed, which cannot be mapped.*compress=False"):
        MDPDataset.open(make().save(tmp_path / "d.h5"))


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MDPDataset.open(tmp_path / "none.h5")
    path = make().save(tmp_path / "plain.h5", compress=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        MDPDataset.open(path)


@pytest.mark.parametrize("column", ["actions", "masks", "rewards", "final_known", "observations/image"])
def test_columns_of_another_length_are_refused(column: str, tmp_path: Path) -> None:
    path = make().save(tmp_path / "plain.h5", compress=False)
    with h5py.File(path, "r+") as file:
        shorter = file[column][:-1]
        del file[column]
        file[column] = shorter
    with pytest.raises((DatasetError, FileFormatError)):
        MDPDataset.open(path)


def test_columns_that_do_not_fit_their_space_are_refused(tmp_path: Path) -> None:
    path = make().save(tmp_path / "plain.h5", compress=False)
    with h5py.File(path, "r+") as file:
        del file["observations/image"]
        file["observations/image"] = np.zeros((N, 1, 4, 4), np.float32)
    with pytest.raises(DatasetError, match="must fit Box"):
        MDPDataset.open(path)


@pytest.mark.parametrize("name", ["actions", "rewards", "terminals", "observations/rest/0"])
def test_columns_of_another_dtype_are_refused(name: str, tmp_path: Path) -> None:
    path = make().save(tmp_path / "plain.h5", compress=False)
    with h5py.File(path, "r+") as file:
        wide = file[name][()].astype(np.complex64)
        del file[name]
        file[name] = wide
    with pytest.raises(FileFormatError, match="expected numbers"):
        MDPDataset.open(path)


def test_datasets_of_mapped_arrays_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r", allow_pickle=False)
    dataset = MDPDataset(mapped, np.zeros(N, np.int64), np.zeros(N), np.zeros(N))
    assert np.shares_memory(dataset.observations, mapped)
