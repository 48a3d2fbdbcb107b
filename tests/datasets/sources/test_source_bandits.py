from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pandas
import pytest

from offlinekit.datasets import from_dataframe, get_dataset
from offlinekit.errors import DatasetError, DatasetWarning

FRAME = pandas.DataFrame({"x": [0.0, 1.0, 2.0], "arm": [0, 1, 0], "click": [0, 1, 1], "p": [0.5, 0.25, 1.0]})
NAMED = {"observations": ["x"], "action": "arm", "reward": "click", "propensity": "p"}


@pytest.mark.filterwarnings("ignore:propensities")
def test_each_row_is_an_episode(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.bandit(tmp_path))
    assert dataset.episode_lengths().tolist() == [1] * 6
    assert dataset.terminals.all()
    np.testing.assert_allclose(dataset.behavior_log_probs, np.log(0.25), rtol=1e-6)
    assert dataset.extras["position"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_table_with_propensities_alone_is_said_to_be_one() -> None:
    with pytest.warns(DatasetWarning, match="a logged bandit, each row is an episode of its own"):
        dataset = from_dataframe(FRAME, **NAMED)
    assert dataset.terminals.tolist() == [True] * 3
    assert dataset.n_episodes == 3


def test_a_table_that_says_its_episodes_is_none() -> None:
    frame = FRAME.assign(session=["a", "a", "b"])
    assert from_dataframe(frame, episode="session", **NAMED).n_episodes == 2
    assert from_dataframe(FRAME, bandit=False, **NAMED).n_episodes == 1
    without = {name: column for name, column in NAMED.items() if name != "propensity"}
    assert from_dataframe(FRAME, bandit=True, **without).n_episodes == 3


@pytest.mark.filterwarnings("ignore:propensities")
def test_propensities_are_probabilities(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"column 'pscore' must be positive, got 0\.0 at row 2"):
        get_dataset(layouts.bandit(tmp_path, pscore=np.array([1, 1, 0, 1, 1, 1.0])))
    with pytest.raises(DatasetError, match=r"behavior_log_probs must be at most 0, got 0\.6931"):
        get_dataset(layouts.bandit(tmp_path, pscore=np.full(6, 2.0)))
