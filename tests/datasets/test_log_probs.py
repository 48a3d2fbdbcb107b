"""The behaviour's log-probabilities go with their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, FileFormatError

LOG_PROBS = -np.arange(6) / 4


def small(**options: Any) -> MDPDataset:
    """Six rows in three episodes of 3, 1 and 2."""
    columns = {"observations": np.zeros((6, 2)), "actions": np.arange(6) % 3, "rewards": np.zeros(6)}
    terminals = [0, 0, 1, 1, 0, 0]
    return MDPDataset(**{**columns, "terminals": terminals, "behavior_log_probs": LOG_PROBS, **options})


def test_they_are_a_column_of_float32() -> None:
    found = small(behavior_log_probs=LOG_PROBS[:, None]).behavior_log_probs
    assert found is not None
    assert found.dtype == np.float32
    assert found.tolist() == [0, -0.25, -0.5, -0.75, -1, -1.25]
    assert small(behavior_log_probs=None).behavior_log_probs is None


def test_episodes_take_theirs_along() -> None:
    assert small()[[2, 0]].behavior_log_probs.tolist() == [-1, -1.25, 0, -0.25, -0.5]
    assert small()[1].behavior_log_probs.tolist() == [-0.75]
    assert small(behavior_log_probs=None)[1].behavior_log_probs is None


def test_joined_datasets_keep_them_where_all_have_them() -> None:
    joined = small()[1].concat(small()[2])
    assert joined.behavior_log_probs.tolist() == [-0.75, -1, -1.25]
    assert small().concat(small(behavior_log_probs=None)).behavior_log_probs is None
    assert small(behavior_log_probs=None).concat(small()).behavior_log_probs is None


def test_files_hold_them(tmp_path: Path) -> None:
    packed, plain = small().save(tmp_path / "a.h5"), small().save(tmp_path / "b.h5", compress=False)
    for dataset in (MDPDataset.load(packed), MDPDataset.load(plain), MDPDataset.open(plain)):
        np.testing.assert_array_equal(dataset.behavior_log_probs, LOG_PROBS)
    without = small(behavior_log_probs=None).save(tmp_path / "c.h5", compress=False)
    assert MDPDataset.load(without).behavior_log_probs is None
    assert MDPDataset.open(without).behavior_log_probs is None


def test_wrong_ones_are_refused() -> None:
    with pytest.raises(DatasetError, match="behavior_log_probs has 5 rows, expected 6"):
        small(behavior_log_probs=LOG_PROBS[:5])
    with pytest.raises(
        DatasetError, match="behavior_log_probs must be finite, got -inf at row 2, in episode 0"
    ):
        small(behavior_log_probs=np.where(np.arange(6) == 2, -np.inf, 0))
    with pytest.raises(DatasetError, match=r"must have shape \[N\]"):
        small(behavior_log_probs=np.zeros((6, 2)))
    with pytest.raises(DatasetError, match=r"must be at most 0, got 0.2 at row 4, in episode 2 \(2 such"):
        small(behavior_log_probs=np.where(np.arange(6) > 3, 0.2, 0))
    densities = small(actions=np.zeros((6, 1)), behavior_log_probs=-LOG_PROBS).behavior_log_probs
    assert densities is not None
    assert densities.max() == 1.25


def test_a_mapped_column_of_another_length_is_found(tmp_path: Path) -> None:
    import h5py

    path = small().save(tmp_path / "a.h5", compress=False)
    with h5py.File(path, "r+") as file:
        del file["behavior_log_probs"]
        file["behavior_log_probs"] = np.zeros(5, np.float32)
    with pytest.raises((DatasetError, FileFormatError), match="behavior_log_probs has 5 rows, expected 6"):
        MDPDataset.open(path)
