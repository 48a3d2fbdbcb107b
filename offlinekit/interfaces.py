"""The protocols by which rooms know one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

Evaluator: TypeAlias = "Callable[[Algo, MDPDataset], float | Mapping[str, float]]"
"""Measures an algorithm on a dataset: one number, or several by name."""
