"""The DQN Replay Dataset: what DQN saw while it learned 60 Atari games, five times each.

Alignment: SAR, row t holds the frame, the action taken on it and the reward that the action earned, clipped into
[-1, 1]. A `terminal` says that the game ended (losing a life does not), and also where the recorder cut an
episode off after 27,000 steps: such an end is a timeout here. The frame after an episode's last row is in no file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offlinekit.datasets.download import data_root, download
from offlinekit.datasets.families.replay_log import (
    Log,
    Padding,
    check_packed_array,
    epochs_in,
    file_name,
    read_frames,
    read_log,
)
from offlinekit.datasets.formats.frame_store import Part, in_file, in_memory
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.envs.atari import check_game, dashed, described, game_of, games
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

BUCKET = "https://storage.googleapis.com/atari-replay-datasets/dqn"
NOT_RECORDED = ("Adventure", "Defender")
EPOCHS = {"mixed": 1, "medium": 10, "expert": 50}
"""The checkpoints that d4rl-atari's names stand for."""
STORES = ("observation", "action", "reward", "terminal", "add_count")
STEP_LIMIT = 27_000


@functools.cache
def names() -> dict[str, str]:
    """Returns d4rl-atari's names for the first of the five runs, each with one line."""
    return {
        f"{dashed(game)}-{level}-v0": f"DQN replay of {game}, steps of epoch {epoch}."
        for game in games()
        if game not in NOT_RECORDED
        for level, epoch in EPOCHS.items()
    }


@functools.cache
def _games_by_dashes() -> dict[str, str]:
    return {dashed(game): game for game in games()}


def load(
    name: str, *, run: int = 1, epoch: int | None = None, fraction: float = 1.0, seed: int = 0
) -> Columns:
    """Reads one epoch by name; downloads and converts it first if that was not done before.

    The frames stay in a file, so that little memory is taken: a whole epoch has 7 GB.

    Args:
        name: Such as "breakout-mixed-v0" or "dqn_replay/Breakout".
        run: 1 to 5, which agent.
        epoch: 0 to 50; stands in the name, or must be given.
        fraction: Share of the steps to keep, in whole episodes drawn at random.
        seed: Of the draw.

    Raises:
        ValueError: For an unknown game, a run or fraction out of range, or an epoch not given or given twice.
        DownloadError: If a file is not there and cannot be fetched.
        FileFormatError: For damaged files.
    """
    if not 1 <= run <= 5:
        raise ValueError(f"run must be in [1, 5], got {run}")
    _check_fraction(fraction)
    game, epoch = _said(name, epoch)
    folder = data_root() / "dqn_replay" / game / str(run) / "replay_logs"
    for store in STORES:
        file = file_name(store, epoch)
        download(f"{BUCKET}/{game}/{run}/replay_logs/{file}", folder / file, check=check_packed_array)
    kept = folder / f"epoch_{epoch}-{fraction:g}-{seed}.frames"
    part = in_file(kept, lambda: _parts(folder, [epoch], fraction, seed))
    return _build(part, game, STEP_LIMIT, name=name)


def _said(name: str, epoch: int | None) -> tuple[str, int]:
    """Returns the game and the epoch of a name."""
    if name.startswith("dqn_replay/"):
        if epoch is None or not 0 <= epoch <= 50:
            raise ValueError(f"{name!r} needs an epoch in [0, 50], got {epoch}: {name}?epoch=1")
        return check_game(name.split("/")[1]), epoch
    dashes, level, _ = name.rsplit("-", 2)
    if epoch is not None:
        raise ValueError(f"{name!r} says its epoch, {EPOCHS[level]}; leave the option epoch out")
    return _games_by_dashes()[dashes], EPOCHS[level]


def read(
    path: Path,
    *,
    epochs: int | Sequence[int] | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    game: str | None = None,
    step_limit: int | None = STEP_LIMIT,
) -> Columns:
    """Reads a folder `replay_logs` into memory.

    Args:
        path: The folder.
        epochs: The checkpoints to read; None reads all that are there.
        fraction: Share of each one's steps to keep, in whole episodes drawn at random.
        seed: Of the draw.
        game: Such as "Breakout", which says the actions and the environment; found by the folder's name if
            not given.
        step_limit: Episodes of so many steps were cut off by the recorder; None takes every end as it is. An episode
            that began in the epoch before is not recognised by its length.

    Raises:
        ValueError: For a fraction out of range, and for an epoch given twice.
        FileFormatError: For files that are missing or damaged.
        DatasetError: For data that cannot be a dataset.
    """
    _check_fraction(fraction)
    chosen = epochs_in(path) if epochs is None else [epochs] if isinstance(epochs, int) else list(epochs)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"epochs must differ, got {chosen}; give each epoch once")
    part = in_memory(_parts(path, chosen, fraction, seed))
    return _build(part, game or game_of(path.resolve()), step_limit)


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")


def _parts(folder: Path, epochs: Sequence[int], fraction: float, seed: int) -> Iterator[Part]:
    """Yields the steps of some checkpoints block by block: frames [b, 1, 84, 84] and their columns."""
    for epoch in epochs:
        log = read_log(folder, epoch)
        padding = Padding(log)
        chosen = _chosen(log, fraction, np.random.default_rng([seed, epoch]))
        last = np.zeros_like(chosen)
        last[log.ends - 1] = True
        columns = {"actions": log.actions, "rewards": log.rewards, "terminals": log.terminals, "ends": last}
        for start, frames in read_frames(folder / file_name("observation", epoch), len(log.actions)):
            slots = slice(start, start + len(frames))
            keep = chosen[slots] & ~padding.among(frames, start)
            if keep.any():
                yield frames[keep][:, None], {name: values[slots][keep] for name, values in columns.items()}


def _chosen(log: Log, fraction: float, rng: np.random.Generator) -> Array:
    """Returns which slots lie in whole episodes that together have a fraction of all steps, bool [C]."""
    lengths = log.ends - log.starts
    order = rng.permutation(len(lengths)) if fraction < 1 else np.arange(len(lengths))
    before = np.cumsum(lengths[order]) - lengths[order]
    chosen = np.zeros(len(log.actions), np.bool_)
    for i in order[before < fraction * int(lengths.sum())]:
        chosen[log.starts[i] : log.ends[i]] = True
    return chosen


def _build(part: Part, game: str | None, step_limit: int | None, **arguments: Any) -> Columns:
    frames, columns = part
    ends, terminals = columns["ends"], columns["terminals"]
    if step_limit is not None:
        lengths = np.diff(np.flatnonzero(ends), prepend=-1)
        terminals = terminals.copy()
        terminals[np.flatnonzero(ends)[lengths == step_limit]] = False
    return {
        "observations": frames,
        "actions": columns["actions"].astype(np.int64),
        "rewards": columns["rewards"],
        "terminals": terminals,
        "episode_terminals": ends,
        **described(game, 1, clipped_rewards=True),
        **arguments,
    }


def recognises(path: Path) -> bool:
    """Returns whether a folder holds such checkpoints."""
    try:
        return bool(epochs_in(path))
    except (OSError, FileFormatError):
        return False


SOURCE = Source(
    summary="The DQN Replay Dataset: a folder of logged replay buffers of an Atari game.",
    names=names,
    patterns={"dqn_replay/{game}": "DQN replay of an Atari game; say its epoch, 0 to 50."},
    load=load,
    folders="$store$_observation_ckpt.*.gz",
    recognises=recognises,
    read=read,
)
