"""Schedules: factors of learning rates, and numbers of acting, by the share of a run that is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
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


Schedule: TypeAlias = "float | tuple[float, float] | Callable[[float], float]"
"""A number; a pair, from one to another linearly; or a function of the share of the run that is done, in [0, 1]."""


def as_values(given: object) -> object:
    """Returns a schedule as it is used: texts, as a command line has them, as their one or two numbers."""
    parts = given.split(",") if isinstance(given, str) else given
    try:
        numbers = tuple(float(part) for part in parts) if isinstance(parts, list | tuple) else given
    except (TypeError, ValueError):
        return given
    return numbers[0] if isinstance(numbers, tuple) and len(numbers) == 1 else numbers


def check_values(name: str, most: float, schedule: object) -> None:
    """Checks that the numbers of a schedule are in [0, most]; those of a function are checked when they come.

    Raises:
        TypeError: For something else than numbers or a function.
        ValueError: For a number out of range.
    """
    numbers = schedule if isinstance(schedule, tuple) and len(schedule) == 2 else (schedule,)
    for number in () if callable(schedule) else numbers:
        if isinstance(number, bool) or not isinstance(number, Real):
            raise TypeError(
                f"{name} must be a number, a pair such as (0.3, 0.1), from one to the other over the run, or "
                f"a function of the share of the run that is done, got {schedule!r:.100}"
            )
        if not 0.0 <= float(number) <= most or math.isinf(number):
            raise ValueError(f"{name} must be in [0, {most}{')' if math.isinf(most) else ']'}, got {number}")


def value_at(name: str, schedule: Schedule, done: float) -> float:
    """Returns the number of a schedule at a share of the run, in [0, 1].

    Raises:
        TrainingError: If a function gives none that is finite and at least 0.
    """
    if isinstance(schedule, tuple):
        return schedule[0] + (schedule[1] - schedule[0]) * done
    value = float(schedule(done)) if callable(schedule) else schedule
    if not 0.0 <= value < math.inf:
        raise TrainingError(
            f"{name} gave {value} at {done:.0%} of the run; return a finite number of at least 0"
        )
    return value


def largest(schedule: Schedule) -> float:
    """Returns the largest number of a schedule; 1 for a function, which says nothing of it."""
    return max(schedule) if isinstance(schedule, tuple) else 1.0 if callable(schedule) else schedule


def schedule_text(schedule: Schedule) -> float | str:
    """Returns what files keep of a schedule."""
    if isinstance(schedule, tuple):
        return ",".join(map(str, schedule))
    return schedule_name(schedule) if callable(schedule) else schedule
