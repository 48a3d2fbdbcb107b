"""Choice of one of several policies to deploy, or none: fitted Q evaluation with a bootstrap over episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offlinekit.algos.fqe import BEHAVIOUR, FQE
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope.deployment_rules import Candidate, Rules, decide
from offlinekit.metrics.ope.estimate_checks import FEW
from offlinekit.metrics.ope.fit_checks import behaviour_missed, impossible
from offlinekit.metrics.ope.fitted_policies import FittedPolicies, fits, fitted_values
from offlinekit.metrics.ope.held_data import held_in_memory
from offlinekit.metrics.ope.model_gain import ModelGain, model_gain_of
from offlinekit.metrics.ope.simulation import DynamicsLike, DynamicsModel, dynamics_of
from offlinekit.metrics.ope.support import support_of
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weighted_estimate import (
    NO_PROBABILITIES,
    NONE,
    WeightedEstimate,
    baseline_of,
    fitted_target,
    propensities_of,
    weighted_estimate_of,
)
from offlinekit.training.value_alarm import still_moving

__all__ = ["Candidate", "Selection", "fits", "fitted_values", "select"]

if TYPE_CHECKING:
    from offlinekit.interfaces import PolicyLike
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour


@dataclass(frozen=True)
class Selection:
    """The result of `select`.

    Attributes:
        candidates: The best lower bound first.
        behaviour: Value of what recorded the data, estimated in the same way.
        chosen: Name of the policy to deploy, or None: keep what recorded the data, or a clone of it.
        reason: Why, in one sentence.
        warnings: Which policies were evaluated by fitted Q evaluation alone, and why.
    """

    candidates: list[Candidate]
    behaviour: float
    chosen: str | None
    reason: str
    warnings: tuple[str, ...] = ()


def select(
    policies: Mapping[str, PolicyLike | str],
    dataset: MDPDataset,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    min_effective_sample: float = 25.0,
    max_disagreement: float = 3.0,
    behaviour: Behaviour = None,
    dynamics: DynamicsLike | None = None,
    n_resamples: int = 8,
    n_steps: int | None = None,
    **settings: Any,
) -> Selection:
    """Chooses the policy whose gain over the behaviour has the highest lower bound, if that exceeds a margin.

    Fits train until they have settled: the fit of the behaviour says what its episodes return, no value is beyond what
    the rewards allow, and values move no more. A policy whose fits have not, or much of what it does has no rows, is
    held back whatever its bound.

    The gain is estimated by fitted Q evaluation and, if logged actions have probabilities under the policy and
    the behaviour, by weighted doubly robust on values of the same fits, each episode by a bootstrap that did not draw
    it. With `dynamics` all policies are rolled out in these too, from the first states of the data. The lowest of the
    bounds counts. They hold together for all candidates with the given confidence, as far as
    the fits are reliable: each is a one-sided Student t bound at 1 - (1 - confidence) / P (Bonferroni).

    Args:
        policies: Name to policy.
        dataset: What to evaluate them on; of one that is opened in its file and large, episodes drawn at random.
        margin: By how much a policy must be better than the behaviour, in units of the scaled return.
        confidence: In (0, 1).
        min_effective_sample: How many episodes' worth of rows must show what a policy does, if propensities show it,
            else how many episodes there must be; 0 deploys on any.
        max_disagreement: How many standard errors another estimate of the gain may lie from that of fitted Q.
        behaviour: Propensities of the logged actions, as `estimate` takes them: None for the logged ones, else fitted;
            "none" to evaluate without weights.
        dynamics: Learned models, in which each policy has a further estimate, as `estimate` takes them; None for none.
        n_resamples: Bootstraps of the episodes that each policy is fitted to.
        n_steps: Updates of each fit; None for as many as values need, and up to 2.5 times as many if these have not
            settled.
        settings: Of `fits`.

    Raises:
        ValueError: Without policies, for one named "behaviour", for numbers out of range, or for less than two
            bootstraps.
        TypeError: For policies without names.
        KeyboardInterrupt: At Ctrl-C, with what was stopped.
    """
    _check(policies, margin, confidence, n_resamples)
    rules = Rules(1 - (1 - confidence) / len(policies), min_effective_sample, max_disagreement)
    dataset = held_in_memory(dataset, len(policies) + 1, behaviour, settings.get("seed", 0))
    model = None if dynamics is None else dynamics_of(dynamics, dataset)
    fitted = FittedPolicies.of(
        {**policies, BEHAVIOUR: BEHAVIOUR}, dataset, n_resamples=n_resamples, **settings
    )
    fitted.train_until(lambda: _enough(fitted), n_steps)
    unsettled = _unsettled(fitted)
    members = dict(fitted.members)
    recorded = members.pop(BEHAVIOUR)
    estimates = _weighted_estimates(policies, members, recorded, dataset, behaviour)
    simulated = _model_gains(policies, members, recorded, dataset, model)
    kept = fitted.values(BEHAVIOUR)
    candidates = []
    for name, own in members.items():
        weighted = estimates[name]
        second = weighted if isinstance(weighted, WeightedEstimate) else None
        few = rules.too_few(dataset.n_episodes) if second is None else ""
        doubts = (unsettled[BEHAVIOUR], unsettled[name], few)
        rowless = _without_rows(policies[name], own[0], dataset)
        candidates.append(
            rules.candidate(name, fitted.values(name), kept, second, doubts, rowless, simulated.get(name))
        )
    candidates.sort(key=lambda candidate: -candidate.lower_bound)
    unfinished = tuple(f"{name}: {why}" for name, why in unsettled.items() if why)
    warnings = (*_alone(estimates, bool(simulated)), *unfinished)
    return Selection(candidates, float(kept[0]), *decide(candidates, margin, confidence), warnings)


def _check(
    policies: Mapping[str, PolicyLike | str], margin: float, confidence: float, n_resamples: int
) -> None:
    """Refuses what no selection can be made of."""
    if not isinstance(policies, Mapping):
        raise TypeError(f'policies must be a mapping such as {{"bc": algo}}, got {type(policies).__name__}')
    if not policies or not 0 < confidence < 1 or n_resamples < 2:
        raise ValueError(
            "select needs at least one policy, a confidence in (0, 1) and n_resamples of at least 2, got "
            f"{len(policies)}, {confidence} and {n_resamples}"
        )
    if BEHAVIOUR in policies or BEHAVIOUR in [p for p in policies.values() if isinstance(p, str)]:
        raise ValueError(
            f"{BEHAVIOUR!r} stands for what recorded the data, with which all policies are compared; leave it out, or "
            "give the policy another name"
        )
    if not math.isfinite(margin):
        raise ValueError(f"margin must be a finite number, in units of the scaled return, got {margin}")


def _enough(fitted: FittedPolicies) -> bool:
    """Returns whether the fits of all policies have settled or diverged, or those of the behaviour have diverged."""
    moving = {name for name, why in _unsettled(fitted).items() if why} - fitted.diverged
    return not moving or BEHAVIOUR in fitted.diverged


def _unsettled(fitted: FittedPolicies) -> dict[str, str]:
    """Returns why the fits of each policy, and of the behaviour, have not settled yet; empty if they have."""
    dataset, kept = fitted.dataset, fitted.values(BEHAVIOUR)
    recorded = fitted.members[BEHAVIOUR]
    unsettled = {}
    for name, own in fitted.members.items():
        values = fitted.values(name)
        moved = values if name == BEHAVIOUR else values - kept
        before = fitted.earlier.get(name, values[0]) - (
            0.0 if name == BEHAVIOUR else fitted.earlier.get(BEHAVIOUR, kept[0])
        )
        missed = behaviour_missed(values, baseline_of(recorded, dataset)) if name == BEHAVIOUR else ""
        unsettled[name] = (
            impossible(values, own[0], dataset)
            or missed
            or own[0].too_few_updates(dataset)
            or still_moving(before, float(moved[0]), float(moved[1:].std(ddof=1)))
        )
    return unsettled


def _without_rows(policy: PolicyLike | str, fit: FQE, dataset: MDPDataset) -> str:
    """Returns that much of what a policy does has no rows; empty if little has."""
    target = fitted_target(policy, fit, dataset) or TargetPolicy(fit.choices_at, dataset.action_space)
    support = support_of(target, dataset, fit.gamma)
    return str(support) if support.fails else ""


def _weighted_estimates(
    policies: Mapping[str, PolicyLike | str],
    members: Mapping[str, list[FQE]],
    recorded: list[FQE],
    dataset: MDPDataset,
    behaviour: Behaviour,
) -> dict[str, WeightedEstimate | str]:
    """Returns the estimate by weighted episodes of each policy, or why there is none."""
    if isinstance(behaviour, str) and behaviour == NONE:
        return dict.fromkeys(policies, "propensities are left out")
    targets = {name: fitted_target(policy, members[name][0], dataset) for name, policy in policies.items()}
    known = {name: target for name, target in targets.items() if target and target.has_probabilities}
    estimates: dict[str, WeightedEstimate | str] = dict.fromkeys(policies, NO_PROBABILITIES)
    if behaviour is None and not known:  # No weights, for which a behaviour would be fitted.
        return estimates
    propensities = propensities_of(dataset, behaviour, recorded[0].seed or 0)
    if isinstance(propensities, str):
        return dict.fromkeys(policies, propensities)
    baseline = baseline_of(recorded, dataset)
    for name, target in known.items():
        estimates[name] = weighted_estimate_of(target, members[name], baseline, dataset, propensities)
    return estimates


def _model_gains(
    policies: Mapping[str, PolicyLike | str],
    members: Mapping[str, list[FQE]],
    recorded: list[FQE],
    dataset: MDPDataset,
    model: DynamicsModel | None,
) -> dict[str, ModelGain]:
    """Returns the gain of each policy in learned dynamics; none without any."""
    if model is None:
        return {}
    baseline, gains = baseline_of(recorded, dataset), {}
    for name, policy in policies.items():
        fit = members[name][0]
        target = fitted_target(policy, fit, dataset) or TargetPolicy(fit.choices_at, dataset.action_space)
        gains[name] = model_gain_of(model, target, members[name], baseline, dataset)
    return gains


def _alone(estimates: Mapping[str, WeightedEstimate | str], has_dynamics: bool) -> tuple[str, ...]:
    """Returns which policies were evaluated without weighted episodes, those of one reason together."""
    judges = "fitted Q and dynamics" if has_dynamics else "fitted Q"
    reasons: dict[str, list[str]] = {}
    for name, weighted in estimates.items():
        if isinstance(weighted, str):
            reasons.setdefault(f"{weighted}; its effective sample is unknown", []).append(name)
        elif weighted.gains is None and weighted.mean_weight.is_off:
            reasons.setdefault(str(weighted.mean_weight), []).append(name)
        elif weighted.gains is None:
            why = f"the weights of whole episodes leave fewer than {FEW:.0f} effective ones"
            reasons.setdefault(why, []).append(f"{name} ({weighted.effective_episodes:.1f})")
    return tuple(f"{judges} alone for {', '.join(names)}: {why}" for why, names in reasons.items())
