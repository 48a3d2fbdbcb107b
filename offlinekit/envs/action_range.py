"""Whether a policy and an environment mean the same range of actions."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.errors import DatasetWarning
from offlinekit.types import Array


def warn_of_other_range(acts: spaces.Space[Any], env: gymnasium.Env[Any, Any], stacklevel: int = 2) -> None:
    """Warns if an environment takes actions of another range than a policy or its data have.

    Args:
        acts: Space of the policy's actions; one without bounds says nothing of a range.
        env: To act in.
        stacklevel: Of the warning.
    """
    takes = env.action_space
    if not (isinstance(acts, spaces.Box) and isinstance(takes, spaces.Box)) or acts.shape != takes.shape:
        return
    if acts.is_bounded() and takes.is_bounded() and not same_range(acts, takes):
        warnings.warn(
            f"the environment takes actions from {_range(takes)}, those of the policy and its data are from "
            f"{_range(acts)}; if they are scaled, wrap it: "
            f"gymnasium.wrappers.RescaleAction(env, {_bound(acts.low)}, {_bound(acts.high)})",
            DatasetWarning,
            stacklevel=stacklevel + 1,
        )


def same_range(first: spaces.Box, second: spaces.Box) -> bool:
    """Returns whether two spaces of one shape have the same bounds, rounding aside."""
    return bool(np.allclose(first.low, second.low) and np.allclose(first.high, second.high))


def _range(space: spaces.Box) -> str:
    return f"{_bound(space.low)} to {_bound(space.high)}"


def _bound(bound: Array) -> str:
    """Returns a bound, as one number if it has only one."""
    return f"{bound.flat[0]:g}" if np.all(bound == bound.flat[0]) else str(bound.tolist())
