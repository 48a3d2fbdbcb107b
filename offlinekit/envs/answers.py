"""What an environment may return from `reset` and `step`."""

from __future__ import annotations

import numpy as np

from offlinekit.types import ArrayTree, leaves

REMEDY = "return (observation, reward, terminated, truncated, info) from step, with a float and two bools"


def checked_reset(answer: object) -> ArrayTree:
    """Returns the observation that a reset began with.

    Raises:
        ValueError: For anything but a pair.
    """
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
        observation: ArrayTree = answer[0]
        return observation
    raise ValueError(
        f"reset of the environment returned {_named(answer)}, expected a pair (observation, info) with a dict as "
        "info; return (observation, {})"
    )


def checked_step(answer: object, step: int) -> tuple[ArrayTree, float, bool, bool]:
    """Returns what a step gave: observation, reward, terminated, truncated.

    Args:
        answer: Of the environment.
        step: Steps of the episode before this one.

    Raises:
        ValueError: For another number of values, and for a reward or an end of an episode that is no number.
    """
    if not isinstance(answer, tuple) or len(answer) != 5:
        raise ValueError(
            f"step of the environment returned {_named(answer)}, expected a tuple of 5 values; {REMEDY}"
        )
    observation, reward, terminated, truncated, _ = answer
    return (
        observation,
        reward if type(reward) is float else _number("reward", reward, step),
        bool(terminated if type(terminated) is bool else _number("terminated", terminated, step)),
        bool(truncated if type(truncated) is bool else _number("truncated", truncated, step)),
    )


def not_finite(observation: ArrayTree) -> float | None:
    """Returns the first number of an observation that is NaN or infinite; None if there is none."""
    for leaf in leaves(observation):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            return float(leaf[~np.isfinite(leaf)][0])
    return None


def _number(name: str, value: object, step: int) -> float:
    """Returns the one number in a value."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} of the environment's step {step} is {value!r}, expected a number; {REMEDY}")
    return float(array.reshape(()))


def _named(answer: object) -> str:
    return f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
