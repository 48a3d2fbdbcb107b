"""The estimators by name, and what each needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from offlinekit.errors import UnanswerableError, UnsupportedError, did_you_mean
from offlinekit.metrics.ope import dice, doubly_robust, importance, traces
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.dice import Flow
from offlinekit.metrics.ope.estimands import Reach
from offlinekit.metrics.ope.flow_features import FlowMaker
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.magic import magic
from offlinekit.metrics.ope.simulation import Simulation

NO_DYNAMICS = (
    "model_based needs learned dynamics; give dynamics=fitted_dynamics(dataset) of offlinekit.algos.dynamics, "
    "or choose another estimator"
)


@dataclass(frozen=True)
class Inputs:
    """Inputs of the estimators: one dataset and one policy.

    Attributes:
        logged: Padded episodes.
        flows: Makes the flows of marginalised importance sampling.
        clip: Largest cumulative weight, or None.
        threshold: Of SWITCH.
        decay: The lambda of the traces.
        all_end: Whether every episode ends with a terminal.
        seed: Of resamples.
        simulate: Rolls the policy out in learned dynamics, or None without any.
    """

    logged: Logged
    flows: FlowMaker
    clip: float | None = None
    threshold: float = 10.0
    decay: float = 1.0
    all_end: bool = False
    seed: int = 0
    simulate: Callable[[], Simulation] | None = None

    @cached_property
    def simulation(self) -> Simulation:
        """Returns of the policy in learned dynamics.

        Raises:
            UnsupportedError: Without any.
        """
        if self.simulate is None:
            raise UnsupportedError(NO_DYNAMICS)
        return self.simulate()

    @cached_property
    def pairs(self) -> Flow:
        """The flow over pairs of state and action."""
        return self.flows.of_pairs()

    @cached_property
    def states(self) -> Flow:
        """The flow over states."""
        return self.flows.of_states(self.logged.ratios[self.logged.mask])


@dataclass(frozen=True)
class Estimator:
    """One estimator.

    Attributes:
        run: Inputs to contributions.
        needs_weights: Whether it weights by probabilities of the logged actions.
        needs_model: Whether it needs q and v.
        needs_flow: Whether it needs features of states, and looks beyond timeouts.
        trusts_model: Whether it leaves so much to what was fitted that an interval over episodes, which takes the
            fit as given, is too narrow (docs/ope.md has the figures).
        needs_dynamics: Whether it needs learned models of one step.
        reach: How far it looks, from which its estimand follows.
    """

    run: Callable[[Inputs], Contributions]
    needs_weights: bool = True
    needs_model: bool = False
    needs_flow: bool = False
    trusts_model: bool = False
    needs_dynamics: bool = False
    reach: Reach = "rows"

    @property
    def multiplies_weights(self) -> bool:
        """Whether it weights by products of ratios along an episode."""
        return self.needs_weights and not self.needs_flow

    @property
    def relies_on_model(self) -> bool:
        """Whether it leaves errors of the model uncorrected, all or some."""
        return self.needs_model and self.reach in ("model", "mixed")

    @property
    def looks_beyond(self) -> bool:
        """Whether it looks beyond the cuts of recordings, whatever stands there."""
        return self.reach in ("model", "flow")


def _dice(name: str) -> Callable[[Inputs], Contributions]:
    def run(inputs: Inputs) -> Contributions:
        gamma = inputs.logged.gamma
        flow = inputs.states if name == "marginalised" else inputs.pairs
        member = dice.FAMILY["dual_dice" if name == "marginalised" else name]
        endless = gamma < 1 and not inputs.flows.dataset.terminals.any()
        if gamma == 1 and not inputs.all_end:
            raise UnanswerableError(
                f"{name} looks beyond timeouts, so gamma must be below 1 where episodes are cut off"
            )
        return dice.marginalised(flow, gamma, replace(member, normalise=member.normalise and endless))

    return run


def _weighted(function: Callable[[Logged, float | None], Contributions]) -> Estimator:
    return Estimator(lambda i: function(i.logged, i.clip))


def _corrected(run: Callable[[Inputs], Contributions]) -> Estimator:
    return Estimator(run, needs_model=True, reach="corrected")


def _mixed(run: Callable[[Inputs], Contributions], trusts_model: bool = True) -> Estimator:
    return Estimator(run, needs_model=True, trusts_model=trusts_model, reach="mixed")


ESTIMATORS: dict[str, Estimator] = {
    "is": _weighted(importance.importance_sampling),
    "pdis": _weighted(importance.per_decision_importance_sampling),
    "wis": _weighted(importance.weighted_importance_sampling),
    "wpdis": _weighted(importance.weighted_per_decision_importance_sampling),
    "direct": Estimator(
        lambda i: doubly_robust.direct_method(i.logged),
        needs_weights=False,
        needs_model=True,
        trusts_model=True,
        reach="model",
    ),
    "dr": _corrected(lambda i: doubly_robust.doubly_robust(i.logged, i.clip)),
    "wdr": _corrected(lambda i: doubly_robust.weighted_doubly_robust(i.logged, i.clip)),
    "magic": _mixed(lambda i: magic(i.logged, i.clip, i.seed)),
    "switch": _mixed(lambda i: doubly_robust.switch(i.logged, i.threshold), trusts_model=False),
    "retrace": _mixed(lambda i: traces.traced(i.logged, "retrace", i.decay)),
    "tree_backup": _mixed(lambda i: traces.traced(i.logged, "tree_backup", i.decay)),
    "q_lambda": _mixed(lambda i: traces.traced(i.logged, "q_lambda", i.decay), trusts_model=False),
    "marginalised": Estimator(_dice("marginalised"), needs_flow=True, reach="flow"),
    **{
        name: Estimator(_dice(name), needs_weights=False, needs_flow=True, trusts_model=True, reach="flow")
        for name in dice.FAMILY
    },
    "model_based": Estimator(
        lambda i: Contributions.plain(i.simulation.returns),
        needs_weights=False,
        needs_dynamics=True,
        reach="rollout",
    ),
}
"""Name to estimator, in the order of tables."""


def get_estimator(name: str) -> Estimator:
    """Returns an estimator by its name.

    Raises:
        ValueError: For an unknown name; suggests the nearest.
    """
    if name not in ESTIMATORS:
        hint = did_you_mean(name, ESTIMATORS) or f"; known: {', '.join(ESTIMATORS)}"
        raise ValueError(f"Unrecognized estimator: {name!r}{hint}")
    return ESTIMATORS[name]


def check_arguments(
    names: Sequence[str] | None, clip: float | None, switch_threshold: float, n_samples: int
) -> None:
    """Refuses arguments by which no estimator has a value.

    Raises:
        TypeError: For names that are one text.
        ValueError: For no names or unknown ones, and numbers out of range.
    """
    if isinstance(names, str):
        raise TypeError(f"estimators must be a list of names such as [{names!r}], got one text")
    if names is not None and not len(names):
        raise ValueError("estimators=[] names none; give some of ESTIMATORS, or None for all that apply")
    for name in names or ():
        get_estimator(name)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, or None for no limit of the weights, got {clip}")
    if not switch_threshold >= 0:
        raise ValueError(f"switch_threshold must be at least 0, got {switch_threshold}")
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
