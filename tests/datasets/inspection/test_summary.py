"""Moments taken block by block, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.datasets.inspection import summary


def test_moments_of_blocks_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks of one row: 0, 0 and 6 have the mean 2 and the variance (4 + 4 + 16) / 3 = 8, though each block has none.
    monkeypatch.setattr(summary, "BLOCK", 1)
    mean, std = summary.moments(np.array([[0.0], [0.0], [6.0]], np.float32))
    assert mean.tolist() == [2.0]
    assert std[0] == pytest.approx(np.sqrt(8))
