"""A small form of benchmarks/ope_battery.py: misses are warned of, easy problems are not, intervals hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Returns what three draws of the quicker problems come to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        import ope_battery
    quick = {
        *("easy", "easy, continuous", "timeouts at step 8", "heavy rewards", "little overlap"),
        *("violated support", "fifteen episodes", "continuous, far"),
    }
    battery = [problem for problem in ope_battery.problems() if problem.name in quick]
    assert len(battery) == len(quick)
    return [
        row for problem in battery for seed in range(3) for row in ope_battery.estimates_of(problem, seed)
    ]


def test_misses_are_warned_of(rows: list[dict[str, Any]]) -> None:
    misses = [row for row in rows if not row["holds"]]
    assert len(misses) > 30
    assert sum(row["warned"] for row in misses) >= 0.9 * len(misses)


def test_easy_problems_are_not_warned_of(rows: list[dict[str, Any]]) -> None:
    easy = [row for row in rows if row["easy"]]
    assert len(easy) == 3 * 15 + 3 * 4
    assert sum(row["warned"] for row in easy) <= 0.1 * len(easy)


def test_intervals_hold_where_no_warning_stands(rows: list[dict[str, Any]]) -> None:
    silent = [row for row in rows if not row["warned"]]
    assert len(silent) > 60
    assert sum(row["holds"] for row in silent) >= 0.9 * len(silent)


def test_intervals_beyond_cuts_count_the_errors_of_later_steps(rows: list[dict[str, Any]]) -> None:
    """Values beyond step 8 vary by 0.45 from draw to draw; weights of the 8 steps alone vary by 0.15."""
    widths = {
        row["estimator"]: row["high"] - row["low"] for row in rows if row["problem"] == "timeouts at step 8"
    }
    for name in ("direct", "dual_dice"):
        assert 1.2 < widths[name] < 2.4, name
    assert widths["dr"] < 1.0
