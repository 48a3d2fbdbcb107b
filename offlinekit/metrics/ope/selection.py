"""Which of several policies to deploy, or none of them: fitted Q evaluation with a bootstrap over episodes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete

from offlinekit.algos.fqe import BEHAVIOUR, FQE, QUICK, DiscreteFQE
from offlinekit.core.populations import Population
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.thinning import subsample
from offlinekit.errors import DatasetWarning
from offlinekit.memory import memory_limit
from offlinekit.metrics.ope.deployment_rules import Candidate, Rules, decide
from offlinekit.metrics.ope.estimate_checks import FEW
from offlinekit.metrics.ope.weighted_estimate import (
    WeightedEstimate,
    baseline_of,
    propensities_of,
    weighted_estimate_of,
)
from offlinekit.sampling.block_reader import is_mapped, row_bytes
from offlinekit.sampling.blocks import POOL_BYTES
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.interfaces import PolicyLike
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour

MEMORY_SHARE = 0.1
"""Of the memory at hand that the data may take, which each fit keeps beside its policy's actions."""


@dataclass(frozen=True)
class Selection:
    """The answer of `select`.

    Attributes:
        candidates: The best lower bound first.
        behaviour: Value of what recorded the data, estimated in the same way.
        chosen: Name of the policy to deploy, or None: keep what recorded the data, or a clone of it.
        reason: Why, in one sentence.
        warnings: Which policies were judged by fitted Q evaluation alone, and why.
    """

    candidates: list[Candidate]
    behaviour: float
    chosen: str | None
    reason: str
    warnings: tuple[str, ...] = ()


def fitted_values(
    policies: Mapping[str, PolicyLike | str], dataset: MDPDataset, **settings: Any
) -> dict[str, Array]:
    """Returns the start value of each policy by each of its `fits`, which take the same arguments.

    Returns:
        Name to float64 [1 + R].
    """
    return {name: _start_values(own, dataset) for name, own in fits(policies, dataset, **settings).items()}


def fits(
    policies: Mapping[str, PolicyLike | str],
    dataset: MDPDataset,
    *,
    n_steps: int = 10_000,
    n_resamples: int = 8,
    seed: int = 0,
    **hyperparameters: Any,
) -> dict[str, list[FQE]]:
    """Fits FQE of each policy to the data as they are, then to bootstraps of their episodes.

    All are fitted side by side as one stacked population. The r-th bootstrap draws the same episodes for every
    policy, so their differences are less noisy than they are. Source: Hao et al. 2021 (bootstrapping FQE),
    arXiv:2102.03607.

    Args:
        policies: Name to what `FQE` takes as `policy`; "behaviour" stands for what recorded the data.
        dataset: What to learn from.
        n_steps: Updates of each fit.
        n_resamples: Bootstraps R.
        seed: Of the first fit; each bootstrap has one of its own.
        hyperparameters: Of `FQE`.

    Returns:
        Name to 1 + R algorithms.
    """
    front = DiscreteFQE if isinstance(dataset.action_space, Discrete) else FQE
    settings = {**QUICK, **hyperparameters}
    members = {
        name: [
            front(policy=policy, seed=seed + draw, resample=draw > 0, **settings)
            for draw in range(1 + n_resamples)
        ]
        for name, policy in policies.items()
    }
    everyone = [member for own in members.values() for member in own]
    Population(everyone).fit(dataset, n_steps, out=None, progress=False, log_interval=n_steps)
    return members


def select(
    policies: Mapping[str, PolicyLike | str],
    dataset: MDPDataset,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    min_effective_sample: float = 25.0,
    max_disagreement: float = 3.0,
    behaviour: Behaviour = None,
    n_resamples: int = 8,
    **settings: Any,
) -> Selection:
    """Chooses the policy whose gain over the behaviour has the highest lower bound, if that exceeds a margin.

    The gain is judged by fitted Q evaluation and, where logged actions have probabilities under the policy and
    the behaviour, by weighted doubly robust on values of the same fits, each episode by a bootstrap that did not draw
    it. The lower of both bounds counts. They hold together for all candidates with the given confidence, as far as
    the fits can be trusted: each is a one-sided Student t bound at 1 - (1 - confidence) / P (Bonferroni).

    Args:
        policies: Name to policy.
        dataset: What to judge them by; of one that is opened in its file and large, episodes drawn at random.
        margin: By how much a policy must be better than the behaviour, in units of the scaled return.
        confidence: In (0, 1).
        min_effective_sample: How many episodes' worth of rows must show what a policy does, where propensities tell;
            0 deploys on any.
        max_disagreement: How many standard errors the two estimates of the gain may lie apart.
        behaviour: Propensities of the logged actions, as `estimate` takes them: None for the logged ones, else fitted;
            "none" to judge by fitted Q evaluation alone.
        n_resamples: Bootstraps of the episodes that each policy is fitted to.
        settings: Of `fits`.

    Raises:
        ValueError: Without policies, for numbers out of range, or for less than two bootstraps.
    """
    if not policies or not 0 < confidence < 1 or n_resamples < 2:
        raise ValueError(
            "select needs at least one policy, a confidence in (0, 1) and n_resamples of at least 2, got "
            f"{len(policies)}, {confidence} and {n_resamples}"
        )
    if not min_effective_sample >= 0 or not max_disagreement > 0:
        raise ValueError(
            "min_effective_sample must be at least 0 and max_disagreement above 0, got "
            f"{min_effective_sample} and {max_disagreement}"
        )
    n_fits = (len(policies) + 1) * (n_resamples + 1)
    dataset = _held_in_memory(dataset, n_fits, behaviour, settings.get("seed", 0))
    members = fits({**policies, BEHAVIOUR: BEHAVIOUR}, dataset, n_resamples=n_resamples, **settings)
    recorded = members.pop(BEHAVIOUR)
    estimates = _weighted_estimates(policies, members, recorded, dataset, behaviour)
    kept = _start_values(recorded, dataset)
    rules = Rules(1 - (1 - confidence) / len(policies), min_effective_sample, max_disagreement)
    found = []
    for name, own in members.items():
        weighted = estimates[name]
        second = weighted if isinstance(weighted, WeightedEstimate) else None
        found.append(rules.candidate(name, _start_values(own, dataset), kept, second))
    found.sort(key=lambda candidate: -candidate.lower_bound)
    return Selection(found, float(kept[0]), *decide(found, margin, confidence), _alone(estimates))


def _held_in_memory(dataset: MDPDataset, n_fits: int, behaviour: Behaviour, seed: int) -> MDPDataset:
    """Returns the dataset; of one that lies in a file as many episodes, drawn at random, as its fits may hold."""
    most = min(MEMORY_SHARE * memory_limit() / n_fits, POOL_BYTES)
    size = len(dataset) * row_bytes(dataset)
    if not is_mapped(dataset) or size <= most:
        return dataset
    if behaviour is not None and not isinstance(behaviour, str):
        raise ValueError(
            "behaviour= of a dataset in a file must be 'logged', 'fit' or 'none', as some of its episodes are judged; "
            "save the dataset with its behavior_log_probs"
        )
    part = subsample(dataset, fraction=most / size, seed=seed)
    warnings.warn(
        f"the data lie in a file and are larger than the fits may hold: {part.n_episodes:,} of "
        f"{dataset.n_episodes:,} episodes, drawn at random, judge the policies",
        DatasetWarning,
        stacklevel=3,
    )
    return part


def _weighted_estimates(
    policies: Mapping[str, PolicyLike | str],
    members: Mapping[str, list[FQE]],
    recorded: list[FQE],
    dataset: MDPDataset,
    behaviour: Behaviour,
) -> dict[str, WeightedEstimate | str]:
    """Returns the estimate by weighted episodes of each policy, or why there is none."""
    propensities = propensities_of(dataset, behaviour, recorded[0].seed or 0)
    if isinstance(propensities, str):
        return dict.fromkeys(policies, propensities)
    baseline = baseline_of(recorded, dataset)
    return {
        name: weighted_estimate_of(policy, members[name], baseline, dataset, propensities)
        for name, policy in policies.items()
    }


def _alone(estimates: Mapping[str, WeightedEstimate | str]) -> tuple[str, ...]:
    """Returns which policies were judged by fitted Q evaluation alone, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, weighted in estimates.items():
        if isinstance(weighted, str):
            reasons.setdefault(f"{weighted}; its effective sample is unknown", []).append(name)
        elif weighted.gains is None:
            why = f"the weights of whole episodes leave fewer than {FEW:.0f} effective ones"
            reasons.setdefault(why, []).append(f"{name} ({weighted.effective_episodes:.1f})")
    return tuple(f"fitted Q alone for {', '.join(names)}: {why}" for why, names in reasons.items())


def _start_values(members: list[FQE], dataset: MDPDataset) -> Array:
    """Returns the start value by each fit, float64 [1 + R]."""
    return np.array([member.start_value(dataset) for member in members])
