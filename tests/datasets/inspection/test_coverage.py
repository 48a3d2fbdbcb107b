"""Where the values of a dataset lie, and the sheet of figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.inspection.coverage import (
    action_counts,
    action_spreads,
    histogram,
    observation_spreads,
    spread_of,
)
from offlinekit.datasets.inspection.sheet import draw_sheet, principal_plane


def dataset(**options: Any) -> MDPDataset:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "observations": rng.normal(size=(60, 3)),
        "actions": np.linspace(-1, 1, 120).reshape(60, 2),
        "rewards": rng.normal(size=60),
        "terminals": np.arange(60) % 10 == 9,
        "action_space": spaces.Box(-1, 1, (2,)),
    }
    return MDPDataset(**{**columns, **options})


def test_spread_by_hand() -> None:
    # 0 ... 100: quantiles are the numbers themselves; 0 and 100 of 101 rows lie at the bounds.
    (found,) = spread_of("x", np.arange(101.0)[:, None], np.array([0.0]), np.array([100.0]))
    assert found == ("x", pytest.approx(2 / 101), 0, 5, 50, 95, 100)
    (found,) = spread_of("x", np.arange(101.0)[:, None], np.array([-np.inf]), np.array([100.0]))
    assert found.at_bounds is None


def test_spreads_of_trees_and_images() -> None:
    images = np.arange(60 * 4, dtype=np.uint8).reshape(60, 2, 2)
    found = observation_spreads(dataset(observations={"camera": images, "rest": np.ones((60, 2))}))
    assert [spread.name for spread in found] == [
        "observations['camera']",
        "observations['rest'][0]",
        "observations['rest'][1]",
    ]
    assert (found[0].low, found[0].high) == (0, 239)


def test_actions() -> None:
    spreads = action_spreads(dataset())
    assert [spread.at_bounds for spread in spreads] == [pytest.approx(1 / 60)] * 2
    assert action_counts(dataset()) is None
    discrete = dataset(actions=np.arange(60) % 3, action_space=spaces.Discrete(4))
    assert action_spreads(discrete) == []
    counts = action_counts(discrete)
    assert counts is not None
    assert counts.tolist() == [20, 20, 20, 0]


def test_histograms_have_one_bin_a_value_where_these_are_few() -> None:
    counts, edges = histogram(np.array([1.0, 1, 5, 2]))
    assert (counts.tolist(), edges.tolist()) == ([2, 1, 1], [1, 2, 5, 5])
    counts, edges = histogram(np.arange(100.0), 4)
    assert (counts.tolist(), edges.tolist()) == ([25] * 4, [0, 24.75, 49.5, 74.25, 99])


def test_the_plane_of_principal_components() -> None:
    # The first two columns are one number twice, the third is independent: shares 2/3 and 1/3.
    x, y = np.repeat([-1.0, 1], 2), np.tile([-1.0, 1], 2)
    points, shares = principal_plane(np.stack([x, x, y, np.zeros(4)], axis=1))
    np.testing.assert_allclose(shares, [2 / 3, 1 / 3])
    np.testing.assert_allclose(np.abs(points), [[np.sqrt(2), 1]] * 4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"actions": np.arange(60) % 3, "action_space": spaces.Discrete(4), "rewards": np.ones(60)},
        {"observations": {"camera": np.zeros((60, 1, 8, 8), np.uint8)}},
        {"observations": np.zeros((60, 1)), "metadata": {"reference_min_score": 0, "reference_max_score": 1}},
        {"terminals": np.zeros(60)},
    ],
    ids=["continuous", "discrete", "images", "constant", "one episode"],
)
def test_sheets_of_every_kind(tmp_path: Path, options: dict[str, Any]) -> None:
    path = draw_sheet(dataset(**options), tmp_path / "sheet.svg")
    text = path.read_text()
    for title in ("returns", "episode lengths", "rewards", "returns in recorded order"):
        assert f"<!-- {title} -->" in text


def test_sheets_need_a_suffix_that_can_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        draw_sheet(dataset(), tmp_path / "sheet.xyz")
    assert not list(tmp_path.iterdir())
