"""LeRobot: folders of `meta/info.json` and `data/**/*.parquet`, as its v2 and v3 lay them out.

Row t holds the observation, the action taken on it and, if it was recorded, the reward that the action
earned as `next.reward` (SAR). The observation after an episode's last row was not recorded. Videos are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offlinekit.datasets.editing.ordering import in_order
from offlinekit.datasets.families.done_flags import warn_of_no_rewards
from offlinekit.datasets.formats.arrow import joined, numbers_of, read_parquet
from offlinekit.datasets.formats.json_files import read_object
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags
from offlinekit.errors import DatasetError, FileFormatError, did_you_mean
from offlinekit.types import Array

NUMBERS = ("float32", "float64", "int64", "int32", "bool", "uint8")
ORDER = ("episode_index", "frame_index")


def read(
    path: Path,
    *,
    observations: str | Sequence[str] | None = None,
    action: str = "action",
    reward: str | None = None,
    terminal: str | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a dataset folder of LeRobot.

    Args:
        path: The folder.
        observations: Its feature, or several, which then are a dict; by default all numeric ones whose names begin
            with "observation.".
        action: Its feature.
        reward: Its feature; by default "next.reward"; 0, with a warning, if the dataset has none.
        terminal: The feature that is set where the MDP ended, such as "next.success". By default none is:
            "next.done" is set at each end of a recording and says no more than that.
        action_space: gymnasium Box, else unbounded.
        clip_actions: Whether to clip actions into action_space.

    Raises:
        MissingExtraError: If pyarrow is not installed.
        FileFormatError: For a damaged dataset or one of another layout.
        DatasetError: For features that are not there, and data that cannot be a dataset.
    """
    facts = _facts(path)
    features = {name: row for name, row in facts["features"].items() if row.get("dtype") in NUMBERS}
    names = _observations(features, observations)
    reward = reward or ("next.reward" if "next.reward" in features else None)
    wanted = [*names, action, *filter(None, (reward, terminal))]
    for name in wanted:
        if name not in features:
            hint = did_you_mean(name, features)
            raise DatasetError(f"the dataset has no feature {name!r}{hint}; it has {', '.join(features)}")
    has_task = "task_index" in features
    columns = _columns(path, [*dict.fromkeys([*wanted, *ORDER, *(["task_index"] if has_task else [])])])
    _check_totals(facts, columns, path)
    fix = (
        "recordings that were put together are both numbered from 0: read each alone, and join them by concat"
    )
    order, last = in_order(columns["episode_index"], columns["frame_index"], "frame_index", fix)
    columns = {name: column[order] for name, column in columns.items()}
    if reward is None:
        warn_of_no_rewards("feature 'next.reward'", "name another by reward=, or learn by imitation alone")
    parts = {name: _vectors(columns[name]) for name in names}
    return {
        "observations": parts if len(names) > 1 else parts[names[0]],
        "actions": clip(_vectors(columns[action]), action_space)
        if clip_actions
        else _vectors(columns[action]),
        "rewards": np.zeros(len(order), np.float32) if reward is None else columns[reward],
        "terminals": np.zeros(len(order), np.bool_)
        if terminal is None
        else as_flags(columns[terminal], f"feature {terminal!r}") & last,
        "episode_terminals": last,
        "action_space": action_space,
        "extras": {"task_index": columns["task_index"]} if has_task else {},
        "name": path.name,
        "metadata": {"lerobot": {key: facts.get(key) for key in ("codebase_version", "robot_type", "fps")}},
    }


def _facts(path: Path) -> dict[str, Any]:
    facts = read_object(path / "meta" / "info.json")
    version, features = str(facts.get("codebase_version")), facts.get("features")
    if not isinstance(features, dict) or not all(isinstance(row, dict) for row in features.values()):
        raise FileFormatError(f"{path / 'meta' / 'info.json'} has no features by name; fetch it again")
    if not version.startswith(("v2", "v3")):
        raise FileFormatError(f"{path} has version {version} of LeRobot, expected v2 or v3; convert it there")
    return facts


def _observations(features: dict[str, Any], named: str | Sequence[str] | None) -> list[str]:
    if named is not None:
        return [named] if isinstance(named, str) else list(named)
    observations = [name for name in features if name.startswith("observation.")]
    if not observations:
        raise DatasetError(
            f"no numeric feature begins with 'observation.'; name some of {', '.join(features)} by observations="
        )
    return observations


def _columns(path: Path, names: Sequence[str]) -> dict[str, Array]:
    files = sorted((path / "data").glob("**/*.parquet"))
    if not files:
        raise FileFormatError(f"{path / 'data'} holds no Parquet file; was it fetched completely?")
    table = joined(read_parquet(file, names) for file in files)
    if not len(table):
        raise FileFormatError(f"{path / 'data'} holds tables without a row; was it fetched completely?")
    return {name: numbers_of(table[name].combine_chunks(), f"{name!r} in {path}") for name in names}


def _check_totals(facts: dict[str, Any], columns: dict[str, Array], path: Path) -> None:
    """Raises FileFormatError unless there are as many rows and episodes as the dataset states, if it does."""
    totals = {
        "total_frames": len(columns["frame_index"]),
        "total_episodes": len(np.unique(columns["episode_index"])),
    }
    for name, n in totals.items():
        if facts.get(name, n) != n:
            raise FileFormatError(
                f"{path} states {name} {facts[name]}, but its tables hold {n}; was it fetched completely?"
            )


def _vectors(column: Array) -> Array:
    return column[:, None] if column.ndim == 1 and column.dtype.kind == "f" else column


def recognises(path: Path) -> bool:
    """Returns whether a folder has the layout of LeRobot."""
    return (path / "meta" / "info.json").is_file() and (path / "data").is_dir()


SOURCE = Source(
    summary="State and action columns of a dataset of LeRobot, v2 or v3.",
    folders="a dataset of LeRobot: meta/info.json and data/**/*.parquet",
    recognises=recognises,
    read=read,
)
