"""Other rewards for the same steps: named transforms, and functions of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from offlinekit.datasets import validation
from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import did_you_mean
from offlinekit.types import Array

Relabel: TypeAlias = Callable[[MDPDataset], Any]
"""A dataset of N rows to its new rewards [N]."""


class Transform(NamedTuple):
    """A named transform of rewards."""

    meaning: str
    function: Callable[..., Array]  # Of a dataset and its numbers; gives rewards [N].
    n_numbers: int = 0


def _scale_by_returns(dataset: MDPDataset) -> Array:
    returns = dataset.episode_returns()
    spread = returns.max() - returns.min()
    if spread == 0:
        raise ValueError("return-range needs episodes of different returns, got equal ones; use scale=X")
    scaled: Array = dataset.rewards * (1000.0 / spread)
    return scaled


def _sparse(dataset: MDPDataset) -> Array:
    rewards = np.zeros(len(dataset))
    rewards[dataset.episode_ends - 1] = dataset.episode_returns()
    return rewards


def _dense(dataset: MDPDataset) -> Array:
    lengths = dataset.episode_lengths()
    return np.repeat(dataset.episode_returns() / lengths, lengths)


def _clip(dataset: MDPDataset, low: float, high: float) -> Array:
    if not low < high:
        raise ValueError(f"clip needs two numbers in rising order, got {low:g},{high:g}")
    return np.clip(dataset.rewards, low, high)


TRANSFORMS: Mapping[str, Transform] = {
    "scale": Transform("r * X", lambda dataset, factor: dataset.rewards * factor, 1),
    "shift": Transform("r + X", lambda dataset, shift: dataset.rewards + shift, 1),
    "clip": Transform("r in [X, Y]", _clip, 2),
    "sign": Transform("-1, 0 or 1", lambda dataset: np.sign(dataset.rewards)),
    "return-range": Transform(
        "r * 1000 / (highest - lowest return), as IQL does in MuJoCo", _scale_by_returns
    ),
    "sparse": Transform("the whole return at an episode's last row, 0 before", _sparse),
    "dense": Transform("the return spread evenly over an episode's rows", _dense),
    "terminal": Transform(
        "r + X at terminal rows", lambda dataset, bonus: dataset.rewards + bonus * dataset.terminals, 1
    ),
}


def relabel(dataset: MDPDataset, *transforms: str | Relabel, name: str | None = None) -> MDPDataset:
    """Returns the dataset with other rewards; scores that its old ones were normalised by are forgotten.

    Args:
        dataset: N rows.
        *transforms: Applied one after the other, at least one: a text such as "scale=10", "clip=-1,1" or
            "sparse" (`TRANSFORMS` has the names), or a function of the dataset that returns [N] rewards.
        name: Of the result; None keeps the dataset's.

    Raises:
        ValueError: For no transform, an unknown one or other numbers than it takes.
        DatasetError: For rewards that are not finite, or not [N].
    """
    if not transforms:
        raise ValueError(f"relabel needs at least one transform, such as 'scale=10'; known: {_known()}")
    changed = dataset
    for transform in transforms:
        function = parse(transform) if isinstance(transform, str) else transform
        changed = _with_rewards(changed, function(changed))
    applied = [t if isinstance(t, str) else f"{t.__module__}:{t.__qualname__}" for t in transforms]
    facts: dict[str, Any] = {"edits": [*dataset.metadata.get("edits", []), {"relabel": applied}]}
    facts |= {key: None for key in dataset.metadata if key.startswith("reference_")}
    return changed.with_options(name=name, metadata=facts)


def parse(text: str) -> Relabel:
    """Returns the function that a text such as "clip=-1,1" names.

    Raises:
        ValueError: For an unknown name, or other numbers than it takes.
    """
    name, equals, given = text.partition("=")
    if name not in TRANSFORMS:
        raise ValueError(f"unknown transform {name!r}{did_you_mean(name, TRANSFORMS)}; known: {_known()}")
    transform = TRANSFORMS[name]
    try:
        numbers = [float(number) for number in given.split(",")] if equals else []
    except ValueError:
        numbers = [np.nan]
    if len(numbers) != transform.n_numbers or not np.isfinite(numbers).all():
        raise ValueError(f"expected {_usage(name)} ({transform.meaning}), got {text!r}")
    return lambda dataset: transform.function(dataset, *numbers)


def _usage(name: str) -> str:
    return name + ("", "=X", "=X,Y")[TRANSFORMS[name].n_numbers]


def _known() -> str:
    return ", ".join(map(_usage, TRANSFORMS))


def _with_rewards(dataset: MDPDataset, rewards: Array) -> MDPDataset:
    changed = copy.copy(dataset)
    changed.rewards = validation.as_float32(validation.as_vector(rewards, "rewards"))
    validation.check_length(changed.rewards, "rewards", len(dataset))
    refuse_first(validation.not_finite(changed.rewards, "rewards"))
    return changed
