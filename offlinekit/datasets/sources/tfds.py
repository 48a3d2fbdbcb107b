"""TFDS: episodes of RLDS, as Open X-Embodiment has them, in TFRecord files, read without TensorFlow.

A record is one episode: a `tf.train.Example` whose `steps/...` features hold all its steps one after another, or a
SequenceExample with one feature a step. Step t holds the observation, the action taken on it and the reward that the
action earned (SAR); an episode's last step holds only its final observation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.families.done_flags import warn_of_no_rewards
from offlinekit.datasets.families.rlds_steps import MARKS, columns_of_steps
from offlinekit.datasets.families.tfds_features import Stated, array_of, read_features
from offlinekit.datasets.formats.protobuf import (
    Feature,
    is_sequence_example,
    parse_example,
    parse_sequence_example,
)
from offlinekit.datasets.formats.tfrecord import is_tfrecord, read_parsed, read_records
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError, did_you_mean
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, ArrayTree, map_tree, rows

Steps: TypeAlias = dict[str, Array]
"""Columns [T, ...] of one episode, by names such as "observation/state"."""
SHARD = re.compile(r".*-(?P<split>\w+)\.tfrecord(-\d{5}-of-\d{5})?")


def read(
    path: Path,
    *,
    split: str = "train",
    observations: str | Sequence[str] | None = None,
    alignment: str = "SAR",
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a shard, or the shards of a folder; images become [N, C, H, W], parts of an action are joined by name.

    Args:
        path: The TFRecord file, or the folder with `features.json`, which says the shapes of a step.
        split: Of a folder: the part of its name before ".tfrecord".
        observations: A part of the observation, such as "state", or several, which then are a dict; by default all.
            Texts are left out, with a warning.
        alignment: "SAR" or "RSA": whether a step holds the reward after its action, or before its observation.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file or one of other records.
        DatasetError: For a split or part that is not there, and data that cannot be a dataset.
    """
    stated = read_features(path if path.is_dir() else path.parent)
    left_out: set[str] = set()
    episodes = [
        _arrays(steps, stated, f"record {number} of {file}", left_out)
        for file in _shards(path, split)
        for number, steps in _episodes(file)
    ]
    if not episodes:
        raise DatasetError(f"{path} holds no episode")
    names = [name for name in episodes[0] if all(name in episode for episode in episodes)]
    left_out |= {name for episode in episodes for name in episode if name not in names}
    columns: Steps = {name: join([episode[name] for episode in episodes], name) for name in names}
    _check_names(columns, path)
    if left_out:
        texts = ", ".join(sorted(left_out))
        warn_caller(f"texts and features of varying size are left out: {texts}", DatasetWarning)
    return _columns(columns, observations, alignment, action_space, clip_actions, path)


def _shards(path: Path, split: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    shards: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        if match := SHARD.fullmatch(file.name):
            shards.setdefault(match["split"], []).append(file)
    if split not in shards:
        hint = did_you_mean(split, shards)
        raise DatasetError(f"{path} has no split {split!r}{hint}; it has {', '.join(shards) or 'none'}")
    return shards[split]


def _episodes(path: Path) -> Iterator[tuple[int, dict[str, Feature | list[Feature]]]]:
    """Yields the number of each record and its features of steps, by their names below "steps/"."""
    for record, features in read_parsed(path, _features):
        yield record.number, {name.removeprefix("steps/"): value for name, value in features.items()}


def _features(data: bytes) -> dict[str, Any]:
    if is_sequence_example(data):
        return parse_sequence_example(data)[1]
    return {name: value for name, value in parse_example(data).items() if name.startswith("steps/")}


def _arrays(features: dict[str, Any], stated: dict[str, Stated], place: str, left_out: set[str]) -> Steps:
    """Returns the features of an episode as arrays [T, ...]; texts and those of varying size are noted."""
    missing = [mark for mark in MARKS if mark not in features]
    if missing:
        raise FileFormatError(
            f"{place} has no steps/{missing[0]}; it has {', '.join(sorted(features)) or 'no steps'}"
        )
    n_steps = len(features["is_first"])
    arrays = {}
    for name in sorted(features):
        varies = "/ragged_" in name
        array = (
            None if varies else array_of(features[name], n_steps, stated.get(name), f"{name!r} in {place}")
        )
        if array is None:
            left_out.add(name.partition("/ragged_")[0])
        else:
            arrays[name] = array
    return arrays


def _check_names(columns: Steps, path: Path) -> None:
    for top in ("observation", "action"):
        if not any(name == top or name.startswith(f"{top}/") for name in columns):
            raise FileFormatError(
                f"{path} has no numbers or images {top!r} in its steps; it has {', '.join(columns)}"
            )


def _columns(
    steps: Steps,
    observations: str | Sequence[str] | None,
    alignment: str,
    action_space: Space | None,
    clip_actions: bool,
    path: Path,
) -> Columns:
    if "reward" not in steps:
        warn_of_no_rewards("'reward' in its steps")
    rewards = steps.get("reward", np.zeros(len(steps["is_first"]), np.float32))
    marks = {mark: steps[mark] for mark in MARKS}
    arrays = map_tree(_with_features, _seen(steps, observations))
    columns, kept = columns_of_steps(arrays, _actions(steps), rewards, marks, alignment)
    if clip_actions:
        columns["actions"] = clip(columns["actions"], action_space)
    extras = {"discount": rows(steps["discount"], kept)} if "discount" in steps else {}
    return {**columns, "action_space": action_space, "extras": extras, "name": _name_of(path)}


def _name_of(path: Path) -> str:
    """Returns the dataset's own name of a shard, or of a folder, which may be that of a version."""
    is_version = path.is_dir() and re.fullmatch(r"\d+\.\d+\.\d+", path.name) is not None
    return path.parent.name if is_version else path.name.partition(".")[0]


def _seen(steps: Steps, wanted: str | Sequence[str] | None) -> ArrayTree:
    if wanted is None and "observation" in steps:
        return steps["observation"]
    parts = {
        name.removeprefix("observation/"): steps[name] for name in steps if name.startswith("observation/")
    }
    names = list(parts) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in parts:
            hint = did_you_mean(name, parts)
            raise DatasetError(f"the observations have no part {name!r}{hint}; they have {', '.join(parts)}")
    return parts[names[0]] if len(names) == 1 else {name: parts[name] for name in names}


def _actions(steps: Steps) -> Array:
    """Returns the action of each step; parts are joined in the order of their names."""
    if "action" in steps:
        return steps["action"]
    parts = [steps[name] for name in sorted(steps) if name.startswith("action/")]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1)


def _with_features(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array


def recognises(path: Path) -> bool:
    """Returns whether the first record of a file, or of a folder's first shard, is an episode of steps."""
    if path.is_dir():
        shards = [file for file in sorted(path.iterdir()) if SHARD.fullmatch(file.name)]
        return bool(shards) and (_states_steps(path) or recognises(shards[0]))
    if not is_tfrecord(path):
        return False
    try:
        first = next(read_records(path), None)
        names = set() if first is None else set(_features(first.data))
    except FileFormatError:
        return False
    return {"steps/is_first", "is_first"} & names != set()


def _states_steps(folder: Path) -> bool:
    path = folder / "features.json"
    return path.is_file() and '"steps"' in path.read_text(errors="replace")


SOURCE = Source(
    summary="Episodes of RLDS in TFRecord files of TFDS, such as those of Open X-Embodiment.",
    suffixes=(".tfrecord",),
    folders="*.tfrecord* of RLDS episodes, with features.json",
    recognises=recognises,
    read=read,
)
