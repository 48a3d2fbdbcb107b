"""Shares of counts, as decimal digits say them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offlinekit.algos import PercentBC
from offlinekit.datasets import MDPDataset
from offlinekit.ground.shares import share_of


def test_every_whole_percent_of_every_count() -> None:
    for count in range(1, 201):
        assert [math.floor(share_of(percent / 100, count)) for percent in range(101)] == [
            percent * count // 100 for percent in range(101)
        ]
    assert share_of(1e-3, 3_000) == 3
    assert share_of(np.float32(0.5), 7) == 3.5


@pytest.mark.parametrize(("fraction", "wanted"), [(0.29, 29), (0.57, 57), (0.58, 58), (0.001, 1), (1.0, 100)])
def test_best_episodes_are_as_many_as_the_fraction_says(fraction: float, wanted: int) -> None:
    rows = np.arange(100)
    data = MDPDataset(rows[:, None], np.sin(rows)[:, None], rows, np.ones(100))
    assert PercentBC(fraction=fraction).best_episodes(data).n_episodes == wanted
    if 1 < wanted < 100:
        assert [part.n_episodes for part in data.split(fraction)] == [wanted, 100 - wanted]
