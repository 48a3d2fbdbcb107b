"""Whether more of a metric is better: of the columns of a run's history by name, of evaluators by a mark on each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from offlinekit.errors import did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])
MARK = "more_is_better"

COLUMNS: dict[str, bool | None] = {
    **dict.fromkeys([f"eval/return_{part}" for part in ("mean", "median", "min", "max")], True),
    "eval/score": True,
    "value_diverged": False,
    **dict.fromkeys(("eval/return_std", "eval/length_mean", "eval/value_start", "value_estimate"), None),
    **dict.fromkeys(("value", "advantage", "weight", "entropy", "temperature", "alpha", "certainty"), None),
    **dict.fromkeys(("distance", "mmd", "strangeness", "conservative_gap", "gradient_alignment"), None),
    **dict.fromkeys(("imagined_reward", "imagined_steps", "imagined_return", "imagined_value"), None),
    **dict.fromkeys(("holdout_error", "epoch"), None),
}
"""Column to whether more of it is better; None if neither is. Of a loss, "..._loss", less is better."""


def more_is_better(evaluator: Function) -> Function:
    """Marks an evaluator: the better policy has more of what it measures."""
    setattr(evaluator, MARK, True)
    return evaluator


def less_is_better(evaluator: Function) -> Function:
    """Marks an evaluator: the better policy has less of what it measures."""
    setattr(evaluator, MARK, False)
    return evaluator


def direction(metric: str, evaluators: Mapping[str, Callable[..., Any]] | None = None) -> bool | None:
    """Returns whether more of a metric is better; None if nothing says so.

    Args:
        metric: A column of a run's history; "name/part" is a part of what the evaluator "name" gives.
        evaluators: Those of the run, by name.
    """
    for name in (metric, metric.partition("/")[0]):
        if evaluators and name in evaluators:
            return _mark(evaluators[name])
    return False if metric.endswith("_loss") else COLUMNS.get(metric)


def is_maximized(
    metric: str,
    maximize: bool | None,
    evaluators: Mapping[str, Callable[..., Any]] | None = None,
    others: Iterable[str] = (),
    remedy: str = "give maximize=True or maximize=False",
) -> bool:
    """Returns whether values of a metric are better the higher they are.

    Args:
        metric: As for `direction`.
        maximize: What the user says; None goes by the metric.
        evaluators: As for `direction`.
        others: Further metrics that could be meant, if this one is unknown.
        remedy: By which the caller's user says it.

    Raises:
        ValueError: If neither says it.
    """
    is_higher_better = direction(metric, evaluators) if maximize is None else maximize
    if is_higher_better is None:
        known = [name for name, better in COLUMNS.items() if better is not None]
        is_known = metric in COLUMNS or metric in (evaluators or ())
        hint = "" if is_known else did_you_mean(metric, [*(evaluators or ()), *others, *known])
        raise ValueError(f"nothing says whether more of {metric!r} is better{hint}; {remedy}")
    return is_higher_better


def _mark(evaluator: Callable[..., Any]) -> bool | None:
    if isinstance(evaluator, functools.partial):
        return _mark(evaluator.func)
    mark: bool | None = getattr(evaluator, MARK, None)
    return mark
