"""Metrics of an algorithm on a dataset, without its environment: one function a file, found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import partial, wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

from offlinekit.errors import did_you_mean
from offlinekit.fields import parse_pairs
from offlinekit.interfaces import Evaluator

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


def known_evaluators() -> list[str]:
    """Returns the names of the evaluators: each file of this folder holds the one it is named after."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_evaluator(name: str, **options: Any) -> Evaluator:
    """Returns an evaluator by its name.

    Args:
        name: One of `known_evaluators()`, or that with options, such as "soft_opc:return_threshold=200".
        options: Keywords of the function, such as `return_threshold` of "soft_opc".

    Raises:
        ValueError: For an unknown name; suggests the nearest.
        TypeError: For an option that the evaluator does not have.
    """
    name, _, given = name.partition(":")
    options = {**parse_pairs(given.split(",") if given else ()), **options}
    known = known_evaluators()
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ValueError(f"Unrecognized metric: {name!r}{hint}")
    evaluator: Evaluator = getattr(_module(name), name)
    has = list(inspect.signature(evaluator).parameters)[2:]
    for option in options:
        if option not in has:
            raise TypeError(f"{name} has no option {option!r}; it has: {', '.join(has) or 'none'}")
    return partial(evaluator, **options) if options else evaluator


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def on_dataset(evaluator: Evaluator, dataset: MDPDataset) -> Evaluator:
    """Returns an evaluator on a dataset of its own, such as held-out episodes, in place of the run's.

    Args:
        evaluator: What measures.
        dataset: What it measures on.
    """

    @wraps(evaluator)  # And its direction.
    def measure(algo: Algo, _: MDPDataset) -> float | Mapping[str, float]:
        return evaluator(algo, dataset)

    return measure
