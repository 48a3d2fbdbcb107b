"""Doubts about columns of which a dataset can be built all the same, once for every entrance.

Doubts cost next to nothing, and each building of a dataset warns of them. What is often right, or takes a second pass
over the data, is a note of `validate` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets import schema
from offlinekit.datasets.draft import Draft
from offlinekit.datasets.findings import Finding, warning
from offlinekit.datasets.inspection.rules import Rule, located
from offlinekit.datasets.validation import as_float32, blocks, named_leaves, not_finite
from offlinekit.envs.legal_actions import legal_of
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

LOST = 1e-3
"""Share of a column's spread that may be lost by float32 before it is worth a word."""
EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""
SAMPLED = 10_000
"""Rows, evenly chosen, in which a pass over all rows is prepared."""
LONG = 1_000
"""More rows than this without an end are hardly one episode."""
SMALL = 63
"""Bytes that reach no further are hardly pixels."""


def find_doubts(columns: Mapping[str, Any]) -> list[Finding]:
    """Returns what building a dataset of these columns warns of.

    Args:
        columns: Arguments of `MDPDataset` by name, without a fault.
    """
    return list(doubts_of(Draft(columns)))


def doubts_of(draft: Draft) -> Iterator[Finding]:
    """Yields the doubts about a draft without a fault."""
    for rule in DOUBTS:
        for finding in rule(draft):
            yield located(finding, draft.ends)


def given_ends(draft: Draft) -> Array:
    """Returns bool [N], where a flag that was given says that an episode ends."""
    flags = draft.columns
    if "episode_terminals" in flags:
        return np.asarray(flags["episode_terminals"])
    return np.asarray(flags["terminals"] | flags["timeouts"] if "timeouts" in flags else flags["terminals"])


def every_timeout_is_a_terminal(draft: Draft) -> Iterator[Finding]:
    """Finds timeouts each of which is a terminal too, as if `done` had been recorded for `terminated`."""
    both = with_both_flags(draft)
    if 2 <= len(both) == np.count_nonzero(draft.columns.get("timeouts", False)):
        message = "are set at every timeout, and win there, so that no future is counted"
        yield warning("terminals", message, "clear them if only a step limit ended the episode", both)


def with_both_flags(draft: Draft) -> Array:
    """Returns the rows that are given as a terminal and as a timeout."""
    if "timeouts" not in draft.columns:
        return np.zeros(0, np.int64)
    return np.flatnonzero(draft.columns["timeouts"] & draft.columns["terminals"])


def terminals_in_pairs(draft: Draft) -> Iterator[Finding]:
    """Finds terminals on two rows running throughout, as recorders write that hold the flag until the reset."""
    flags = draft.columns["terminals"]
    again = repeats(flags)
    if 2 <= len(again) < len(flags) - 1 and 2 * len(again) >= np.count_nonzero(flags):
        fix = "keep the later of the two, or give episode_terminals, which then rules"
        yield warning("terminals", "are set on two rows running, so the second is an episode", fix, again)


def repeats(flags: Array) -> Array:
    """Returns the rows that have a flag as the row above has."""
    return np.flatnonzero(flags[1:] & flags[:-1]) + 1


def no_end_at_all(draft: Draft) -> Iterator[Finding]:
    """Finds more rows than one episode usually has, and no end among them but one at the last row.

    That one says little, as readers set it for recordings without ends, unless it is a terminal or was observed.
    """
    columns = draft.columns
    was_seen = columns["terminals"][-1] or columns.get("final_observations") is not None
    if len(columns["rewards"]) > LONG and not given_ends(draft)[:-1].any() and not was_seen:
        fix = "set timeouts where episodes end, or cut by a step limit (D4RL: step_limit=1000)"
        yield warning(
            "terminals", "and timeouts are set at no earlier row than the last: all are one episode", fix
        )


def out_of_step(draft: Draft) -> Iterator[Finding]:
    """Finds next observations that differ from the row below where no episode ends: resets that no flag marks."""
    following = draft.next_observations
    if following is None:
        return
    last = given_ends(draft)
    jumps, runs_on = steps_out_of_place(draft.columns["observations"], following, last)
    if len(jumps) and not is_unordered(jumps, last):
        fix = f"set timeouts there{shift_of(jumps, runs_on)}; n steps and windows need it"
        yield warning("next_observations", "differ from the following row though no episode ends", fix, jumps)


def steps_out_of_place(observations: ArrayTree, following: ArrayTree, last: Array) -> tuple[Array, Array]:
    """Returns the rows after which the next observation jumps though no episode ends, and goes on though one ends."""
    differs = np.zeros(len(last) - 1, np.bool_)
    for before, after in zip(leaves(observations), leaves(following), strict=True):
        pairs = zip(blocks(after[:-1]), blocks(before[1:]), strict=True)
        parts = [(left != right).reshape(len(left), -1).any(axis=1) for left, right in pairs]
        differs |= np.concatenate([np.zeros(0, np.bool_), *parts])
    return np.flatnonzero(differs & ~last[:-1]), np.flatnonzero(~differs & last[:-1])


def is_unordered(jumps: Array, last: Array) -> bool:
    """Returns whether most rows within episodes jump, as those of transitions in no order do."""
    return len(jumps) > 0.5 * int(np.count_nonzero(~last[:-1]))


def shift_of(jumps: Array, runs_on: Array) -> str:
    """Returns by how many rows nearly all flags are away from the jumps, in words; else nothing."""
    for shift in (1, -1, 2, -2, 3, -3):
        if len(jumps) and np.isin(jumps - shift, runs_on).mean() > 0.9:
            rows = f"{abs(shift)} row{'s' if abs(shift) > 1 else ''}"
            return f" (flags are {rows} too {'early' if shift > 0 else 'late'})"
    return ""


def lost_precision(draft: Draft) -> Iterator[Finding]:
    """Finds numbers that float32 cannot tell apart, such as times in seconds since 1970."""
    for name in (*schema.names(kind="tree"), "actions", "rewards"):
        if draft.given.get(name) is None or (
            name == "actions" and isinstance(draft.action_space, spaces.Discrete)
        ):
            continue
        for leaf_name, leaf in named_leaves(draft.given[name], name):
            array = np.asarray(leaf)
            if array.dtype.itemsize >= 4 and array.dtype != np.float32:
                yield from _lost_in(leaf_name, array.reshape(len(array), -1))


def _lost_in(name: str, flat: Array) -> Iterator[Finding]:
    sample = flat[:: -(-len(flat) // SAMPLED)].astype(np.float64)
    rounding = np.abs(sample).max(axis=0) / EXACT
    spread = sample.max(axis=0) - sample.min(axis=0)
    for dimension in np.flatnonzero((rounding > LOST * spread) & (spread > 0)):
        column = flat[:, dimension].astype(np.float64)
        lost, deviation = np.abs(column - as_float32(column)), column.std()
        if lost.max() > LOST * deviation:
            place = f" in dimension {dimension}" if flat.shape[1] > 1 else ""
            scale = f"the standard deviation is {deviation:.2g}"
            message = f"are {flat.dtype}, of which float32 loses up to {lost.max():.2g}{place} ({scale})"
            fix = "subtract an offset before building, e.g. x - x.min()"
            yield warning(name, message, fix, np.flatnonzero(lost))
            return


def gaps_in_action_numbers(draft: Draft) -> Iterator[Finding]:
    """Finds numbers of discrete actions that never occur, in data that declare no space."""
    if draft.given.get("action_space") is not None or not isinstance(draft.action_space, spaces.Discrete):
        return
    actions, n = draft.columns["actions"], int(draft.action_space.n)
    if len(np.unique(actions[:SAMPLED])) == n:
        return  # Quicker, and enough for most data.
    taken = np.unique(actions) if n > EXACT else np.flatnonzero(np.bincount(actions))
    if len(taken) < n:
        gap = int(np.argmax(np.append(taken, n) != np.arange(len(taken) + 1)))
        message = f"skip {n - len(taken)} of the numbers 0 to {n - 1}, the first of them {gap}"
        fix = f"number them anew, or declare action_space=Discrete({n}) if nobody took them"
        if gap == 0:
            fix += f", Discrete({n - taken[0]}, start={taken[0]}) if there are none below {taken[0]}"
        yield warning("actions", message, fix)


def whole_numbers_as_floats(draft: Draft) -> Iterator[Finding]:
    """Finds single floats that are whole numbers from 0 or 1 on, or rows of one 1, in data that declare no space."""
    actions = draft.columns["actions"]
    if draft.given.get("action_space") is not None or isinstance(draft.action_space, spaces.Discrete):
        return
    if actions.shape[1] == 1 and _counts(actions[:SAMPLED]) and _counts(actions):
        low, high = int(actions.min()), int(actions.max())
        message = f"are whole numbers from {low} to {high} of dtype float, and so continuous"
        made = "x.astype(int)" + (f" - {low}" if low else "")
        fix = f"convert them by {made} if they number actions, or declare action_space=Box(...)"
        yield warning("actions", message, fix)
    elif actions.shape[1] > 1 and _are_one_hot(actions[:SAMPLED]) and _are_one_hot(actions):
        message = f"are rows of {actions.shape[1]} floats, one of them 1 and the others 0, and so continuous"
        fix = "convert them by x.argmax(axis=1) if they are one-hot, or declare action_space=Box(...)"
        yield warning("actions", message, fix)


def _counts(actions: Array) -> bool:
    low, high = actions.min(), actions.max()
    return bool(low in (0, 1) and high > low and (actions == np.floor(actions)).all())


def _are_one_hot(actions: Array) -> bool:
    ones = actions == 1
    return bool((ones.sum(axis=1) == 1).all() and (ones | (actions == 0)).all())


def bytes_as_vectors(draft: Draft) -> Iterator[Finding]:
    """Finds vectors of small uint8 numbers, which networks divide by 255 as if they were pixels."""
    for name, leaf in named_leaves(draft.columns["observations"], "observations"):
        if (
            leaf.dtype == np.uint8
            and leaf is not legal_of(draft.columns["observations"])
            and leaf.ndim == 2
            and leaf[:SAMPLED].max() <= SMALL
            and leaf.max() <= SMALL
        ):
            message = (
                f"are uint8 vectors of at most {leaf.max()}, which networks divide by 255 as they do pixels"
            )
            yield warning(name, message, "convert them by x.astype(np.float32) unless they are pixels")


def pixels_of_other_integers(draft: Draft) -> Iterator[Finding]:
    """Finds images of integers other than uint8, whose numbers networks take as they are."""
    given = draft.given["observations"]
    for name, leaf in named_leaves(given, "observations"):
        array = np.asarray(leaf)
        is_whole = array.dtype.kind in "iu" and array.dtype != np.uint8 and array.ndim >= 3
        if is_whole and array.min() >= 0 and 1 < array.max() <= 255:
            message = f"are images of dtype {array.dtype}, which become floats and are not divided by 255"
            yield warning(name, message, "convert them by x.astype(np.uint8) if they are pixels")


def extras_not_finite(draft: Draft) -> Iterator[Finding]:
    """Finds NaN and infinities in further columns, which losses and weights refuse."""
    for name in schema.names(kind="named"):
        for key, column in draft.columns.get(name, {}).items():
            for finding in not_finite(column, f"{name}[{key!r}]"):
                message = f"holds {finding.message.rpartition(' ')[2]}, which losses and weights refuse"
                fix = "fill it in, or leave the column to what can do without"
                yield replace(finding, severity="warning", message=message, fix=fix)


DOUBTS: tuple[Rule, ...] = (
    every_timeout_is_a_terminal,
    terminals_in_pairs,
    no_end_at_all,
    out_of_step,
    lost_precision,
    gaps_in_action_numbers,
    whole_numbers_as_floats,
    bytes_as_vectors,
    pixels_of_other_integers,
    extras_not_finite,
)
