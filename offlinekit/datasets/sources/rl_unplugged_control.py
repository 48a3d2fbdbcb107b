"""RL Unplugged: the DeepMind control suite and locomotion, as pieces of two or forty steps or whole episodes.

Alignment: SAR in pieces. In whole episodes row t holds the observation, the action taken on it, and the reward
and discount that led to it (RSA), which are NaN at the first; here they are moved up by one row.
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

N_SHARDS = 100
SUITE = (
    "cartpole_swingup",
    "cheetah_run",
    "finger_turn_hard",
    "fish_swim",
    "humanoid_run",
    "manipulator_insert_ball",
    "manipulator_insert_peg",
    "walker_stand",
    "walker_walk",
)
LOCOMOTION = {
    "humanoid_corridor": "seq2",
    "humanoid_gaps": "seq2",
    "humanoid_walls": "seq40",
    "rodent_bowl_escape": "seq2",
    "rodent_gaps": "seq2",
    "rodent_mazes": "seq40",
    "rodent_two_touch": "seq40",
}
"""Tasks with how many steps a piece has."""
PATTERNS = {
    "rl_unplugged/dm_control_suite/{task}": "RL Unplugged: transitions of the control suite, unordered.",
    "rl_unplugged/dm_control_suite_episodes/{task}": "RL Unplugged: whole episodes of the control suite.",
    "rl_unplugged/dm_locomotion/{task}": "RL Unplugged: pieces of locomotion, with a camera.",
    "rl_unplugged/dm_locomotion_episodes/{task}": "RL Unplugged: whole episodes of locomotion, with a camera.",
}


def prefix_of(name: str) -> str:
    """Returns the path of a name's shards in the bucket, without their numbers.

    Raises:
        ValueError: For an unknown task.
    """
    _, family, task = name.split("/")
    known = LOCOMOTION if "locomotion" in family else SUITE
    if task not in known:
        raise ValueError(f"unknown task {task!r}{did_you_mean(task, known)}; {family} has {', '.join(known)}")
    piece = f"{LOCOMOTION[task]}/" if family == "dm_locomotion" else ""
    return f"{family}/{task}/{piece}train"


def load(name: str, *, shard: int | None = None, cameras: bool = True, clip_actions: bool = False) -> Columns:
    """Reads a task by name, downloading what is missing.

    Args:
        name: As in `PATTERNS`.
        shard: 0 to 99, the only one to read; None reads all.
        cameras: Whether images are kept, in locomotion.
        clip_actions: Whether to clip actions into [-1, 1].

    Raises:
        ValueError: For an unknown task or shard.
        DownloadError: If a shard is not there and cannot be fetched.
    """
    shards = range(N_SHARDS) if shard is None else [shard]
    names = [shard_name(prefix_of(name), i, N_SHARDS) for i in shards]
    return _read((fetch(shard) for shard in names), cameras, clip_actions, name=name)


def read(
    path: Path, *, cameras: bool = True, clip_actions: bool = False, action_space: Space | None = None
) -> Columns:
    """Reads one shard.

    Args:
        path: The TFRecord file.
        cameras: Whether images are kept.
        clip_actions: Whether to clip actions into their range.
        action_space: Of the actions; [-1, 1] if not given.

    Raises:
        FileFormatError: For a damaged file or other features.
        DatasetError: For data that cannot be a dataset.
    """
    return _read([path], cameras, clip_actions, action_space=action_space)


def _read(
    paths: Iterable[Path],
    cameras: bool,
    clip_actions: bool,
    action_space: Space | None = None,
    **arguments: Any,
) -> Columns:
    parts = converted(paths, lambda features: part_of(features, "/", cameras, actions_lead=False))
    return build(parts, clip_actions=clip_actions, action_space=action_space, **arguments)


SOURCE = Source(
    summary="A shard of RL Unplugged's control suite or locomotion.",
    patterns=PATTERNS,
    load=load,
    suffixes=(".tfrecord", "-of-00100"),
    recognises=lambda path: has_features(path, *CONTROL_KEYS, "step_type"),
    read=read,
)
