"""estimate(): the value of a policy from data of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from offlinekit.envs.past.sight import sight_of
from offlinekit.errors import UnanswerableError, UnsupportedError
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.diagnostics import pareto_k
from offlinekit.metrics.ope.doubly_robust import doubly_robust
from offlinekit.metrics.ope.estimands import Cuts
from offlinekit.metrics.ope.estimate_checks import EstimateChecks
from offlinekit.metrics.ope.estimators import (
    ESTIMATORS,
    NO_DYNAMICS,
    Estimator,
    Inputs,
    check_arguments,
    get_estimator,
)
from offlinekit.metrics.ope.fitted_behaviour import FittedBehaviour
from offlinekit.metrics.ope.flow_features import FlowMaker
from offlinekit.metrics.ope.gathering import (
    behaviour_of,
    cross_fitted_values,
    logged_of,
    model_values,
    tabular_fit,
    tabular_states,
)
from offlinekit.metrics.ope.held_data import TABLES, held_in_memory
from offlinekit.metrics.ope.intervals import interval_of
from offlinekit.metrics.ope.model_checks import model_doubts, noting_doubts, unsettled
from offlinekit.metrics.ope.ope_report import Report, shared_warnings
from offlinekit.metrics.ope.simulation import DynamicsLike, dynamics_of, simulated
from offlinekit.metrics.ope.support import support_of
from offlinekit.metrics.ope.target import QFunction, TargetPolicy, values_of
from offlinekit.metrics.ope.weight_checks import mean_weight

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import PolicyLike, ValueModel
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour


@answers_guesses
def estimate(
    policy: PolicyLike,
    dataset: MDPDataset,
    estimators: Sequence[str] | None = None,
    *,
    gamma: float = 0.99,
    behaviour: Behaviour = None,
    q_function: QFunction | ValueModel | None = None,
    fit_q: Callable[[MDPDataset], QFunction] | None = None,
    dynamics: DynamicsLike | None = None,
    n_folds: int = 5,
    confidence: float = 0.95,
    interval: str = "bootstrap",
    bounds: tuple[float, float] | None = None,
    clip: float | None = None,
    switch_threshold: float = 10.0,
    decay: float = 1.0,
    bootstrap_timeouts: bool = False,
    n_samples: int = 10,
    seed: int = 0,
) -> Report:
    """Estimates the expected discounted return of a policy from episodes of another.

    Without `bootstrap_timeouts` weights aim at the return of the recorded episodes, cut where they are cut; a model
    and the marginalised estimators look beyond timeouts. The `estimand` of each estimate says which. An estimator that
    these data do not support is left out, with its reason.

    Args:
        policy: The target, as `TargetPolicy` takes it. Of an algorithm of discrete actions the greedy ones are
            evaluated; `SampledPolicy(algo)` stands for its drawn ones.
        dataset: Episodes of the behaviour policy.
        estimators: Names of `ESTIMATORS`; None takes all that the data and the model allow.
        gamma: Discount factor of one step, in [0, 1].
        behaviour: Log-probabilities [N] of the logged actions, a `FittedBehaviour`, "logged" for the dataset's
            own, "fit" for `fit_behaviour`; None takes the logged ones if there are any, else fits.
        q_function: (observations, actions) -> values [B], or an algorithm with `predict_value`. It must not have
            been fitted to these episodes. None fits a counted model in folds if states are whole numbers.
        fit_q: Fits such a function to a dataset; it is cross-fitted over episodes. In place of `q_function`.
        dynamics: Learned models of one step, such as `Dynamics().fit(dataset)`, for "model_based"; an algorithm that
            learned inside some, or the file or run folder of either, stands for them.
        n_folds: Of fits; of fewer episodes, as many as these.
        confidence: Of the intervals, in (0, 1).
        interval: "bootstrap", "t", "bernstein" or "hoeffding".
        bounds: (low, high) of an episode's contribution, for the last two.
        clip: Largest cumulative weight; None for no limit.
        switch_threshold: Weight above which SWITCH relies on the model.
        decay: The lambda of Retrace, Tree-backup and Q(lambda), in [0, 1].
        bootstrap_timeouts: Whether the model's value stands behind timeouts.
        n_samples: Actions drawn in each state if they are continuous.
        seed: Of folds, resamples and features.

    Raises:
        ValueError: For unknown names and numbers out of range.
        UnsupportedError: For quantities that a policy or dataset lacks, such as densities; for policies that remember.
        UnanswerableError: If no estimator has a value.
    """
    check_arguments(estimators, clip, switch_threshold, n_samples)
    if dataset.next_observations is not None:
        raise UnsupportedError(
            "estimates need the rows of each episode in order of time, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); evaluate the policy by FQE, from starts of your own"
        )
    if fit_q is not None and q_function is not None:
        raise ValueError("q_function and fit_q say the same; give one of them")
    dataset = held_in_memory(dataset, TABLES, behaviour, seed)
    target = TargetPolicy(policy, dataset.action_space, n_samples)
    is_counted = target.discrete and sight_of(policy).history == 1 and tabular_states(dataset) is not None
    counted = q_function is None and fit_q is None and is_counted
    has_model = counted or q_function is not None or fit_q is not None
    chosen = _chosen(estimators, target, has_model, counted, dynamics is not None)
    fitted = behaviour_of(dataset, behaviour, n_folds, seed) if _any(chosen, "needs_weights") else None
    model, left_out = None, {}
    doubts: list[str] = []
    if _any(chosen, "needs_model"):
        fit = tabular_fit(target, dataset, gamma) if counted else fit_q
        try:
            if fit is not None and dataset.n_episodes < 2:
                raise UnanswerableError(
                    "a fit that values other episodes than its own needs at least 2, got 1"
                )
            if fit is not None:
                model = cross_fitted_values(target, dataset, noting_doubts(fit, doubts), n_folds, seed, gamma)
            elif q_function is not None:
                model = model_values(target, dataset, values_of(q_function, gamma))
                doubts.append(unsettled(q_function, dataset))
        except UnanswerableError as error:
            left_out = {name: str(error) for name, estimator in chosen.items() if estimator.needs_model}
    logged = logged_of(target, dataset, fitted, model, gamma, bootstrap_timeouts)
    inputs = Inputs(
        logged,
        FlowMaker(target, dataset, seed),
        clip,
        switch_threshold,
        decay,
        not dataset.timeouts.any(),
        seed,
        None
        if dynamics is None
        else partial(simulated, dynamics_of(dynamics, dataset), target, dataset, gamma, seed),
    )
    contributions = _answers(chosen, inputs, left_out)
    checks = EstimateChecks(
        logged,
        pareto_k(logged.weights()[:, -1]) if fitted is not None else float("nan"),
        mean_weight(logged) if fitted is not None else None,
        support_of(target, dataset, gamma, seed),
        Cuts.of(dataset, bootstrap_timeouts, clip is not None),
        clip,
        doubts=()
        if model is None
        else model_doubts(target, dataset, replace(logged, final_v=model[2]), doubts),
        widened=(counted or fit_q is not None) and fitted is not None and model is not None,
    )
    if checks.widened:
        contributions = _widened(contributions, chosen, inputs, checks.cuts)
    estimates = {}
    for name, contribution in contributions.items():
        if chosen[name].needs_dynamics:
            span = inputs.simulation.interval(confidence)
        else:
            span = interval_of(contribution, interval, confidence, bounds=bounds, seed=seed)
        estimates[name] = checks.estimate(chosen[name], contribution, span, confidence)
    return Report(
        estimates,
        contributions,
        logged,
        checks.tail,
        fitted.calibration if isinstance(fitted, FittedBehaviour) else None,
        float(logged.returns.mean()),
        checks.support,
        checks.mean_weight,
        left_out,
        shared_warnings(estimates, left_out, checks.support),
    )


def _answers(
    chosen: dict[str, Estimator], inputs: Inputs, left_out: dict[str, str]
) -> dict[str, Contributions]:
    """Returns the contributions by each estimator that has a value; notes the reasons of the others in `left_out`.

    Raises:
        UnanswerableError: If none has.
    """
    contributions = {}
    for name, estimator in chosen.items():
        if name in left_out:
            continue
        if estimator.multiplies_weights and inputs.clip is None and inputs.logged.overflows:
            left_out[name] = (
                "weights of whole episodes are beyond e^300; give clip, or use direct or marginalised"
            )
            continue
        try:
            contributions[name] = estimator.run(inputs)
        except UnanswerableError as error:
            left_out[name] = str(error)
    if not contributions and left_out:
        raise UnanswerableError(next(iter(left_out.values())))
    return contributions


def _widened(
    contributions: dict[str, Contributions], chosen: dict[str, Estimator], inputs: Inputs, cuts: Cuts
) -> dict[str, Contributions]:
    """Sets the spread of estimators that rely nearly on the fit alone to that of one that corrects it.

    An estimate by a model that was fitted to the episodes varies with the fit. To first order that is as the
    efficient doubly robust estimate does (Kallus & Uehara 2019, arXiv:1908.08526), and that by whole episodes'
    weights varies no less. Beyond the cuts of recordings no weights of episodes reach; there the spread is that of
    visits to pairs of state and action, which count the errors of all later steps.
    """
    spread = doubly_robust(inputs.logged, inputs.clip)
    later = spread
    if cuts.n_cut and any(chosen[name].looks_beyond and chosen[name].trusts_model for name in contributions):
        with suppress(UnsupportedError):
            later = ESTIMATORS["dual_dice"].run(inputs)
    return {
        name: contribution.spread_as(later if chosen[name].looks_beyond else spread)
        if chosen[name].trusts_model
        else contribution
        for name, contribution in contributions.items()
    }


def _chosen(
    names: Sequence[str] | None, target: TargetPolicy, has_model: bool, tabular: bool, has_dynamics: bool
) -> dict[str, Estimator]:
    """Returns the named estimators, or those that apply."""
    if names is not None:
        chosen = {name: get_estimator(name) for name in names}
        if not has_model and (needy := [name for name, e in chosen.items() if e.needs_model]):
            raise UnsupportedError(
                f"{needy[0]} needs a model; give q_function or fit_q, or choose another estimator"
            )
        if not has_dynamics and any(estimator.needs_dynamics for estimator in chosen.values()):
            raise UnsupportedError(NO_DYNAMICS)
        return chosen
    return {
        name: estimator
        for name, estimator in ESTIMATORS.items()
        if (has_model or not estimator.needs_model)
        and (target.has_probabilities or not estimator.needs_weights)
        and (name != "tree_backup" or target.discrete)
        and (has_dynamics or not estimator.needs_dynamics)
        and not (estimator.needs_flow and not (tabular and name == "marginalised"))
    }


def _any(chosen: dict[str, Estimator], need: str) -> bool:
    return any(getattr(estimator, need) for estimator in chosen.values())
