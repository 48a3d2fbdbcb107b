"""Checks of learned values: an alarm for those that leave what the rewards allow, and whether they have settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.envs.frame_stacking import observations_at
from offlinekit.errors import UnsupportedError
from offlinekit.events import get_logger
from offlinekit.sampling.n_step import returns_to_go
from offlinekit.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

log = get_logger()

N_ROWS = 256
"""Rows whose values are looked at."""

MARGIN = 0.5
"""How far beyond what is possible values may lie, as a share of its range."""

EXTREMES = (0.01, 0.99)
"""Quantiles of the rewards that could be earned for ever; what lies beyond them is earned now and then."""


ADVICE = "train the fits longer (n_steps)"
LATE = 0.6  # Share of the updates after which values are noted, for their trend.
MOST_DRIFT = 1.0  # Standard errors that a value may move in the last two fifths of its updates.


class ValueAlarm:
    """Checks the mean value estimate of a few observations of the data, without a change to the algorithm.

    Args:
        algo: Estimates values.
        dataset: What it learns from.
        stops: Whether the run ends if it triggers.
    """

    def __init__(self, algo: Algo, dataset: MDPDataset, stops: bool = False) -> None:
        self.algo, self.dataset, self.stops = algo, dataset, stops
        index = np.unique(np.linspace(0, len(dataset) - 1, N_ROWS).astype(np.int64))
        self.observations = observations_at(algo, dataset, index)

    @cached_property
    def possible(self) -> tuple[float, float]:
        """The bounds of `value_bounds`, in units of the scaled reward; they take a pass over the data."""
        return value_bounds(self.algo, self.dataset)

    def update(self, history: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
        """Returns `value_estimate`, and 1 or 0 as `value_diverged`; logs a warning the first time that it is 1.

        Args:
            history: The rows of the run so far.
            step: Updates taken.
        """
        try:
            with undisturbed(self.algo):
                estimate = float(np.mean(self.algo.predict_value(self.observations), dtype=np.float64))
        except UnsupportedError:  # An impl that claims values and has none.
            return {}
        low, high = self.possible
        diverged = not low <= estimate <= high
        if diverged and not self.triggered(history):
            log.warning(
                "value estimates diverge",
                step=step,
                estimate=round(estimate, 3),
                possible=(round(low, 3), round(high, 3)),
                remedy="stay closer to the data (another algorithm, a stronger constraint), lower the learning "
                "rate or slow the target down; value_alarm='off' silences this",
            )
        return {"value_estimate": estimate, "value_diverged": float(diverged)}

    def triggered(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Returns whether values were out of bounds in a row of the history."""
        return any(row.get("value_diverged") for row in history)


def value_alarm(algo: Algo, dataset: MDPDataset, action: str) -> ValueAlarm | None:
    """Returns the alarm of a run.

    Args:
        algo: What learns.
        dataset: What it learns from.
        action: "warn", "stop" or "off".

    Returns:
        None for "off", and if there are no values of single observations.
    """
    if action == "off" or not algo.has_value or getattr(algo, "is_stateful", False):
        return None
    return ValueAlarm(algo, dataset, stops=action == "stop")


def value_bounds(algo: Algo, dataset: MDPDataset) -> tuple[float, float]:
    """Returns the lowest and the highest value that the rewards of a dataset make possible, with a margin.

    These are the returns to go of the data, 0, and what the lowest and highest rewards would give for ever,
    r / (1 - gamma), r the 1% and 99% quantiles of the rewards of steps that did not end the MDP (for as many
    steps as the longest episode has if gamma is 1). Half of the range is added at both ends.
    """
    scaler = algo.scaling.reward
    rewards = dataset.rewards if scaler is None else scaler.transform(dataset.rewards)
    lasting = rewards[~dataset.terminals]
    steady = np.quantile(lasting, EXTREMES) if len(lasting) else np.zeros(2)
    horizon = 1.0 / (1.0 - algo.gamma) if algo.gamma < 1.0 else float(dataset.episode_lengths().max())
    returns = returns_to_go(dataset, rewards, algo.gamma)
    low = min(0.0, float(steady[0] * horizon), float(returns.min()))
    high = max(0.0, float(steady[1] * horizon), float(returns.max()))
    margin = MARGIN * (high - low or 1.0)
    return low - margin, high + margin


def too_few_updates(taken: int, needed: int, gamma: float, tau: float) -> str:
    """Returns that a fit took fewer updates than values need to settle; empty if it took enough."""
    if taken >= needed:
        return ""
    return f"the fit took {taken:,} updates of the {needed:,} that gamma={gamma:g} and tau={tau:g} need: {ADVICE}"


def still_moving(before: float, after: float, error: float, share: float = 0.01) -> str:
    """Returns that a value moved too much between three fifths and all of the updates; empty if it had settled.

    Args:
        before: The value after three fifths of the updates.
        after: The value after all.
        error: Its standard error.
        share: Of the value that it may move, however small the error.
    """
    if abs(after - before) <= max(MOST_DRIFT * error, share * abs(after)):
        return ""
    return f"the fit still moves, from {before:.4g} to {after:.4g} with a standard error of {error:.2g}: {ADVICE}"
