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
    less_is_better,
    on_dataset,
    register_evaluator,
)
from offlinekit.metrics import evaluators as evaluators_package
from offlinekit.training.evaluations import make_evaluations


class Doubling:
    """Acts 2 * observation; values an observation at 10 times its first number."""

    has_value = True

    def predict(self, observations: Any) -> Any:
        return 2 * observations

    def predict_value(self, observations: Any) -> Any:
        return 10 * observations[:, 0]


def dataset(observations: Any, actions: Any, starts: tuple[int, ...] = (0,)) -> Any:
    return SimpleNamespace(
        observations=np.asarray(observations),
        actions=np.asarray(actions),
        episode_starts=np.array(starts),
        action_space=None,
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


def test_two_policies_are_compared_by_their_actions() -> None:
    tripling: Any = SimpleNamespace(predict=lambda observations: 3 * observations)
    # 2 s against 3 s at s = (1, 2) and (3, 4): (1 + 4 + 9 + 16) / 2 rows = 15.
    data = dataset([[1.0, 2.0], [3.0, 4.0]], np.zeros((2, 2), np.float32))
    assert action_difference(Doubling(), data, other=tripling) == 15.0  # type: ignore[arg-type]
    # 0, 2, 4, 6 against 0, 3, 6, 9: one of four.
    assert action_match(Doubling(), dataset([0, 1, 2, 3], [9, 9, 9, 9]), other=tripling) == 0.25  # type: ignore[arg-type]
    compare = get_evaluator("action_match", other=tripling)
    assert compare(Doubling(), dataset([0, 1], [9, 9])) == 0.5  # type: ignore[arg-type]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(evaluators_package, "REGISTERED", {})


@pytest.mark.usefixtures("registered")
def test_a_function_of_a_user_has_a_name() -> None:
    @register_evaluator("action_size")
    @less_is_better
    def size(algo, data, power=1):  # type: ignore[no-untyped-def]
        return float((algo.predict(data.observations) ** power).mean())

    data = dataset([1, 2, 3, 4], [0, 0, 0, 0])
    assert "action_size" in known_evaluators()
    assert get_evaluator("action_size") is size
    assert get_evaluator("action_size")(Doubling(), data) == 5.0  # type: ignore[arg-type]  # (2 + 4 + 6 + 8) / 4.
    assert get_evaluator("action_size:power=2")(Doubling(), data) == 30.0  # type: ignore[arg-type]
    register_evaluator("action_size")(size)  # A cell of a notebook that runs twice.
    for name, message in {
        "td_error": "'td_error' is a metric of offlinekit",
        "fqe": "'fqe' is a metric of offlinekit",
        "action size": "must be of letters, digits and '_', got 'action size'",
    }.items():
        with pytest.raises(ValueError, match=message):
            register_evaluator(name)
    with pytest.raises(ValueError, match=r"'action_size' belongs to .*size.*overwrite=True"):
        register_evaluator("action_size")(action_match)
    register_evaluator("action_size", overwrite=True)(action_match)
    assert get_evaluator("action_size") is action_match


def test_evaluators_are_found_by_the_name_of_their_file() -> None:
    known = known_evaluators()
    assert known == sorted(known)
    assert {"action_difference", "action_match", "initial_value", "td_error"} <= set(known)
    assert all(get_evaluator(name).__name__ == name for name in known)  # type: ignore[attr-defined]
    assert get_evaluator("action_match") is action_match
    with pytest.raises(
        ValueError, match=r"Unrecognized metric: 'action_mach'; did you mean 'action_match'\?"
    ):
        get_evaluator("action_mach")
    with pytest.raises(ValueError, match="'foo'; known: action_difference, action_match, disc"):
        get_evaluator("foo")
    with pytest.raises(TypeError, match="soft_opc has no option 'threshold'; it has: return_threshold"):
        get_evaluator("soft_opc", threshold=1.0)
    with pytest.raises(TypeError, match="td_error has no option 'n'; it has: none"):
        get_evaluator("td_error", n=1)


def test_an_evaluator_may_look_at_held_out_episodes() -> None:
    held_out = dataset([0, 1, 2, 3], [0, 2, 5, 6])
    assert on_dataset(action_match, held_out)(Doubling(), dataset([0], [1])) == 0.75  # type: ignore[arg-type]


def test_several_numbers_of_one_evaluator_are_logged_by_name() -> None:
    found = make_evaluations(Doubling(), dataset([0], [1]), None, 1, {"two": lambda *_: {"a": 1, "b": 2}})
    assert found["two"]() == {"two/a": 1.0, "two/b": 2.0}
