"""Schedules of learning rates: factors by the share of a run that is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from offlinekit.errors import TrainingError, did_you_mean

LearningRateSchedule: TypeAlias = "str | Callable[[float], float]"
"""A name of `SCHEDULES`, or a function of the share of the run that is done, in [0, 1], to a factor of the rate."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "linear": lambda done: 1.0 - done,
}
OF_A_FILE = "the function "


def factor_at(schedule: LearningRateSchedule, done: float) -> float:
    """Returns what the learning rate is multiplied by.

    Args:
        schedule: As for `check_schedule`.
        done: Share of the run's updates before the present one, 0 at the first.

    Raises:
        TrainingError: If a function gives no finite number, or one below 0.
    """
    function = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    factor = float(function(min(done, 1.0)))
    if not 0.0 <= factor < math.inf:
        raise TrainingError(
            f"lr_schedule gave {factor} at {done:.0%} of the run; return a finite factor of at least 0"
        )
    return factor


def check_schedule(schedule: LearningRateSchedule) -> None:
    """Checks a schedule.

    Raises:
        ValueError: For an unknown name, or what a file keeps of a function.
    """
    if callable(schedule) or schedule in SCHEDULES:
        return
    if str(schedule).startswith(OF_A_FILE):
        raise ValueError(
            f"its lr_schedule was {schedule}, which files cannot hold; give it again, such as "
            "offlinekit.load(path, lr_schedule=...), or 'constant'"
        )
    meant = did_you_mean(str(schedule), SCHEDULES)
    raise ValueError(
        f"lr_schedule must be one of {list(SCHEDULES)}, or a function of the share of the run that is done to a factor "
        f"of the rate, such as lambda done: 1 - done; got {schedule!r}{meant}"
    )


def schedule_name(schedule: Callable[[float], float]) -> str:
    """Returns what files keep of a function."""
    return f"{OF_A_FILE}{getattr(schedule, '__qualname__', type(schedule).__qualname__)}"
