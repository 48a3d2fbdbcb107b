"""Buffers: flat columns in an NPZ or HDF5 file, or NPY files in a folder, under the names that buffers give them.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). Of `dones` or
`not_dones` in place of `terminals`, those that are timeouts, or stand at a step limit, are no terminals; beside
`terminals`, those that are no terminals are timeouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.families.done_flags import without_limit
from offlinekit.datasets.formats.array_files import SUFFIXES, names_in, open_npz, read_arrays
from offlinekit.datasets.formats.hdf5 import open_hdf5
from offlinekit.datasets.inspection.recognition import USUAL
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_length
from offlinekit.errors import DatasetWarning, FileFormatError, did_you_mean
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array

FLAGS = ("terminals", "dones", "not_dones")
"""Of which a file needs one."""
BOUNDS = ("dones", "not_dones", "episode_starts")
"""Which say where episodes end, where neither `timeouts` nor `episode_terminals` do."""
NAMING = (*schema.FLAT, *FLAGS[1:])
"""Options that name keys."""
ADVICE = "; say which is which by options, e.g. observations='obs'"


def read(
    path: Path,
    *,
    observations: str | None = None,
    actions: str | None = None,
    rewards: str | None = None,
    terminals: str | None = None,
    dones: str | None = None,
    not_dones: str | None = None,
    timeouts: str | None = None,
    episode_terminals: str | None = None,
    next_observations: str | None = None,
    legal_actions: str | None = None,
    behavior_log_probs: str | None = None,
    step_limit: int | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a dataset from a file or folder, which holds one array a column.

    Args:
        path: NPZ, HDF5, or a folder of NPY files.
        observations: Key of the column of MDPDataset with this name, or None for a usual one, such as "obs" or
            "states"; the others likewise.
        actions: Key.
        rewards: Key.
        terminals: Key.
        dones: Key of flags that are set at every end of an episode; in place of terminals, or beside them.
        not_dones: Key of flags that are cleared there.
        timeouts: Key.
        episode_terminals: Key.
        next_observations: Key.
        legal_actions: Key.
        behavior_log_probs: Key.
        step_limit: Rows of the longest episode: where `dones` is set at that row it is a timeout.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, objects in it, or a key it lacks.
        DatasetError: For data that cannot be a dataset.
    """
    given = locals()
    names = names_in(path)
    keys = {name: given.get(name) or _usual(names, name) for name in (*NAMING, BOUNDS[-1])}
    flag = next((name for name in FLAGS if given[name]), None) or next(
        (f for f in FLAGS if keys[f]), FLAGS[0]
    )
    bound = None if keys["timeouts"] or keys["episode_terminals"] else _bound(keys, flag)
    wanted = {
        name: key
        for name, key in keys.items()
        if key is not None and name in schema.FLAT and name not in FLAGS
    }
    is_cut = bool(keys["timeouts"] or keys["episode_terminals"])  # So that nothing has to end the MDP.
    flags = [] if is_cut and not keys[flag] else [flag]
    wanted |= {name: keys[name] or name for name in (*schema.REQUIRED[:3], *flags)}
    _check_keys(wanted, names, path)
    bounds = keys[bound] or bound if bound else ""
    arrays = read_arrays(path, filter(None, [*wanted.values(), bounds]))
    columns: dict[str, Any] = {name: arrays[key] for name, key in wanted.items()}
    if not flags:
        if not timeouts and not episode_terminals:
            _warn_of_no_terminals(path, keys)
        columns["terminals"] = np.zeros(len(columns["rewards"]), np.bool_)
    elif flag != "terminals":
        columns |= _ends_of(columns, flag, wanted[flag], step_limit)
        del columns[flag]
    if bound is not None:
        columns["timeouts"] = _cuts(columns, arrays[bounds], bound, bounds)
    if clip_actions:
        columns["actions"] = clip(columns["actions"], action_space)
    return {**columns, "action_space": action_space}


def _warn_of_no_terminals(path: Path, keys: Mapping[str, str | None]) -> None:
    key = keys["timeouts"] or keys["episode_terminals"]
    warn_caller(
        f"{path} has {key}, but no terminals: every end is taken for a timeout, with a future to count; "
        f"name the key of terminals, or pass {'timeouts' if keys['timeouts'] else 'episode_terminals'}={key!r} if "
        "nothing ended the MDP",
        DatasetWarning,
    )


def _bound(keys: Mapping[str, str | None], flag: str) -> str | None:
    """Returns the column that says where episodes end, of those beside the one of terminals."""
    beside = BOUNDS if flag == FLAGS[0] else BOUNDS[-1:]
    return next((name for name in beside if keys[name]), None)


def _cuts(columns: Columns, bounds: Array, bound: str, key: str) -> Array:
    """Returns timeouts [N]: the ends of episodes that are no terminals."""
    terminals, set_at = as_flags(columns["terminals"], "terminals"), as_flags(bounds, key)
    check_length(set_at, key, len(terminals))
    ends = {"dones": set_at, "not_dones": ~set_at, "episode_starts": np.append(set_at[1:], True)}
    return ends[bound] & ~terminals


def _usual(names: Sequence[str], column: str) -> str | None:
    return next((key for key in USUAL[column] if key in names), None)


def _check_keys(wanted: Mapping[str, str], names: Sequence[str], path: Path) -> None:
    if not names and path.is_file():  # Opening it says what is wrong.
        with open_npz(path) if path.suffix.lower() == ".npz" else open_hdf5(path):
            pass
    for key in wanted.values():
        if key not in names:
            hint = did_you_mean(key, names)
            raise FileFormatError(f"{path} has no key {key!r}{hint}; it has {', '.join(names)}{ADVICE}")


def _ends_of(columns: Columns, flag: str, key: str, step_limit: int | None) -> Columns:
    """Returns terminals and the ends of episodes, of flags that are set, or cleared, at every end."""
    done = as_flags(columns[flag], key)
    if flag == "not_dones":
        done = ~done
    if columns.get("timeouts") is not None:
        cut = as_flags(columns["timeouts"], "timeouts")
        check_length(cut, "timeouts", len(done))
        return {"terminals": done & ~cut, "timeouts": cut}
    last = done.copy()
    last[-1:] = True
    terminals = without_limit(done, last, step_limit, key)
    return {"terminals": terminals, "timeouts": last & ~terminals}


def recognises(path: Path) -> bool:
    """Returns whether a file has columns under usual names, flags of ends among them."""
    names = names_in(path)
    return all(_usual(names, name) for name in schema.REQUIRED[:3]) and any(
        _usual(names, name) for name in (*FLAGS, "timeouts", "episode_terminals")
    )


SOURCE = Source(
    summary="A replay buffer as NPZ or HDF5, with terminals, dones or not_dones.",
    suffixes=SUFFIXES,
    folders="*.npy, one array a file",
    recognises=recognises,
    holds_keys=lambda path: bool(names_in(path)),
    is_last_resort=True,
    keys=tuple(key for keys in USUAL.values() for key in keys),
    naming=NAMING,
    read=read,
)
