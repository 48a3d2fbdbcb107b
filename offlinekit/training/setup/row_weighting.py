"""The settings `weights` and `priorities`, applied to a run's dataset, sampler and objectives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.tabular.recency import PREFIX, Recency
from offlinekit.errors import did_you_mean
from offlinekit.sampling.loss_weights import LossWeights, describe, loss_weights, weighted
from offlinekit.sampling.priorities import Priorities
from offlinekit.training.process_group import ProcessGroup
from offlinekit.training.setup.settings import RunSettings

if TYPE_CHECKING:
    from offlinekit.core.impl import Impl


def resolved(dataset: MDPDataset, settings: RunSettings) -> RunSettings:
    """Returns settings whose weights are a name or an array, and whose `info` describes weights and priorities.

    Raises:
        DatasetError: For weights that cannot be.
        TypeError: For priorities of another type.
    """
    weights, priorities = settings["weights"], as_priorities(settings["priorities"])
    described: dict[str, Any] = {}
    if weights is not None:
        values = loss_weights(dataset, weights)
        weights, described["loss_weights"] = weights if isinstance(weights, str) else values, describe(values)
    if priorities is not None:
        described["prioritised"] = dataclasses.asdict(priorities)
    return {**settings, "weights": weights, "info": {**described, **(settings["info"] or {})}}


def as_priorities(given: object) -> Priorities | None:
    """Returns the priorities that a setting stands for.

    Raises:
        TypeError: For what is neither the name of an objective nor `Priorities`.
    """
    if isinstance(given, str):
        return Priorities(given)
    if given is None or isinstance(given, Priorities):
        return given
    raise TypeError(
        "priorities must be the name of an objective, such as 'critic', or "
        f"Priorities('critic', alpha=0.6, beta=0.4), got {given!r}"
    )


def weighted_dataset(
    dataset: MDPDataset, weights: LossWeights | None, team: ProcessGroup | None
) -> MDPDataset:
    """Returns what a run learns from: the dataset, with its loss weights and without what has weight 0.

    Weights have mean 1 over the rows of all processes together, of which each draws equally many.
    """
    if weights is None:
        return dataset
    if team is not None and isinstance(weights, str) and weights.startswith(PREFIX):
        weights = Recency.from_text(weights)
    if team is not None and isinstance(weights, Recency) and weights.latest is None:
        weights = dataclasses.replace(weights, latest=max(team.gather(weights.latest_of(dataset))))
    values = loss_weights(dataset, weights)
    mean = float(values.mean())
    scale = 1.0 if team is None else mean / team.means({"weights": mean})["weights"]
    return weighted(dataset, values, scale)


def draw_by_losses(impl: Impl, sampler: Any, priorities: Priorities | None) -> None:
    """Makes an objective report the losses of its rows to the sampler, and all others report none.

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
