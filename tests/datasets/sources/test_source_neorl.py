from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import FileFormatError


def write(path: Path, index: list[int], **changes: Any) -> Path:
    """Trajectories of 3 and 2 rows; the first ends by `done`."""
    seen = np.array([0.0, 1, 2, 10, 11])[:, None]
    columns = {
        "obs": seen,
        "next_obs": seen + 1,
        "action": np.full((5, 2), 0.5),
        "reward": np.arange(5.0)[:, None],
        "done": np.array([0, 0, 1, 0, 0.0])[:, None],
        "index": np.array(index),
        **changes,
    }
    np.savez(path, **columns)
    return path


@pytest.mark.parametrize("index", [[0, 3], [3, 5], [0, 3, 5], [3]])
def test_index_of_starts_or_of_ends(tmp_path: Path, index: list[int]) -> None:
    dataset, _ = get_dataset(write(tmp_path / "HalfCheetah-v3-low-99-train.npz", index))
    assert dataset.episode_ends.tolist() == [3, 5]
    assert np.flatnonzero(dataset.terminals).tolist() == [2]
    assert dataset.next_observations is None
    assert dataset.final_observations.tolist() == [[3], [12]]
    assert dataset.name == "HalfCheetah-v3-low-99-train"


def test_done_at_the_limit_is_a_timeout(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write(tmp_path / "x.npz", [0, 3]), step_limit=3)
    assert not dataset.terminals.any()
    assert dataset.episode_ends.tolist() == [3, 5]


@pytest.mark.parametrize("index", [[], [3, 2], [0, 6], [-1, 3]])
def test_an_index_that_does_not_fit(tmp_path: Path, index: list[int]) -> None:
    with pytest.raises(FileFormatError, match=r"'index' in .* must rise from 0 to at most 5"):
        get_dataset(write(tmp_path / "x.npz", index))
