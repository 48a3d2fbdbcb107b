"""What the settings `weights` and `priorities` make of a run's dataset, sampler and objectives."""

from __future__ import annotations

import dataclasses
from typing import Any

from offlinekit.datasets import MDPDataset
from offlinekit.errors import did_you_mean
from offlinekit.sampling.loss_weights import describe_weights, loss_weights, weighted
from offlinekit.sampling.priorities import Priorities
from offlinekit.training.process_group import Team
from offlinekit.training.setup.settings import RunSettings
from offlinekit.types import Array


def resolved(dataset: MDPDataset, settings: RunSettings) -> RunSettings:
    """Returns settings whose weights, if any, are an array [N], and whose priorities are `Priorities`."""
    weights, priorities = settings["weights"], settings["priorities"]
    if weights is not None:
        weights = loss_weights(dataset, weights)
    if isinstance(priorities, str):
        priorities = Priorities(priorities)
    elif not isinstance(priorities, Priorities | None):
        raise TypeError(
            "priorities must be the name of an objective, such as 'critic', or "
            f"Priorities('critic', alpha=0.6, beta=0.4), got {priorities!r}"
        )
    return {**settings, "weights": weights, "priorities": priorities}


def describe_rows(settings: RunSettings) -> dict[str, Any]:
    """Returns what a run's config keeps of resolved weights and priorities; nothing where there are none."""
    weights: Any = settings.get("weights")
    priorities: Any = settings.get("priorities")
    described: dict[str, Any] = {} if weights is None else {"weights": describe_weights(weights)}
    return described if priorities is None else {**described, "priorities": dataclasses.asdict(priorities)}


def weighted_dataset(dataset: MDPDataset, weights: Array | None, team: Team | None) -> MDPDataset:
    """Returns what a run learns from: the dataset, with its loss weights and without what has weight 0.

    Weights have mean 1 over the rows of all processes together, of which each draws equally many.
    """
    if weights is None:
        return dataset
    mean = float(weights.mean())
    scale = 1.0 if team is None else mean / team.means({"weights": mean})["weights"]
    return weighted(dataset, weights, scale)


def draw_by_losses(impl: Any, sampler: Any, priorities: Priorities | None) -> None:
    """Has an objective report the losses of its rows to the sampler, and all others report none.

    Raises:
        ValueError: For the name of no objective.
    """
    objectives = {objective.name: objective for objective in impl.objectives}
    for objective in objectives.values():
        objective.report = None
    if priorities is None:
        return
    name = priorities.objective
    if name not in objectives:
        raise ValueError(
            f"priorities={name!r} names no objective of {type(impl).__name__}, which has "
            f"{', '.join(map(repr, objectives))}{did_you_mean(name, objectives)}"
        )
    objectives[name].report = sampler.update
