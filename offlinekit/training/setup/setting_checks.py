"""Checks of settings that no type expresses: evaluators, callbacks, when to stop, and names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offlinekit.interfaces import Evaluator

EVALUATORS = "offlinekit.metrics.evaluators"
"""Where names of evaluators stand: above this room, since they judge its algorithms, and imported only if named."""
MOMENTS = ("on_row", "on_checkpoint", "on_end")
"""Methods of a callback."""


def check_name(name: object) -> None:
    """Checks that a folder can be called by a text, as it is or without what a path may not have."""
    if not isinstance(name, str) or not any(map(str.isalnum, name)):
        raise TypeError(f"run_name must be a text with letters or digits, such as 'first try', got {name!r}")


def named_evaluators(given: object) -> object:
    """Returns evaluators by name, those that were given as texts looked up.

    Raises:
        ValueError: For an unknown one; suggests the nearest.
    """
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence) and all(isinstance(each, str) for each in given):
        given = {each: each for each in given}
    if not isinstance(given, Mapping) or not any(isinstance(each, str) for each in given.values()):
        return given
    find = importlib.import_module(EVALUATORS).get_evaluator
    return {name: find(each) if isinstance(each, str) else each for name, each in given.items()}


def check_evaluators(evaluators: Mapping[str, Evaluator] | None) -> None:
    """Checks that evaluators are functions by name."""
    if evaluators is None:
        return
    if isinstance(evaluators, Mapping) and all(map(callable, evaluators.values())):
        if unnamed := [name for name in evaluators if not isinstance(name, str) or not name]:
            raise TypeError(f"evaluators must have texts as names, such as 'td_error', got {unnamed[0]!r}")
        return
    raise TypeError(
        "evaluators must be a list of names, such as ['td_error'], or a dict of names to functions (algo, dataset) -> "
        f"float, such as {{'td_error': get_evaluator('td_error')}} of offlinekit.metrics, got {evaluators!r}"
    )


def check_callbacks(callbacks: object) -> None:
    """Checks that each callback is a function, or has methods that are called."""
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(f"callbacks must be a list, such as callbacks=[function], got {callbacks!r:.100}")
    for each in callbacks:
        if not callable(each) and not any(hasattr(each, moment) for moment in MOMENTS):
            raise TypeError(
                f"a callback is a function (algo, row), or has one of {', '.join(MOMENTS)}; got {each!r:.100}"
            )


def check_tags(tags: object) -> None:
    """Checks that tags are a list of texts."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or not all(isinstance(t, str) for t in tags):
        raise TypeError(f"tags must be a list of texts, such as ['baseline', 'v2'], got {tags!r}")


def check_stopping(stopping: object) -> None:
    """Checks that what stops a run early can be looked at."""
    if stopping is not None and not hasattr(stopping, "should_stop"):
        raise TypeError(
            "early_stopping must be EarlyStopping(metric, patience) of offlinekit.training, such as "
            f"EarlyStopping('eval/return_mean', patience=5), got {stopping!r}"
        )
