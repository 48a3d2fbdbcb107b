"""Metrics of an algorithm on a dataset, without its environment: one function a file, or named by a user."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from offlinekit.errors import did_you_mean
from offlinekit.fields import parse_pairs
from offlinekit.ground.hints import answers_guesses
from offlinekit.interfaces import Evaluator
from offlinekit.naming import register

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

E = TypeVar("E", bound=Evaluator)

FQE_NAME = "fqe"
"""What sweeps and evolution call a fitted Q evaluation, which is no evaluator."""

OF_A_USER = "name a function of your own by register_evaluator of offlinekit.metrics"
"""What to do about a metric that nobody knows."""

REGISTERED: dict[str, Evaluator] = {}


@answers_guesses
def register_evaluator(name: str, *, overwrite: bool = False) -> Callable[[E], E]:
    """Names a function `(algo, dataset) -> float`, so that `get_evaluator`, sweeps and the command line find it.

    Args:
        name: Such as "action_size": letters, digits and "_".
        overwrite: Whether to take the name from another module.

    Raises:
        ValueError: For another name, or one that belongs to the package or to another module.
    """
    if not name.isidentifier():
        raise ValueError(f"the name of an evaluator must be of letters, digits and '_', got {name!r}")
    if name in (*_built_in(), FQE_NAME):
        raise ValueError(f"{name!r} is a metric of offlinekit; choose another name")

    def enter(evaluator: E) -> E:
        register(REGISTERED, name, evaluator, overwrite)
        return evaluator

    return enter


def known_evaluators() -> list[str]:
    """Returns the names of the evaluators: those of the package, and those that `register_evaluator` named."""
    return sorted({*_built_in(), *REGISTERED})


def _built_in() -> list[str]:
    """Returns the names of the package's: each file of this folder holds the one it is named after."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


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
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}; {OF_A_USER}"
        raise ValueError(f"Unrecognized metric: {name!r}{hint}")
    evaluator = REGISTERED[name] if name in REGISTERED else _evaluator_of(name)
    has = list(inspect.signature(evaluator).parameters)[2:]
    for option in options:
        if option not in has:
            raise TypeError(f"{name} has no option {option!r}; it has: {', '.join(has) or 'none'}")
    return partial(evaluator, **options) if options else evaluator


def _evaluator_of(name: str) -> Evaluator:
    evaluator: Evaluator = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return evaluator


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
