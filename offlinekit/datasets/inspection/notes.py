"""Notes on a dataset that are often harmless: listed by `validate`, without a warning elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium import spaces

from offlinekit.datasets import schema
from offlinekit.datasets.draft import Draft
from offlinekit.datasets.findings import Finding, note
from offlinekit.datasets.inspection.doubts import (
    EXACT,
    given_ends,
    is_unordered,
    shift_of,
    steps_out_of_place,
    with_both_flags,
)
from offlinekit.datasets.inspection.rules import Rule, located
from offlinekit.datasets.validation import blocks, named_leaves
from offlinekit.envs.legal_actions import OBSERVATIONS
from offlinekit.ground.action_spaces import output_numbers, part_sizes
from offlinekit.tables.table_columns import UNKNOWN
from offlinekit.tables.table_schema import TABLE_SCHEMA, TableSchema
from offlinekit.types import Array

REPEATED = 1e-3
"""Share of repeated rows that is worth a word; a few come about by chance."""
HASHED_BYTES = 1 << 22
"""Rows that are hashed at once."""
SHOWN = 8
"""Dimensions that a message lists."""


def notes_of(draft: Draft) -> Iterator[Finding]:
    """Yields the notes on a draft without a fault."""
    for rule in NOTES:
        for finding in rule(draft):
            yield located(finding, draft.ends)


def both_flags(draft: Draft) -> Iterator[Finding]:
    """Finds rows with a terminal and a timeout, of which the terminal counts."""
    both = with_both_flags(draft)
    if len(both):
        fix = "right if the MDP ended just then; else clear terminals at timeouts"
        yield note("terminals", "and timeouts are set on the same row; the terminal wins", fix, both)


def single_row_episodes(draft: Draft) -> Iterator[Finding]:
    """Finds episodes of one row among longer ones."""
    last = given_ends(draft)
    single = np.flatnonzero(np.append(True, last[:-1]) & last)
    if 0 < len(single) < last.sum():  # If all are single, as with bandits, it is meant so.
        fix = "look whether an end is marked twice, or one row late; else drop them"
        yield note("terminals", "and timeouts leave episodes of one row", fix, single)


def open_tail(draft: Draft) -> Iterator[Finding]:
    """Finds rows after the last end that no flag closes."""
    ends = np.flatnonzero(given_ends(draft))
    n_rows = len(draft.columns["rewards"])
    if len(ends) == 0 or ends[-1] < n_rows - 1:
        tail = np.arange(ends[-1] + 1 if len(ends) else 0, n_rows)
        message = "and timeouts leave the rows after the last end open; they are closed as a timeout"
        yield note("terminals", message, "set the last row's flag, or drop the tail", tail)


def next_rows(draft: Draft) -> Iterator[Finding]:
    """Finds next observations that are hardly ever the row below, or that are so where an episode ends."""
    if "next_observations" not in draft.columns:
        return
    last = given_ends(draft)
    jumps, runs_on = steps_out_of_place(
        draft.columns["observations"], draft.columns["next_observations"], last
    )
    if len(jumps) and is_unordered(jumps, last):
        fix = "right for transitions in no order; else look for shuffled or shifted rows"
        yield note("next_observations", "are not those of the following row", fix, jumps)
    elif len(runs_on):
        message = "mark an end where the next observation is that of the following row"
        yield note(
            "terminals",
            f"and timeouts {message}",
            f"clear the flags there{shift_of(jumps, runs_on)}",
            runs_on,
        )


def repeated_rows(draft: Draft) -> Iterator[Finding]:
    """Finds rows that are, in every column but the flags, equal to an earlier one."""
    hashed = np.zeros(len(draft.columns["rewards"]), np.uint64)
    rng = np.random.default_rng(0)
    for _, leaf in _leaves(draft, *schema.REQUIRED, "behavior_log_probs"):
        if leaf.dtype != np.bool_:
            hashed += _hash_rows(leaf.reshape(len(leaf), -1), rng)
    _, first = np.unique(hashed, return_index=True)
    repeated = np.setdiff1d(np.arange(len(hashed)), first)
    if len(repeated) > REPEATED * len(hashed):
        fix = "look whether files were joined twice; drop the repeated episodes"
        yield note("rewards", "and all other columns repeat an earlier row", fix, repeated)


def _leaves(draft: Draft, *names: str) -> Iterator[tuple[str, Array]]:
    for name in names:
        if name in draft.columns:
            yield from named_leaves(draft.columns[name], name)


def _hash_rows(flat: Array, rng: np.random.Generator) -> Array:
    """Returns a hash of each row, uint64 [N]: the words of its bytes, each multiplied by its own odd number."""
    n_words = -(-flat.shape[1] * flat.itemsize // 8)
    factors = rng.integers(1, 2**63, n_words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashed = np.empty(len(flat), np.uint64)
    start = 0
    for block in blocks(flat, HASHED_BYTES):
        part = np.ascontiguousarray(block)
        words = np.zeros((len(part), 8 * n_words), np.uint8)
        words[:, : flat.shape[1] * flat.itemsize] = part.view(np.uint8).reshape(len(part), -1)
        mixed = (words.view(np.uint64) + np.uint64(1)) * factors
        hashed[start : start + len(part)] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
        start += len(part)
    return hashed


def _unknown_classes(draft: Draft, n_columns: int) -> list[int]:
    """Returns the columns of a table's classes for unknown labels, which its own rows hardly ever have."""
    plan = draft.metadata.get(TABLE_SCHEMA)
    features = () if plan is None else TableSchema.from_json(plan).features
    ends = f"={UNKNOWN}"
    return [i for i, name in enumerate(features) if name.endswith(ends)] if len(features) == n_columns else []


def constant_columns(draft: Draft) -> Iterator[Finding]:
    """Finds columns, or dimensions of one, that never change."""
    for name, leaf in _leaves(draft, "observations", "actions", "rewards"):
        flat = leaf.reshape(len(leaf), -1)
        constant = np.flatnonzero(flat.min(axis=0) == flat.max(axis=0))
        if name in ("observations", f"observations[{OBSERVATIONS!r}]"):
            constant = np.setdiff1d(constant, _unknown_classes(draft, flat.shape[1]))
        if len(constant) and leaf.dtype != np.uint8:
            where = "" if flat.shape[1] == 1 else f" in dimension {_some(constant)} (of {flat.shape[1]})"
            fix = "right if it is so in the environment; else the recorder lost it"
            yield note(name, f"never change{where} (always {flat[0, constant[0]]:g})", fix)


def _some(numbers: Array) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN].tolist()))
    return shown if len(numbers) <= SHOWN else f"{shown}, ... ({len(numbers)})"


def action_range(draft: Draft) -> Iterator[Finding]:
    """Finds actions of a declared Discrete that never occur, and floats of no declared range."""
    actions, space = draft.columns["actions"], draft.action_space
    if isinstance(space, spaces.Discrete):
        n_choices = sum(part_sizes(space))
        is_taken = np.bincount(output_numbers(actions, space).ravel(), minlength=min(n_choices, EXACT)) > 0
        missing = np.flatnonzero(~is_taken)
        if len(missing) and draft.given.get("action_space") is not None:
            message = f"{_some(missing + int(space.start))} of {n_choices} never occur"
            yield note("actions", message, "right if nobody took them; else look at their numbering")
    elif space is not None and not space.is_bounded():  # type: ignore[attr-defined]
        message = f"have no declared range; they reach {np.abs(actions).max():g}"
        yield note("actions", message, "declare it: action_space=Box(...), or env_id=..., of the reader")


def unknown_ends(draft: Draft) -> Iterator[Finding]:
    """Finds timeouts after which no observation was recorded, so that their rows are not learned from."""
    assert draft.episodes is not None
    ends = draft.episodes.ends - 1
    cut = ends[draft.episodes.timeouts[ends] & ~draft.final_known]
    if len(cut):
        fix = "give final_observations or next_observations if they were recorded"
        message = "cut episodes whose last next observation is unknown; those rows are not learned from"
        yield note("timeouts", message, fix, cut)


NOTES: tuple[Rule, ...] = (
    both_flags,
    single_row_episodes,
    open_tail,
    next_rows,
    repeated_rows,
    constant_columns,
    action_range,
    unknown_ends,
)
