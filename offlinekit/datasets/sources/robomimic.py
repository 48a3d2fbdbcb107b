"""robomimic: HDF5 files of demonstrations, `data/demo_0`, `data/demo_1`, ...

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). `dones` are the ends
that robomimic learns from; what they mean was chosen when the observations were extracted (its `done_mode`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.formats.images import channels_first
from offlinekit.datasets.formats.json_files import parse
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError, did_you_mean
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, ArrayTree, map_tree, rows

if TYPE_CHECKING:
    import h5py

NEEDED = ("obs", "actions", "rewards", "dones")
DEMO = re.compile(r"demo_(\d+)")


def read(
    path: Path,
    *,
    observations: str | Sequence[str] | None = None,
    split: str | None = None,
    terminals: bool = True,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of demonstrations; images [T, H, W, C] become [T, C, H, W], the simulator's `states` are extras.

    Args:
        path: The HDF5 file.
        observations: A key below `obs`, or several, which then are a dict; by default all.
        split: A filter key below `mask`, such as "train" or "valid"; None reads every demonstration.
        terminals: Whether `dones` at the end of a demonstration is an end of the MDP; False where it only says that the
            recording ended.
        action_space: gymnasium Box, else unbounded.
        clip_actions: Whether to clip actions into action_space.

    Raises:
        FileFormatError: For a damaged file or one of another layout.
        DatasetError: For a split or key that is not there, and data that cannot be a dataset.
    """
    with hdf5.open_hdf5(path) as file:
        data = hdf5.member(file, "data")
        names = _demos(data) if split is None else _of_split(file, split, _demos(data))
        parts = [_demo(hdf5.member(data, name), observations) for name in names]
        facts = _facts(data)
    lengths = np.array([len(part["rewards"]) for part in parts])
    ends = np.cumsum(lengths) - 1
    last = np.zeros(int(lengths.sum()), np.bool_)
    last[ends] = True
    columns: dict[str, Any] = {
        name: join([part[name] for part in parts], name)
        for name in parts[0]
        if name not in ("next", "states")
    }
    dones = columns.pop("dones")
    _warn_of_early(dones & ~last)
    if all(part["next"] is not None for part in parts):
        columns["final_observations"] = join(
            [rows(part["next"], slice(-1, None)) for part in parts], "next_obs"
        )
    states = [part["states"] for part in parts if part["states"] is not None]
    if clip_actions:
        columns["actions"] = clip(columns["actions"], action_space)
    return {
        **columns,
        "terminals": dones & last & terminals,
        "episode_terminals": last,
        "action_space": action_space,
        "extras": {"states": join(states, "states")} if len(states) == len(parts) else {},
        "name": path.stem,
        "metadata": {"robomimic": facts},
    }


def _demos(data: h5py.Group) -> list[str]:
    """Returns the demonstrations in the order of their numbers."""
    numbered = [(int(match[1]), name) for name in data if (match := DEMO.fullmatch(name))]
    if not numbered:
        raise FileFormatError(f"{hdf5.where(data)} has no demo_0, demo_1, ...; is it another format?")
    return [name for _, name in sorted(numbered)]


def _of_split(file: h5py.File, split: str, known: list[str]) -> list[str]:
    masks = hdf5.member(file, "mask") if "mask" in file else {}
    if split not in masks:
        hint = did_you_mean(split, list(masks))
        raise DatasetError(f"the file has no split {split!r}{hint}; it has {', '.join(masks) or 'none'}")
    named = [bytes(name).decode() for name in hdf5.read_array(masks, split, kinds="S")]
    strangers = sorted(set(named) - set(known))
    if strangers:
        raise FileFormatError(
            f"split {split!r} names {strangers[0]!r}, which is no demonstration of the file"
        )
    return [name for name in known if name in set(named)]


def _demo(group: h5py.Group, wanted: str | Sequence[str] | None) -> dict[str, Any]:
    missing = [name for name in NEEDED if name not in group]
    if missing:
        raise FileFormatError(
            f"{hdf5.where(group)} has no {', '.join(missing)}; extract them by robomimic's dataset_states_to_obs.py"
        )
    columns: dict[str, Any] = {name: hdf5.read_array(group, name) for name in NEEDED[1:]}
    columns["observations"] = _seen(hdf5.member(group, "obs"), wanted)
    columns["next"] = _seen(hdf5.member(group, "next_obs"), wanted) if "next_obs" in group else None
    columns["states"] = hdf5.read_array(group, "states") if "states" in group else None
    check_columns({name: tree for name, tree in columns.items() if tree is not None}, "rewards")
    return {**columns, "dones": as_flags(columns["dones"], "dones")}


def _seen(group: h5py.Group, wanted: str | Sequence[str] | None) -> ArrayTree:
    """Returns the observations of a demonstration, a dict unless one key is named."""
    keys = hdf5.keys_of(group) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for key in keys:
        if key not in group:
            known = hdf5.keys_of(group)
            hint = did_you_mean(key, known)
            raise DatasetError(f"the file has no observation {key!r}{hint}; it has {', '.join(known)}")
    observations = {key: map_tree(_with_features, hdf5.read_array(group, key)) for key in keys}
    return observations[wanted] if isinstance(wanted, str) else observations


def _with_features(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else channels_first(array)


def _warn_of_early(early: Array) -> None:
    if early.any():
        warn_caller(
            f"'dones' is set at {int(early.sum())} rows before the end of their demonstration, the first of them row "
            f"{int(np.argmax(early))}, as where success lasts; only the last row of each ends it",
            DatasetWarning,
        )


def _facts(data: h5py.Group) -> object:
    """Returns the environment that the file states, plain data."""
    text = hdf5.text_attribute(data, "env_args")
    try:
        return {} if text is None else parse(text)
    except ValueError:
        return {}


def recognises(path: Path) -> bool:
    """Returns whether an HDF5 file holds demonstrations of robomimic."""
    with hdf5.open_hdf5(path) as file:
        data = hdf5.member(file, "data") if file.get("data", getclass=True) is not None else {}
        return any(DEMO.fullmatch(name) for name in data)


SOURCE = Source(
    summary="Demonstrations of robomimic.", suffixes=(".hdf5", ".h5"), recognises=recognises, read=read
)
