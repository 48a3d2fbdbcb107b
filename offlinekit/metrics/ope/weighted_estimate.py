"""A second estimate for fitted policies: weighted doubly robust, and how much of the data shows what a policy does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.algos.fqe import FQE
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.envs.callable_policies import GreedyPolicy
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import own_actions
from offlinekit.metrics.ope.diagnostics import effective_sample_size
from offlinekit.metrics.ope.doubly_robust import weighted_doubly_robust
from offlinekit.metrics.ope.estimate_checks import FEW
from offlinekit.metrics.ope.fit_checks import scaled_rewards
from offlinekit.metrics.ope.fitted_behaviour import FittedBehaviour
from offlinekit.metrics.ope.gathering import behaviour_of, logged_of, model_values, padded
from offlinekit.metrics.ope.logged import Floats, Logged
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weight_checks import MeanWeight, mean_ratio, mean_weight
from offlinekit.sampling.n_step import returns_to_go
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    from offlinekit.interfaces import PolicyLike
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour

NONE = "none"
NO_PROBABILITIES = "it has no probabilities or densities (log_prob)"


@dataclass(frozen=True)
class WeightedEstimate:
    """Estimate of a policy from weighted episodes.

    Attributes:
        gains: [E], whose mean is the gain over the behaviour and whose spread is its own; None if the weights of
            whole episodes leave fewer than 25 of them, or are off their mean of 1.
        effective_sample: Episodes' worth of rows that show what the policy does, E (sum w)^2 / (N sum w^2) over the
            ratios w of single actions.
        effective_episodes: (sum w)^2 / sum w^2 over the products of ratios along whole episodes.
        mean_ratio: How far the ratios of single actions are from a mean of 1.
        mean_weight: How far products of them are; those too far are not used.
    """

    gains: Floats | None
    effective_sample: float
    effective_episodes: float
    mean_ratio: MeanWeight
    mean_weight: MeanWeight


def propensities_of(dataset: MDPDataset, behaviour: Behaviour, seed: int) -> FittedBehaviour | Floats | str:
    """Returns log-probabilities of the logged actions, or why there are none.

    Args:
        dataset: With episodes.
        behaviour: As `estimate` takes it.
        seed: Of the folds of a fit.
    """
    if dataset.next_observations is not None or dataset.n_episodes < 2:
        return "weights need at least two episodes in order of time"
    try:
        return behaviour_of(dataset, behaviour, min(5, dataset.n_episodes), seed)
    except UnsupportedError as error:
        if behaviour is not None:
            raise
        return f"there are no propensities ({error})"


def weighted_estimate_of(
    target: TargetPolicy,
    fits: Sequence[FQE],
    baseline: Floats,
    dataset: MDPDataset,
    propensities: FittedBehaviour | Floats,
) -> WeightedEstimate:
    """Returns the opinion on one policy.

    Args:
        target: To estimate, with probabilities.
        fits: FQE of it on the data, then on bootstraps; an episode is valued by those not fitted to it.
        baseline: [E], of the behaviour, as `baseline_of` returns it.
        dataset: What they were fitted to.
        propensities: Of the logged actions.
    """
    logged = logged_of(target, dataset, propensities, None, fits[0].gamma, True)
    share = effective_sample_size(logged.ratios[logged.mask]) / len(dataset)
    products = logged.log_ratios.sum(1)
    whole = effective_sample_size(np.exp(products - products.max())) if np.isfinite(products.max()) else 0.0
    gains, weight = None, mean_weight(logged)
    if whole >= FEW and not weight.is_off:
        q, v, final = held_out_values(target, fits, dataset)
        rewards = padded(dataset, scaled_rewards(fits[0], dataset))
        modelled: Logged = replace(
            logged, rewards=rewards, q=padded(dataset, q), v=padded(dataset, v), final_v=final
        )
        gains = weighted_doubly_robust(modelled).per_episode - baseline
    return WeightedEstimate(gains, share * dataset.n_episodes, whole, mean_ratio(logged), weight)


def baseline_of(fits: Sequence[FQE], dataset: MDPDataset) -> Floats:
    """Returns what each episode says the behaviour is worth, [E]: its discounted return, scaled as the fits'.

    If it was cut off and is known to go on, the last step counts what the behaviour's fits give its action.
    """
    last = dataset.episode_ends - 1
    rewards = scaled_rewards(fits[0], dataset).astype(np.float64)
    cut = dataset.final_known & ~dataset.terminals[last]
    for fit, held_out in unseen_by(fits, dataset):
        if len(index := last[held_out & cut]):
            rewards[index] = fit.predict_value(
                rows(dataset.observations, index), own_actions(dataset.actions[index], dataset.action_space)
            )
    return np.asarray(returns_to_go(dataset, rewards, fits[0].gamma)[dataset.episode_starts])


def held_out_values(
    target: TargetPolicy, fits: Sequence[FQE], dataset: MDPDataset
) -> tuple[Floats, Floats, Floats]:
    """Returns as `model_values` the values of each episode by a bootstrap that did not draw it."""
    columns = np.empty(len(dataset)), np.empty(len(dataset)), np.empty(dataset.n_episodes)
    for fit, held_out in unseen_by(fits, dataset):
        index = np.repeat(held_out, dataset.episode_lengths())
        values = model_values(target, dataset[held_out], fit.predict_value)
        for column, where, part in zip(columns, (index, index, held_out), values, strict=True):
            column[where] = part
    return columns


def unseen_by(fits: Sequence[FQE], dataset: MDPDataset) -> Iterator[tuple[FQE, Array]]:
    """Yields fits with the episodes that each is to value, bool [E]: the first bootstrap that did not draw one.

    Episodes that all have drawn, one in 40 with 8 bootstraps, are valued by the fit to all data.
    """
    left = np.ones(dataset.n_episodes, np.bool_)
    for fit in fits[1:]:
        held_out = left & (fit.episode_counts(dataset) == 0)
        if held_out.any():
            yield fit, held_out
        left &= ~held_out
    if left.any():
        yield fits[0], left


def fitted_target(policy: PolicyLike | str, fit: FQE, dataset: MDPDataset) -> TargetPolicy | None:
    """Returns the policy as it was evaluated: a callable of discrete actions returns these, not their probabilities.

    None if its actions are drawn by probabilities that are not known.
    """
    if isinstance(policy, str):  # The behaviour.
        return None
    target = TargetPolicy(policy, dataset.action_space)
    if not target.discrete or callable(target.log_prob):
        return target
    if isinstance(policy, SampledPolicy) or fit.n_draws > 1:
        return None
    return TargetPolicy(GreedyPolicy(target.act), dataset.action_space)
