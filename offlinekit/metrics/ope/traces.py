"""Corrections that cut the weights: Retrace, Tree-backup and Q(lambda)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.logged import Floats, Logged

TraceName = Literal["retrace", "tree_backup", "q_lambda", "importance"]


def trace_coefficients(logged: Logged, name: str, decay: float = 1.0) -> Floats:
    """Returns the factor c_t [E, T] by which a trace goes on at each logged action.

    retrace: decay * min(1, ratio); tree_backup: decay * target probability; q_lambda: decay; importance:
    decay * ratio. Source: Munos et al. 2016, arXiv:1606.02647, section 2 and table 1.

    Raises:
        ValueError: For another name, or a decay outside [0, 1].
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be in [0, 1], got {decay}")
    if name == "retrace":
        return np.asarray(decay * np.minimum(1.0, logged.ratios))
    if name == "tree_backup":
        return np.where(logged.mask, decay * np.exp(logged.target_log_probs), decay)
    if name == "q_lambda":
        return np.full(logged.mask.shape, decay)
    if name == "importance":
        return np.asarray(decay * logged.ratios)
    raise ValueError(f"a trace must be retrace, tree_backup, q_lambda or importance, got {name!r}")


def traced(logged: Logged, name: str, decay: float = 1.0) -> Contributions:
    """Returns v(s_0) + sum_t gamma^t (c_0 ... c_t) td_error_t: one application of the operator at each start.

    With "importance" and decay 1 it is doubly robust. The others keep the traces at 1 or below and with them
    the variance; what they cut is left to the model. Tree-backup of continuous actions is refused: densities
    are no probabilities. Source: Munos et al. 2016, eq. (3), its first factor included because the value of a
    state, not of its action, is needed.

    Args:
        logged: With a model.
        name: As for `trace_coefficients`.
        decay: The lambda of the papers.

    Raises:
        ValueError: For a trace above 1 by densities, or what `trace_coefficients` refuses.
    """
    factors = trace_coefficients(logged, name, decay)
    if name == "tree_backup" and factors.max() > 1 + 1e-6:
        raise ValueError("tree_backup needs probabilities of discrete actions, got densities; use retrace")
    traces = np.cumprod(factors, axis=1)
    return Contributions.plain(logged.start_values + (traces * logged.td_errors) @ logged.discounts)


def traced_table(
    logged: Logged,
    states: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    policy: Floats,
    name: str,
    decay: float = 1.0,
    *,
    tolerance: float = 1e-8,
    max_rounds: int = 1_000,
) -> Floats:
    """Returns q [S, A], the fixed point of the traced operator on the data, averaged over visits of each pair.

    Pairs without a visit keep 0. With decay 0 it is the value in the counted model; longer traces need fewer
    rounds and lean on the data's returns. Source: Munos et al. 2016, eq. (3).

    Args:
        logged: Episodes; their own q and v are not read.
        states, actions: [E, T], whole numbers; anything behind the ends.
        policy: Target probabilities [S, A].
        name: As for `trace_coefficients`.
        decay: The lambda of the papers.
        tolerance: Largest change of a round at which it stops.
        max_rounds: Rounds after which it gives up.

    Raises:
        ValueError: If the rounds do not converge, as Q(lambda) may not far from the behaviour.
    """
    factors, mask = trace_coefficients(logged, name, decay), logged.mask
    pairs = states[mask] * policy.shape[1] + actions[mask]
    visits = np.bincount(pairs, minlength=policy.size)
    q = np.zeros(policy.shape)
    for _ in range(max_rounds):
        taken = np.where(mask, q[states, actions], 0.0)
        errors = replace(logged, q=taken, v=np.where(mask, (policy * q).sum(1)[states], 0.0)).td_errors
        ahead, targets = np.zeros(len(mask)), taken
        for t in reversed(range(mask.shape[1])):
            ahead = errors[:, t] + ahead
            targets[:, t] += ahead
            ahead = logged.gamma * factors[:, t] * ahead
        improved = np.bincount(pairs, targets[mask], policy.size) / np.maximum(visits, 1)
        change = np.abs(improved - q.reshape(-1)).max()
        q = improved.reshape(policy.shape)
        if change < tolerance:
            return q
    raise ValueError(
        f"{name} with decay {decay} did not converge in {max_rounds} rounds; use a smaller decay"
    )
