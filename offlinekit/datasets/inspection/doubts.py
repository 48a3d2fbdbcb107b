"""What looks wrong with columns of which a dataset can be built all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.inspection.rules import Check, Finding, named_columns, warning
from offlinekit.datasets.validation import BLOCK_BYTES, as_float32, as_observations
from offlinekit.types import Array, leaves

LOST = 1e-3
"""Share of a column's spread that may be lost by float32 before it is worth a word."""
REPEATED = 1e-3
"""Share of repeated rows that is worth a word; a few come about by chance."""
EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""


def find_suspicions(columns: Mapping[str, Any]) -> list[Finding]:
    """Returns all that looks wrong with columns of equal length whose values are sound.

    Args:
        columns: Arguments of `MDPDataset` by name.
    """
    checks: tuple[Check, ...] = (
        _both_flags,
        _terminals_in_a_row,
        _single_row_episodes,
        _open_tail,
        _out_of_step,
        _repeated,
        _constant,
        _precision,
        _action_range,
        _unknown_ends,
    )
    return [finding for check in checks for finding in check(columns)]


def _flags(columns: Mapping[str, Any], name: str) -> Array:
    """Returns bool [N]; all False where the column is not given."""
    given = columns.get(name)
    n_rows = len(columns["rewards"])
    return np.zeros(n_rows, np.bool_) if given is None else np.asarray(given).reshape(-1) != 0


def _last(columns: Mapping[str, Any]) -> Array:
    """Returns bool [N], where episodes end."""
    if columns.get("episode_terminals") is not None:
        return _flags(columns, "episode_terminals")
    return _flags(columns, "terminals") | _flags(columns, "timeouts")


def _both_flags(columns: Mapping[str, Any]) -> Iterator[Finding]:
    both = np.flatnonzero(_flags(columns, "terminals") & _flags(columns, "timeouts"))
    if len(both):
        fix = "right if the MDP ended just then; else clear terminals at timeouts"
        yield warning("terminals", "and timeouts are set on the same row; the terminal wins", fix, both)


def _terminals_in_a_row(columns: Mapping[str, Any]) -> Iterator[Finding]:
    flags = _flags(columns, "terminals")
    again = np.flatnonzero(flags[1:] & flags[:-1]) + 1
    if len(again):
        fix = "keep the later of the two, or give episode_terminals, which then rules"
        yield warning("terminals", "are set on two rows running, so the second is an episode", fix, again)


def _single_row_episodes(columns: Mapping[str, Any]) -> Iterator[Finding]:
    last = _last(columns)
    begins = np.concatenate([[True], last[:-1]])
    single = np.flatnonzero(begins & last)
    if 0 < len(single) < last.sum():  # Where all are single, as with bandits, it is meant so.
        fix = "look whether an end is marked one row late or twice; else drop them"
        yield warning("terminals", "and timeouts leave episodes of one row", fix, single)


def _open_tail(columns: Mapping[str, Any]) -> Iterator[Finding]:
    last = _last(columns)
    if not last.any():
        fix = "set timeouts where episodes end, or cut by a step limit (D4RL: step_limit=1000)"
        yield warning("terminals", "and timeouts are never set: all rows are one episode", fix)
    elif not last[-1]:
        tail = np.arange(np.flatnonzero(last)[-1] + 1, len(last))
        message = "and timeouts leave the rows after the last end open; they are closed as a timeout"
        yield warning("terminals", message, "set the last row's flag, or drop the tail", tail)


def _out_of_step(columns: Mapping[str, Any]) -> Iterator[Finding]:
    """Compares each next observation with the row below: they agree within an episode, and only there."""
    following = columns.get("next_observations")
    if following is None:
        return
    pairs = zip(
        leaves(as_observations(columns["observations"])), leaves(as_observations(following)), strict=True
    )
    differs = np.zeros(len(columns["rewards"]) - 1, np.bool_)
    for seen, after in pairs:
        differs |= (after[:-1] != seen[1:]).reshape(len(differs), -1).any(axis=1)
    last = _last(columns)[:-1]
    jumps, runs_on = np.flatnonzero(differs & ~last), np.flatnonzero(~differs & last)
    if len(jumps) > 0.5 * len(differs):
        fix = "right for transitions in no order; else look for shuffled or shifted rows"
        yield warning("next_observations", "are not those of the following row", fix, jumps)
        return
    if len(jumps):
        fix = f"set timeouts there{_shift(jumps, runs_on)}; n steps and windows need it"
        yield warning("next_observations", "differ from the following row though no episode ends", fix, jumps)
    if len(runs_on):
        fix = f"clear the flags there{_shift(jumps, runs_on)}"
        message = "mark an end where the next observation is that of the following row"
        yield warning("terminals/timeouts", message, fix, runs_on)


def _shift(jumps: Array, runs_on: Array) -> str:
    """Says by how many rows nearly all flags are away from the jumps, where they are so."""
    for shift in (1, -1, 2, -2, 3, -3):
        if len(jumps) and np.isin(jumps - shift, runs_on).mean() > 0.9:
            rows = f"{abs(shift)} row{'s' if abs(shift) > 1 else ''}"
            return f" (flags are {rows} too {'early' if shift > 0 else 'late'})"
    return ""


def _repeated(columns: Mapping[str, Any]) -> Iterator[Finding]:
    """Finds rows that are, in every column but the flags, equal to an earlier one."""
    hashed = np.zeros(len(columns["rewards"]), np.uint64)
    rng = np.random.default_rng(0)
    for name, leaf in named_columns(columns):
        if name not in ("terminals", "timeouts", "episode_terminals") and not name.startswith("next_"):
            hashed += _hash_rows(leaf.reshape(len(leaf), -1), rng)
    _, first = np.unique(hashed, return_index=True)
    repeated = np.setdiff1d(np.arange(len(hashed)), first)
    if len(repeated) > REPEATED * len(hashed):
        fix = "look whether files were joined twice; drop the repeated episodes"
        yield warning("rows", "repeat an earlier row in every column", fix, repeated)


def _hash_rows(flat: Array, rng: np.random.Generator) -> Array:
    """Returns a hash of each row, uint64 [N]: the words of its bytes, each multiplied by its own odd number."""
    n_words = -(-flat.shape[1] * flat.itemsize // 8)
    factors = rng.integers(1, 2**63, n_words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashed = np.empty(len(flat), np.uint64)
    block = max(BLOCK_BYTES // (8 * n_words), 1)
    for start in range(0, len(flat), block):
        part = np.ascontiguousarray(flat[start : start + block])
        words = np.zeros((len(part), 8 * n_words), np.uint8)
        words[:, : flat.shape[1] * flat.itemsize] = part.view(np.uint8).reshape(len(part), -1)
        mixed = (words.view(np.uint64) + np.uint64(1)) * factors
        hashed[start : start + block] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return hashed


def _constant(columns: Mapping[str, Any]) -> Iterator[Finding]:
    for name, leaf in named_columns(columns):
        flat = leaf.reshape(len(leaf), -1)
        if name.startswith("next_") or "terminals" in name or name in ("timeouts", "behavior_log_probs"):
            continue
        constant = np.flatnonzero(flat.min(axis=0) == flat.max(axis=0))
        if len(constant) and leaf.dtype != np.uint8:
            where = "" if flat.shape[1] == 1 else f" in {_some(constant)} (of {flat.shape[1]})"
            fix = "right if it is so in the environment; else the recorder lost it"
            yield warning(name, f"never change{where} (always {flat[0, constant[0]]:g})", fix)


def _some(numbers: Array) -> str:
    shown = ", ".join(map(str, numbers[:8].tolist()))
    return f"dimension {shown}" if len(numbers) <= 8 else f"dimension {shown}, ... ({len(numbers)})"


def _precision(columns: Mapping[str, Any]) -> Iterator[Finding]:
    """Finds wide numbers that float32 cannot tell apart."""
    for name, leaf in named_columns(columns):
        if name == "actions" and leaf.dtype.kind in "iub":
            continue
        if leaf.dtype.itemsize < 4 or leaf.dtype == np.float32:
            continue
        flat = leaf.reshape(len(leaf), -1).astype(np.float64)
        lost = np.abs(flat - as_float32(flat)).max(axis=0)
        spread = flat.std(axis=0)
        worst = int(np.argmax(lost / np.where(spread > 0, spread, np.inf)))
        if lost[worst] > LOST * spread[worst] > 0:
            row = np.flatnonzero(flat[:, worst] != as_float32(flat[:, worst]))
            message = (
                f"are {leaf.dtype}, of which float32 loses up to {lost[worst]:.2g} in dimension {worst}, where "
                f"the standard deviation is {spread[worst]:.2g}"
            )
            yield warning(name, message, "subtract an offset or scale before recording", row)


def _action_range(columns: Mapping[str, Any]) -> Iterator[Finding]:
    actions, space = np.asarray(columns["actions"]), columns.get("action_space")
    if actions.dtype.kind in "iub" or isinstance(space, spaces.Discrete):
        n = int(space.n if isinstance(space, spaces.Discrete) else actions.max() + 1)
        missing = np.setdiff1d(np.arange(min(n, EXACT)), actions.astype(np.int64))
        if len(missing):
            message = f"{_some(missing).removeprefix('dimension ')} of {n} never occur"
            yield warning("actions", message, "right if nobody took them; else look at their numbering")
    elif space is None or not space.is_bounded():
        high = np.abs(actions).max()
        message = f"have no declared range; they reach {high:g}"
        yield warning("actions", message, "declare it: action_space=Box(...), or env_id=..., of the reader")


def _unknown_ends(columns: Mapping[str, Any]) -> Iterator[Finding]:
    last, known = _last(columns), columns.get("final_known")
    last[-1] = True
    if known is None:
        known = any(columns.get(name) is not None for name in ("next_observations", "final_observations"))
    ends = np.flatnonzero(last)
    cut = ends[~_flags(columns, "terminals")[ends] & ~np.broadcast_to(np.asarray(known, np.bool_), len(ends))]
    if len(cut):
        fix = "give final_observations or next_observations where they were recorded"
        message = "cut episodes whose last next observation is unknown; those rows are not learned from"
        yield warning("timeouts", message, fix, cut)
