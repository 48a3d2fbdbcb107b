from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError


def test_costs_stay_with_their_rows(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.dsrl(tmp_path))
    assert dataset.extras["costs"].tolist() == [5, 4, 3, 2, 1, 0]
    assert dataset[1].extras["costs"].tolist() == [2, 1, 0]
    assert dataset.timeouts.tolist() == [False, False, True] * 2
    np.testing.assert_array_equal(dataset.final_observations, layouts.NEXT[[2, 5]])
    assert dataset.name == "SafetyCarCircle"


def test_costs_of_another_length(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="costs has 2 rows, expected 6"):
        get_dataset(layouts.dsrl(tmp_path, costs=np.zeros(2)))
