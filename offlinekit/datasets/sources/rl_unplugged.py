"""RL Unplugged: Atari, as single transitions in no order of time or as whole episodes.

Alignment: SAR, row t holds the observation, the action taken on it and the reward that the action earned. A
transition has four frames before and four after it, of which five differ. If the last discount of an episode
is 0, its last row is the terminal observation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.families.done_flags import ends_of
from offlinekit.datasets.families.rl_unplugged_shards import fetch, has_features, number, shard_name
from offlinekit.datasets.formats.frame_store import Columns, Part, in_file, in_memory
from offlinekit.datasets.formats.png import decode_gray, in_threads
from offlinekit.datasets.formats.protobuf import Feature, parse_example
from offlinekit.datasets.formats.tfrecord import read_parsed
from offlinekit.datasets.source import Source
from offlinekit.envs.atari import SIDE, check_game, clipped, described, game_of
from offlinekit.errors import FileFormatError
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array

N_SHARDS = {"atari": 100, "atari_episodes": 100, "atari_episodes_ordered": 50}
STACK = 4
AT_ONCE = 256
"""Transitions whose frames are decoded together."""


class Raw(NamedTuple):
    """Contents of one Example."""

    frames: list[bytes]  # PNG, in order of time.
    columns: Columns
    place: str = ""  # The file and record, for messages.


def load(
    name: str, *, run: int = 1, shard: int = 0, limit: int | None = None, clip_rewards: bool = False
) -> schema.Columns:
    """Reads a shard by name; downloads and converts it first if that was not done before.

    The converted frames lie beside the shard and stay in their file, so that little memory is taken.

    Args:
        name: "rl_unplugged/atari/{game}", "rl_unplugged/atari_episodes/{game}" or
            "rl_unplugged/atari_episodes_ordered/{game}".
        run: 1 to 5, which agent.
        shard: 0 to 99; of ordered episodes 0 to 49, in the order of training.
        limit: The most Examples to read, into memory; None reads all.
        clip_rewards: Whether rewards are clipped into [-1, 1].

    Raises:
        ValueError: For an unknown game, run or shard.
        DownloadError: If the shard is not there and cannot be fetched.
        FileFormatError: For a damaged shard.
    """
    _, family, game = name.split("/")
    if not 1 <= run <= 5:
        raise ValueError(f"run must be in [1, 5], got {run}")
    shard_path = shard_name(f"{family}/{check_game(game)}/run_{run}", shard, N_SHARDS[family])
    path = fetch(shard_path)
    if limit is not None:
        return read(path, limit=limit, clip_rewards=clip_rewards, game=game)
    part = in_file(path.with_name(f"{path.name}.frames"), lambda: decoded_parts(path, None))
    return _build(part, game, clip_rewards, name=name)


def read(
    path: Path, *, limit: int | None = None, clip_rewards: bool = False, game: str | None = None
) -> schema.Columns:
    """Reads a shard into memory.

    Args:
        path: The TFRecord file.
        limit: The most Examples to read: transitions, or episodes.
        clip_rewards: Whether rewards are clipped into [-1, 1].
        game: Such as "Asterix", which says the actions and the environment; found in the path if not
            given.

    Raises:
        FileFormatError: For a damaged file or other features.
        DatasetError: For data that cannot be a dataset.
    """
    return _build(in_memory(decoded_parts(path, limit)), game or game_of(path.resolve()), clip_rewards)


def decoded_parts(path: Path, limit: int | None) -> Iterator[Part]:
    """Yields the decoded frames of a few Examples with their columns."""
    parse = partial(_parse, ordered=has_features(path, "observations", "actions"))
    return in_threads(_decode, _batches(_kept(path, parse, limit)))


def _kept(path: Path, parse: Callable[[bytes], Raw | None], limit: int | None) -> Iterator[Raw]:
    """Yields the Examples that hold transitions, and warns of those that do not."""
    n_left_out = 0
    for record, raw in islice(read_parsed(path, parse), limit):
        if raw is not None:
            yield raw._replace(place=f"{path}: record {record.number}, at byte {record.offset:,}")
        n_left_out += raw is None
    if n_left_out:
        warn_caller(
            f"{path}: {n_left_out:,} Examples are left out, whose frames do not go on or that hold no step"
        )


def _parse(data: bytes, ordered: bool) -> Raw | None:
    features = parse_example(data)
    return _episode(features) if ordered else _transition(features)


def _transition(features: dict[str, Feature]) -> Raw | None:
    """Returns a transition with its five frames, or None if the frames after it are not those before."""
    before, after = _images(features, "o_t"), _images(features, "o_tp1")
    if len(before) != STACK or len(after) != STACK:
        raise FileFormatError(f"expected {STACK} frames in o_t and o_tp1, got {len(before)} and {len(after)}")
    columns = {name: number(features, name)[:1] for name in ("a_t", "r_t", "d_t", "episode_id")}
    empty = [name for name, values in columns.items() if not len(values)]
    if empty:
        raise FileFormatError(f"expected a number as {' and '.join(empty)}, got none")
    _check_whole(columns["a_t"], "a_t")
    if before[1:] != after[:-1] and columns["d_t"][0] != 0:
        return None
    return Raw([*before, after[-1]], columns)


def _check_whole(actions: Array, name: str) -> None:
    if actions.dtype.kind != "i":
        raise FileFormatError(f"expected whole numbers as {name}, the actions, got {actions.dtype}")


def _images(features: dict[str, Feature], name: str) -> list[bytes]:
    values = features.get(name)
    if not isinstance(values, list):
        raise FileFormatError(f"expected PNG images {name!r}, got those of {', '.join(sorted(features))}")
    return values


def _episode(features: dict[str, Feature]) -> Raw | None:
    """Returns an episode with a frame for each of its steps and, if the game ended, the last one."""
    frames = _images(features, "observations")
    columns = {name: number(features, name) for name in ("actions", "clipped_rewards", "unclipped_rewards")}
    discounts = number(features, "discounts")
    _check_whole(columns["actions"], "actions")
    lengths = {len(frames), *(len(values) for values in (discounts, *columns.values()))}
    if len(lengths) != 1 or not frames:
        raise FileFormatError(f"columns of one episode have {sorted(lengths)} rows, expected one length")
    over = ends_of(discounts, "discounts")[-1]
    n_steps = len(frames) - int(over)
    if n_steps == 0:
        return None
    ends = np.zeros(n_steps, np.bool_)
    ends[-1] = True
    columns = {name: values[:n_steps] for name, values in columns.items()}
    return Raw(frames, {**columns, "ends": ends, "terminals": ends & over})


def _batches(examples: Iterator[Raw]) -> Iterator[list[Raw]]:
    """Yields Examples of about equally many frames together."""
    batch: list[Raw] = []
    n_frames = 0
    for raw in examples:
        batch.append(raw)
        n_frames += len(raw.frames)
        if n_frames >= AT_ONCE * (STACK + 1):
            yield batch
            batch, n_frames = [], 0
    if batch:
        yield batch


def _decode(batch: list[Raw]) -> Part:
    frames = np.concatenate([_decode_one(raw) for raw in batch])
    columns = {name: np.concatenate([raw.columns[name] for raw in batch]) for name in batch[0].columns}
    if "ends" not in columns:
        return frames.reshape(-1, STACK + 1, SIDE, SIDE), columns
    return _cut_finals(frames, batch, columns)


def _decode_one(raw: Raw) -> Array:
    try:
        return decode_gray(raw.frames, SIDE, SIDE)
    except FileFormatError as error:
        raise FileFormatError(f"{raw.place}: {error}") from error


def _cut_finals(frames: Array, batch: list[Raw], columns: Columns) -> Part:
    """Returns the frames of steps, and those after the last steps among the columns."""
    after = np.cumsum([len(raw.frames) for raw in batch])
    known = np.array([len(raw.frames) > len(raw.columns["ends"]) for raw in batch])
    finals = np.where(known[:, None, None], frames[after - 1], 0).astype(np.uint8)
    frames = np.delete(frames, after[known] - 1, axis=0)
    return frames[:, None], {**columns, "final_observations": finals[:, None], "final_known": known}


def _build(part: Part, game: str | None, clip_rewards: bool, **arguments: Any) -> schema.Columns:
    frames, columns = part
    if "ends" not in columns:
        return {
            "observations": frames[:, :STACK],
            "actions": columns["a_t"],
            "rewards": clipped(columns["r_t"], clip_rewards),
            "terminals": ends_of(columns["d_t"], "d_t"),
            "next_observations": frames[:, 1:],
            **described(game, STACK, clip_rewards),
            **arguments,
        }
    finals = ("final_observations", "final_known")
    return {
        "observations": frames,
        "rewards": columns["clipped_rewards" if clip_rewards else "unclipped_rewards"],
        "episode_terminals": columns["ends"],
        **{name: columns[name] for name in ("actions", "terminals", *finals)},
        **described(game, 1, clip_rewards),
        **arguments,
    }


def recognises(path: Path) -> bool:
    """Returns whether a file holds transitions or episodes of Atari."""
    return has_features(path, "o_t", "o_tp1") or has_features(path, "observations", "discounts")


SOURCE = Source(
    summary="A shard of RL Unplugged's Atari.",
    patterns={
        "rl_unplugged/atari/{game}": "RL Unplugged: transitions of an Atari game, unordered.",
        "rl_unplugged/atari_episodes/{game}": "RL Unplugged: episodes of an Atari game.",
        "rl_unplugged/atari_episodes_ordered/{game}": "RL Unplugged: episodes in the order of training.",
    },
    load=load,
    suffixes=(".tfrecord", "-of-00100", "-of-00050"),
    recognises=recognises,
    read=read,
)
