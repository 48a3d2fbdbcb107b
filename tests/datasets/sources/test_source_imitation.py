from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetWarning, FileFormatError


def test_trajectories_with_one_observation_more(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.imitation(tmp_path))
    assert dataset.observations[:, 0].tolist() == [0, 1, 10, 11, 12, 13]
    assert dataset.final_observations[:, 0].tolist() == [2, 14]
    assert dataset.terminals.tolist() == [False, True] + [False] * 4
    assert dataset.episode_ends.tolist() == [2, 6]


def test_absent_rewards_are_said(tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match="no 'rews', so that rewards are 0: learn by imitation alone"):
        dataset, _ = get_dataset(layouts.imitation(tmp_path, rews=None))
    assert not dataset.rewards.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"indices": np.array([2, 2])},
            "'indices' in .* must rise to less than 6 and be one fewer than its 2",
        ),
        ({"indices": np.array([6])}, "must rise to less than 6"),
        ({"obs": np.zeros((7, 1))}, "7 observations for 6 actions, expected one more for each of its 2"),
    ],
)
def test_columns_that_do_not_fit(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=message):
        get_dataset(layouts.imitation(tmp_path, **changes))
