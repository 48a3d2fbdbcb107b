"""Metrics of an algorithm on a dataset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from offlinekit.errors import UnsupportedError
from offlinekit.metrics import (
    action_difference,
    action_match,
    batches,
    get_evaluator,
    initial_value,
    known_evaluators,
)


class Doubling:
    """Acts 2 * observation; values an observation at 10 times its first number."""

    has_value = True

    def predict(self, observations: Any) -> Any:
        return 2 * observations

    def predict_value(self, observations: Any) -> Any:
        return 10 * observations[:, 0]


def dataset(observations: Any, actions: Any, starts: tuple[int, ...] = (0,)) -> Any:
    return SimpleNamespace(
        observations=np.asarray(observations), actions=np.asarray(actions), episode_starts=np.array(starts)
    )


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_action_match_is_the_share_of_equal_actions(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ROWS_AT_ONCE", at_once)
    # The policy says 0, 2, 4, 6; the data 0, 2, 5, 6.
    assert action_match(Doubling(), dataset([0, 1, 2, 3], [0, 2, 5, 6])) == 0.75  # type: ignore[arg-type]


def test_action_difference_is_the_mean_squared_distance() -> None:
    # Distances (1, 2) and (0, -3): (1 + 4 + 0 + 9) / 2 rows = 7.
    data = dataset([[1.0, 2.0], [3.0, 4.0]], np.array([[1.0, 2.0], [6.0, 11.0]], np.float32))
    assert action_difference(Doubling(), data) == 7.0  # type: ignore[arg-type]


def test_initial_value_is_the_mean_over_episode_starts() -> None:
    data = dataset([[1.0], [50.0], [3.0], [70.0]], [0, 0, 0, 0], starts=(0, 2))
    assert initial_value(Doubling(), data) == 20.0  # type: ignore[arg-type]


def test_each_metric_refuses_what_it_cannot_answer() -> None:
    algo: Any = Doubling()
    with pytest.raises(UnsupportedError, match="use action_difference"):
        action_match(algo, dataset([[1.0]], [[1.0]]))
    with pytest.raises(UnsupportedError, match="use action_match"):
        action_difference(algo, dataset([1], [1]))
    algo.has_value = False
    with pytest.raises(UnsupportedError, match="Doubling estimates no values"):
        initial_value(algo, dataset([[1.0]], [0]))


def test_evaluators_are_found_by_the_name_of_their_file() -> None:
    assert known_evaluators() == ["action_difference", "action_match", "initial_value"]
    assert get_evaluator("action_match") is action_match
    with pytest.raises(
        ValueError, match=r"Unrecognized metric: 'action_mach'; did you mean 'action_match'\?"
    ):
        get_evaluator("action_mach")
    with pytest.raises(ValueError, match="'foo'; known: action_difference, action_match, initial_value"):
        get_evaluator("foo")
