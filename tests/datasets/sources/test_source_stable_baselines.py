from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, FileFormatError


def test_episodes_begin_where_the_file_says(tmp_path: Path) -> None:
    path = layouts.stable_baselines(tmp_path)
    dataset, _ = get_dataset(path)
    assert dataset.episode_returns().tolist() == [3, 12]  # As the file's own episode_returns.
    assert dataset.terminals.tolist() == [False, False, True] * 2
    assert get_dataset(path, step_limit=3)[0].timeouts.sum() == 2


def test_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="episode_starts is not set at row 0"):
        get_dataset(layouts.stable_baselines(tmp_path, episode_starts=np.zeros(6, bool)))
    with pytest.raises(FileFormatError, match=r"'obs' in .* has dtype <U\d+, expected numbers"):
        get_dataset(layouts.stable_baselines(tmp_path, obs=np.array(["images/0.png"] * 6)))
