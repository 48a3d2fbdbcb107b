"""Budgets add up, and seeds of the choice stay out of the report."""

from __future__ import annotations

import pytest

from offlinekit.metrics.statistics.budget import Budget, check_seeds_apart, reporting_seeds


def test_budgets_add_up_and_read_well() -> None:
    total = Budget(1, 2_000, 4, 40) + Budget(2, 10_000, 1, 1)
    assert total == Budget(policies=3, updates=12_000, evaluations=5, episodes=41)
    assert str(total) == "Budget: 3 policies, 12,000 updates, 5 evaluations, 41 episodes"
    assert str(Budget(1, 1, 1, 1)) == "Budget: 1 policy, 1 update, 1 evaluation, 1 episode"


def test_seeds_of_the_choice_are_not_reported() -> None:
    check_seeds_apart([0, 1], [2, 3])
    with pytest.raises(ValueError, match=r"chosen on seeds \[1, 2\].*train with others, such as 6"):
        check_seeds_apart([0, 1, 2], [2, 1, 5])
    assert reporting_seeds(3, tuning=[0, 2]) == [1, 3, 4]
    assert reporting_seeds(2, tuning=[11], first=10) == [10, 12]
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        reporting_seeds(0, [])
