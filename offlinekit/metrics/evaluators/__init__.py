"""Metrics of an algorithm on a dataset, without its environment: one function a file, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from offlinekit.errors import did_you_mean

if TYPE_CHECKING:
    from offlinekit.algos.base import Algo
    from offlinekit.datasets import MDPDataset

Evaluator: TypeAlias = "Callable[[Algo, MDPDataset], float]"


def known_evaluators() -> list[str]:
    """Returns the names of the evaluators: each file of this folder holds the one it is named after."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_evaluator(name: str) -> Evaluator:
    """Returns an evaluator by its name.

    Raises:
        ValueError: For an unknown name; suggests the nearest.
    """
    known = known_evaluators()
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ValueError(f"Unrecognized metric: {name!r}{hint}")
    evaluator: Evaluator = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return evaluator
