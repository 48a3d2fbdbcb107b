"""RLlib: the sample batches that its JSON writer puts out, one a line, and the single rows of its newer API as JSON
lines or Parquet.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). Rows are put
together by `eps_id` and sorted by `t` if the file has them, as fragments of several episodes may lie between
one another; else an episode ends at `dones`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.editing.ordering import in_order
from offlinekit.datasets.families.done_flags import without_limit
from offlinekit.datasets.families.rllib_rows import batch_of_table, batches, is_row_line, is_table
from offlinekit.datasets.formats.array_files import is_zip
from offlinekit.datasets.formats.json_files import parse, read_lines
from offlinekit.datasets.formats.packed_arrays import unpack
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, named_leaves
from offlinekit.errors import DatasetWarning, FileFormatError
from offlinekit.ground.callers import warn_caller
from offlinekit.load_budget import budget_of
from offlinekit.types import Array, rows

REQUIRED = ("obs", "actions", "rewards")
SINGLE = ("action_logp", "action_prob", "eps_id", "agent_index", "agent_id", "t")
WANTED = (*REQUIRED, "new_obs", *SINGLE)
NAMES = ("eps_id", "agent_index", "agent_id")
"""Columns that may hold words."""
TREES = ("obs", "new_obs", "actions")
"""Columns that may be dicts of columns."""
SPARE = ("new_obs", "action_logp", "action_prob")
"""Columns that may be left out."""
ENDS = ("terminateds", "dones", "truncateds")


def read(
    path: Path,
    *,
    step_limit: int | None = None,
    unsquash_actions: bool = False,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of RLlib's JSON lines, a zip of one, a Parquet file, or a folder of such files.

    `action_logp`, or the logarithm of `action_prob`, becomes `behavior_log_probs`.

    Args:
        path: The file or folder.
        step_limit: Rows of the longest episode: if `dones` is set at that row, it is a timeout. Older
            versions of RLlib set it there too; if infos say `TimeLimit.truncated`, no limit is needed.
        unsquash_actions: Whether to map actions from [-1, 1], as RLlib keeps them with `normalize_actions`, to
            the range of action_space; log-probabilities become those of the mapped actions.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        MissingExtraError: For packed columns if lz4 is not installed.
        FileFormatError: For a damaged file or one of another format.
        DatasetError: For data that cannot be a dataset.
    """
    columns = _joined([_columns(batch, place) for place, batch in batches(_lines(path))])
    order, last = _order(columns)
    columns = {name: rows(column, order) for name, column in columns.items()}
    terminals, last = _ends(columns, last, step_limit)
    log_probs, actions = _log_probs(columns), columns["actions"]
    if unsquash_actions:
        actions, scale = _unsquashed(actions, action_space)
        log_probs = None if log_probs is None else log_probs - np.float32(np.log(scale).sum())
    return {
        "observations": columns["obs"],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": columns["rewards"],
        "terminals": terminals,
        "episode_terminals": last,
        "next_observations": columns.get("new_obs"),
        "action_space": action_space,
        "behavior_log_probs": log_probs,
    }


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields each line, a batch or a row, or each Parquet file with its place."""
    if path.is_dir():
        for part in sorted(path.rglob("*.parquet")) or sorted(path.rglob("*.json")):
            yield from _lines(part)
        return
    if path.suffix.lower() == ".parquet":
        yield str(path), batch_of_table(path)
        return
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            place = f"line {number} of {path}"
            try:
                yield place, parse(line)
            except ValueError as error:
                raise FileFormatError(f"{place} is not JSON ({error}); was it fetched completely?") from error


def _columns(batch: Any, place: str) -> dict[str, Any]:
    if isinstance(batch, dict) and batch.get("type") == "MultiAgentBatch":
        policies = batch.get("policy_batches")
        if not isinstance(policies, dict) or len(policies) != 1:
            named = sorted(policies) if isinstance(policies, dict) else policies
            raise FileFormatError(f"{place} must hold the batch of one policy, got {named!r:.100}")
        batch = next(iter(policies.values()))
    missing = [name for name in REQUIRED if not isinstance(batch, dict) or name not in batch]
    if missing:
        raise FileFormatError(f"{place} is no batch of RLlib, it has no {', '.join(missing)}")
    columns = {name: _column(batch[name], name, place) for name in (*WANTED, *ENDS) if name in batch}
    infos = batch.get("infos")
    if "truncateds" not in columns and isinstance(infos, list):
        columns["truncateds"] = np.array([_is_truncated(info) for info in infos])
    lengths = {name: len(leaf) for tree in columns for name, leaf in named_leaves(columns[tree], tree)}
    if len(set(lengths.values())) > 1:
        raise FileFormatError(f"{place} has columns of differing length: {lengths}")
    return columns


def _column(values: object, name: str, place: str) -> Any:
    """Returns a column, or a dict of those of observations and actions that are dicts, of columns or one a row."""
    if name in TREES and isinstance(values, list) and values and all(isinstance(row, dict) for row in values):
        values = {key: [row.get(key) for row in values] for key in values[0]}
    if isinstance(values, dict) and name in TREES:
        return {str(key): _column(values[key], name, place) for key in values}
    try:
        column = unpack(values) if isinstance(values, str) else np.asarray(values)
    except (FileFormatError, ValueError) as error:
        raise FileFormatError(f"{name!r} at {place} is no column: {error}") from error
    if column.dtype.kind not in ("fiubU" if name in NAMES else "fiub") or column.ndim == 0:
        raise FileFormatError(f"{name!r} at {place} is no column of numbers, got {values!r:.100}")
    if name in NAMES and column.dtype.kind == "i":  # Joined to uint64, int64 would become float64.
        column = column.astype(np.uint64)
    if not isinstance(values, str):
        budget_of().take(column.nbytes, f"{name!r} of all batches")
    if name in SINGLE and column.size != len(column):
        raise FileFormatError(
            f"{name!r} at {place} has shape {list(column.shape)}, expected one number a row"
        )
    return column


def _is_truncated(info: object) -> bool:
    return isinstance(info, dict) and bool(info.get("TimeLimit.truncated"))


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the columns of all batches.

    Raises:
        FileFormatError: If some batches lack a column that says where rows belong or how episodes end.
    """
    shared = [name for name in (*WANTED, *ENDS) if any(name in part for part in parts)]
    for name in [name for name in shared if not all(name in part for part in parts)]:
        n_parts = sum(name in part for part in parts)
        text = f"{name!r} is in {n_parts} of {len(parts)} batches"
        if name not in SPARE:
            raise FileFormatError(f"{text}, expected in all or none; write those that lack it again")
        warn_caller(f"{text}, so that it is left out; read those that have it apart", DatasetWarning)
        shared.remove(name)
    return {name: join([part[name] for part in parts], f"the batches' {name}") for name in shared}


def _log_probs(columns: dict[str, Array]) -> Array | None:
    """Returns the behaviour's log-probabilities, of the logarithms or else of the probabilities."""
    if "action_logp" in columns:
        return columns["action_logp"].reshape(-1).astype(np.float32)
    if "action_prob" not in columns:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):  # The rules refuse what is no logarithm.
        logarithms: Array = np.log(columns["action_prob"].reshape(-1).astype(np.float64)).astype(np.float32)
    return logarithms


def _order(columns: dict[str, Array]) -> tuple[Array, Array | None]:
    """Returns the rows by episode and time, and the last row of each episode if episodes have names."""
    if not columns:
        raise FileFormatError("the file is empty, expected batches of RLlib, one a line")
    n_rows = len(columns["rewards"])
    if "eps_id" not in columns:
        return np.arange(n_rows), None
    agents = next((columns[name] for name in NAMES[1:] if name in columns), np.zeros(n_rows, np.int64))
    numbers = [  # Of each alone: together they would be floats, in which large ids are alike.
        np.unique(column.reshape(n_rows), return_inverse=True)[1].reshape(n_rows)
        for column in (columns["eps_id"], agents)
    ]
    _, first, inverse = np.unique(np.stack(numbers, axis=1), axis=0, return_index=True, return_inverse=True)
    rank = first[inverse.reshape(n_rows)]  # Episodes in the order of their first row.
    times = columns["t"].reshape(n_rows) if "t" in columns else None
    fix = "writers that number their episodes alike need each its own: read each file alone, and join them by concat"
    return in_order(rank, times, "'t'", fix)


def _ends(columns: dict[str, Array], last: Array | None, step_limit: int | None) -> tuple[Array, Array]:
    """Returns terminals, and where episodes end."""
    n_rows = len(columns["rewards"])
    nothing = np.zeros(n_rows, np.bool_)
    stated = "terminateds" if "terminateds" in columns else "dones"
    terminals = as_flags(columns.get(stated, nothing), stated)
    cut = as_flags(columns.get("truncateds", nothing), "truncateds")
    if stated == "dones":
        terminals = terminals & ~cut
    last = (terminals | cut) if last is None else last | terminals | cut
    last[-1] = True
    if stated == "dones" or step_limit is not None:
        terminals = without_limit(terminals, last, step_limit, stated)
    return terminals, last


def _unsquashed(actions: Array, space: Space | None) -> tuple[Array, Array]:
    """Returns actions mapped from [-1, 1] to a Box, and the factor of each dimension."""
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        raise ValueError("unsquash_actions=True needs a bounded action_space=, or env_id= of one that has it")
    scale = (space.high - space.low) / 2
    return (space.low + (actions.reshape(len(actions), -1) + 1) * scale).astype(np.float32), scale


def recognises(path: Path) -> bool:
    """Returns whether a file or folder begins as RLlib's output does."""
    if path.is_dir():
        firsts = (next(path.rglob(pattern), None) for pattern in ("*.parquet", "*.json"))
        return any(first is not None and recognises(first) for first in firsts)
    if path.suffix.lower() == ".parquet":
        return is_table(path)
    if path.suffix.lower() == ".zip" and not is_zip(path):
        return False
    head = next(iter(read_lines(path)), b"")
    return b'"SampleBatch"' in head[:200] or b'"MultiAgentBatch"' in head[:200] or is_row_line(head)


SOURCE = Source(
    summary="Sample batches or single rows of RLlib, JSON lines or Parquet.",
    suffixes=(".json", ".jsonl", ".json.gz", ".jsonl.gz", ".zip", ".parquet"),
    folders="JSON lines or Parquet files of RLlib",
    recognises=recognises,
    keys=(*WANTED, *ENDS),
    read=read,
)
