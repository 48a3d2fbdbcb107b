"""What a front checks and notes of its dataset."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from offlinekit.algos.torch.trunks import space_leaves
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError


def check_same_shapes(name: str, built: spaces.Space[Any], given: spaces.Space[Any], what: str) -> None:
    """Checks that data fit networks that were built before.

    Raises:
        UnsupportedError: For other shapes, or more discrete actions.
    """
    shapes = [[leaf.shape for leaf in space_leaves(space)] for space in (built, given)]
    fewer = isinstance(built, spaces.Discrete) and isinstance(given, spaces.Discrete) and built.n < given.n
    if shapes[0] != shapes[1] or fewer:
        raise UnsupportedError(f"this {name} was built for {what} of {built}, got {given}; make a new {name}")


def describe_data(dataset: MDPDataset) -> dict[str, Any]:
    """Returns what a run's config keeps of its data: where they come from and what they scored."""
    origin = dataset.metadata.get("origin") or {}
    return {
        "dataset": {
            "name": dataset.name,
            "source": origin.get("name"),
            "options": origin.get("options", {}),
        },
        "env_kwargs": dataset.metadata.get("env_kwargs") or {},
        "metrics": [],
        "behaviour_return": float(dataset.episode_returns().mean()),
        "reference_scores": dataset.reference_scores,
    }
