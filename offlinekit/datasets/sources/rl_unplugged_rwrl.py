"""RL Unplugged: the real-world RL suite, whole episodes in plain TFRecords.

Alignment: row t holds the observation, and the action, reward and discount that led to it (ASR); here these
three are moved up by one row. Names of nested features are joined by ":".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from offlinekit.datasets.families.control_episodes import CONTROL_KEYS, build, part_of
from offlinekit.datasets.families.rl_unplugged_shards import converted, fetch, has_features, shard_name
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space
from offlinekit.errors import did_you_mean

SIZES = ("1_percent", "5_percent", "20_percent", "40_percent", "100_percent")
N_SHARDS = {
    ("none", "cartpole_swingup"): (3, 3, 6, 6, 7),
    ("none", "quadruped_walk"): (3, 3, 4, 7, 10),
    ("none", "walker_walk"): (3, 6, 14, 48, 94),
    ("none", "humanoid_walk"): (9, 123, 125, 344, 391),
    ("easy", "cartpole_swingup"): (2, 3, 8, 8, 14),
    ("easy", "quadruped_walk"): (3, 3, 9, 10, 15),
    ("easy", "walker_walk"): (11, 17, 78, 137, 371),
    ("easy", "humanoid_walk"): (18, 98, 244, 410, 769),
}
"""Shards of each size, by combined challenge and task."""


def load(
    name: str,
    *,
    challenge: str = "none",
    size: str = "1_percent",
    shard: int | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a task by name, downloading what is missing.

    Args:
        name: Such as "rl_unplugged/rwrl/cartpole_swingup".
        challenge: Combined challenge, "none" or "easy".
        size: "1_percent", "5_percent", "20_percent", "40_percent" or "100_percent".
        shard: The only one to read; None reads all.
        clip_actions: Whether to clip actions into [-1, 1].

    Raises:
        ValueError: For an unknown task, challenge, size or shard.
        DownloadError: If a shard is not there and cannot be fetched.
    """
    task = name.rsplit("/", 1)[-1]
    tasks = sorted({task for _, task in N_SHARDS})
    for option, value, known in (
        ("task", task, tasks),
        ("challenge", challenge, ("none", "easy")),
        ("size", size, SIZES),
    ):
        if value not in known:
            raise ValueError(
                f"{option} must be one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}"
            )
    n_shards = N_SHARDS[challenge, task][SIZES.index(size)]
    folder = "/".join(task.split("_"))
    prefix = f"rwrl/combined_challenge_{challenge}/{folder}/{size}/episodes.tfrecord"
    names = [shard_name(prefix, i, n_shards) for i in (range(n_shards) if shard is None else [shard])]
    return _read((fetch(shard) for shard in names), clip_actions, name=name)


def read(path: Path, *, clip_actions: bool = False, action_space: Space | None = None) -> Columns:
    """Reads one shard.

    Args:
        path: The TFRecord file.
        clip_actions: Whether to clip actions into their range.
        action_space: Of the actions; [-1, 1] if not given.

    Raises:
        FileFormatError: For a damaged file or other features.
        DatasetError: For data that cannot be a dataset.
    """
    return _read([path], clip_actions, action_space=action_space)


def _read(
    paths: Iterable[Path], clip_actions: bool, action_space: Space | None = None, **arguments: Any
) -> Columns:
    parts = converted(paths, lambda features: part_of(features, ":", False, actions_lead=True))
    return build(parts, clip_actions=clip_actions, action_space=action_space, **arguments)


def recognises(path: Path) -> bool:
    """Returns whether a file holds such episodes: control without the step types of the control suite."""
    return has_features(path, *CONTROL_KEYS) and not has_features(path, "step_type")


SOURCE = Source(
    summary="A shard of RL Unplugged's real-world RL suite.",
    patterns={"rl_unplugged/rwrl/{task}": "RL Unplugged: episodes of the real-world RL suite."},
    load=load,
    suffixes=(".tfrecord",),
    recognises=recognises,
    read=read,
)
