"""Logged bandits: contexts, actions, rewards and propensities as flat columns of an NPZ file, or of NPY files
in a folder, one row an episode.

Row t holds the context, the action taken on it and the reward that the action earned (SAR), after which its episode
ended. The names are those of the Open Bandit Pipeline's feedback, and others in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from offlinekit.datasets.formats.array_files import names_in, read_arrays
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space
from offlinekit.datasets.validation import as_vector, check_columns
from offlinekit.errors import DatasetError, DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array

CONTEXT = ("context", "contexts")
ACTION = ("action", "actions")
REWARD = ("reward", "rewards")
PROPENSITY = ("pscore", "propensity", "propensities", "propensity_score")
POSITION = "position"


def read(path: Path, *, action_space: Space | None = None) -> Columns:
    """Reads a file of logged rounds; `position`, the place in a list of actions, is kept in the extras.

    Args:
        path: The file or folder, with `context` [N, D], `action` [N], `reward` [N] and `pscore` [N], the probabilities
            with which the actions were chosen.
        action_space: gymnasium Discrete, else taken from the actions.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For propensities that are not positive, and data that cannot be a dataset.
    """
    names = names_in(path)
    keys = {kind: _named(names, kind) or kind[0] for kind in (CONTEXT, ACTION, REWARD, PROPENSITY)}
    more = [POSITION] if POSITION in names else []
    arrays = read_arrays(path, [*keys.values(), *more])
    check_columns(arrays, keys[REWARD])
    warn_of_rounds()
    return {
        "observations": arrays[keys[CONTEXT]],
        "actions": arrays[keys[ACTION]],
        "rewards": arrays[keys[REWARD]],
        "terminals": np.ones(len(arrays[keys[REWARD]]), np.bool_),
        "behavior_log_probs": log_propensities(arrays[keys[PROPENSITY]], keys[PROPENSITY]),
        "action_space": action_space,
        "extras": {name: arrays[name] for name in more},
        "name": path.stem,
    }


def warn_of_rounds() -> None:
    """Warns that each row is taken for an episode of its own."""
    warn_caller(
        "propensities, and nothing that says episode, time or end: a logged bandit, each row is an episode of its own; "
        "name the column of episodes if rows follow one another",
        DatasetWarning,
    )


def log_propensities(values: Array, name: str) -> Array:
    """Returns the logarithms, float32 [N], of probabilities or densities.

    Raises:
        DatasetError: For a number that is not positive; names the first row.
    """
    probabilities = as_vector(values, name).astype(np.float64)
    wrong = ~(probabilities > 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(f"column {name!r} must be positive, got {probabilities[row]} at row {row}")
    return np.log(probabilities).astype(np.float32)


def _named(names: Sequence[str], kind: Sequence[str]) -> str | None:
    return next((name for name in kind if name in names), None)


def recognises(path: Path) -> bool:
    """Returns whether an NPZ file has contexts and propensities."""
    names = names_in(path)
    return all(_named(names, kind) for kind in (CONTEXT, ACTION, REWARD, PROPENSITY))


SOURCE = Source(
    summary="Rounds of a logged bandit, with propensities.",
    suffixes=(".npz",),
    folders="*.npy, one array a file",
    recognises=recognises,
    keys=(*CONTEXT, *ACTION, *REWARD, *PROPENSITY, POSITION),
    read=read,
)
