"""From one kind of file to another."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offlinekit.datasets import MDPDataset, get_dataset, source
from offlinekit.datasets.editing.converting import convert, open_mapped
from offlinekit.errors import DatasetWarning, UnsupportedError


def make(**options: Any) -> MDPDataset:
    rng = np.random.default_rng(0)
    columns = {
        "observations": rng.normal(size=(9, 2)),
        "actions": np.arange(9) % 2,
        "rewards": rng.normal(size=9),
    }
    ends = {"terminals": np.arange(9) == 3, "timeouts": np.arange(9) == 8}
    more = {"final_observations": np.ones((2, 2)), "behavior_log_probs": -rng.random(9)}
    return MDPDataset(**{**columns, **ends, **more, **options})


def assert_same(left: MDPDataset, right: MDPDataset) -> None:
    for name in ("observations", "actions", "rewards", "terminals", "timeouts", "final_observations"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    for name in ("behavior_log_probs", "final_known", "next_observations"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def test_there_and_back(tmp_path: Path) -> None:
    native = make().save(tmp_path / "a.h5")
    convert(native, tmp_path / "b.npz")
    assert_same(make(), get_dataset(tmp_path / "b.npz")[0])
    convert(tmp_path / "b.npz", tmp_path / "c.hdf5", compress=False)
    assert_same(make(), MDPDataset.open(tmp_path / "c.hdf5"))
    convert(tmp_path / "c.hdf5", tmp_path / "d.out", format="native")
    assert_same(make(), MDPDataset.load(tmp_path / "d.out"))
    assert isinstance(open_mapped(tmp_path / "c.hdf5").observations, np.memmap)
    assert not isinstance(open_mapped(native).observations, np.memmap)


def test_formats_that_sources_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ours:
        suffixes = (".ours",)

        @staticmethod
        def write(dataset: MDPDataset, path: Path) -> Path:
            path.write_text(str(len(dataset)))
            return path

    known = {**source.all_sources(), "ours": Ours}
    monkeypatch.setattr(source, "all_sources", lambda: known)
    monkeypatch.setattr("offlinekit.datasets.editing.converting.open_mapped", lambda name: make())
    convert("x", tmp_path / "a.ours")
    assert (tmp_path / "a.ours").read_text() == "9"
    convert("x", tmp_path / "b", format="ours")
    assert (tmp_path / "b").read_text() == "9"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = make().save(tmp_path / "a.h5")
    with pytest.raises(FileExistsError, match=r"a\.h5 is there already"):
        convert(path, path)
    with pytest.raises(
        ValueError, match=r"format 'nzp' cannot be written; did you mean 'npz'.; known: native, .*npz"
    ):
        convert(path, tmp_path / "b", format="nzp")
    with pytest.raises(ValueError, match=r"the suffix of .*b.csv names no format that can be written"):
        convert(path, tmp_path / "b.csv")
    tree = make(observations={"a": np.zeros((9, 2))}, final_observations=None).save(tmp_path / "tree.h5")
    with pytest.raises(UnsupportedError, match="NPZ files hold one array of observations"):
        convert(tree, tmp_path / "b.npz")
    some = {
        "timeouts": np.isin(np.arange(9), [5, 8]),
        "final_observations": np.ones((3, 2)),
        "final_known": [1, 1, 0],
    }
    partly = make(**some).save(tmp_path / "some.h5")
    with pytest.raises(UnsupportedError, match="every next observation or none, got 2 of 3"):
        convert(partly, tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


def test_hdf5_is_converted_without_loading_it(tmp_path: Path) -> None:
    n_rows = 200_000
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.hdf5"
    observations = rng.normal(size=(n_rows + 1, 20)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("observations", data=observations[:-1], compression=1)
        file.create_dataset("next_observations", data=observations[1:], compression=1)
        file.create_dataset("actions", data=rng.uniform(-1, 1, (n_rows, 3)), compression=1)
        file["rewards"], file["terminals"] = np.ones(n_rows), np.zeros(n_rows, bool)
        file["timeouts"] = np.arange(n_rows) % 1000 == 999
    tracemalloc.start()
    convert(path, tmp_path / "plain.h5", compress=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20  # The file has 16 MB of observations twice, and 4.8 of actions.
    found = MDPDataset.open(tmp_path / "plain.h5")
    np.testing.assert_array_equal(found.observations, observations[:-1])
    assert found.next_observations is None
    assert found.final_known.all()


def test_real_d4rl_file(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    path = real_data("d4rl/hopper_medium-v2.hdf5")
    convert(path, tmp_path / "a.h5")
    found, _ = get_dataset(tmp_path / "a.h5")
    assert (len(found), found.metadata["d4rl_name"]) == (911, "hopper-medium-v2")
    assert found.reference_scores == pytest.approx((-20.272305, 3234.3))


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    more = {"extras": {"clock": np.arange(9)}, "metadata": {"reference_min_score": 0.0}, "create_mask": True}
    dataset = make(**more)
    with pytest.warns(
        DatasetWarning,
        match=r"NPZ cannot hold extras, masks, metadata 'reference_min_score', left out of the file",
    ):
        convert(dataset.save(tmp_path / "a.h5"), tmp_path / "a.npz")
