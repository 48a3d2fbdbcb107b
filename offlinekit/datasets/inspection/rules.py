"""The rules that columns must keep to make a dataset, once for building, `validate` and every edit.

A rule takes a draft and yields findings. `STRUCTURE` comes first; what it finds fault with is set aside, so that
`VALUES` look at sound columns of equal length alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from offlinekit.datasets import schema, validation
from offlinekit.datasets.draft import Draft
from offlinekit.datasets.episodes import denied_ends
from offlinekit.datasets.findings import Finding, fault, findings_of
from offlinekit.datasets.inspection.text_rules import broken_text, no_tokens
from offlinekit.datasets.spaces import outside, unfit
from offlinekit.envs.legal_actions import LEGAL_ACTIONS, OBSERVATIONS, legal_of
from offlinekit.errors import DatasetError, did_you_mean
from offlinekit.ground.action_spaces import output_numbers, part_sizes, without_choice
from offlinekit.types import Array

Rule: TypeAlias = Callable[[Draft], Iterator[Finding]]
LIKE_OBSERVATIONS = ("next_observations", "final_observations")
MOST_LOG_PROB = 1e-4
"""Log-probabilities of 0 may be rounded up to here."""


def find_faults(columns: Mapping[str, Any]) -> list[Finding]:
    """Returns all that prevents a dataset of these columns; building raises the first of it.

    Args:
        columns: Arguments of `MDPDataset` by name.
    """
    return list(faults_of(Draft(columns)))


def faults_of(draft: Draft) -> Iterator[Finding]:
    """Yields the faults of a draft, and sets aside the columns that have no sound structure."""
    for rule in STRUCTURE:
        for finding in rule(draft):
            draft.set_aside(finding.field)
            yield located(finding, draft.ends)
        if rule is wrong_lengths and draft.n_rows is None:  # Nothing to compare with.
            return
    for rule in VALUES:
        for finding in rule(draft):
            yield located(finding, draft.ends)


def action_faults(draft: Draft) -> Iterator[Finding]:
    """Yields what prevents the action space of a draft whose other columns are known to be sound."""
    for rule in (unreadable, *OF_ACTIONS):
        for finding in rule(draft):
            yield located(finding, draft.ends)


def located(finding: Finding, ends: Array | None) -> Finding:
    """Returns a finding that says its episode.

    Args:
        finding: Its row may be that of a column with one entry an episode.
        ends: int64 [E], exclusive; None if there are no episodes.
    """
    column = schema.column_of(finding.field)
    if finding.row is None or column is None:
        return finding
    if column.per == "episode":
        return replace(finding, row=None, episode=finding.row)
    episode = None if ends is None else int(np.searchsorted(ends, finding.row, side="right"))
    return replace(finding, episode=episode)


def unknown_names(draft: Draft) -> Iterator[Finding]:
    """Finds names that are no argument of MDPDataset."""
    known = schema.ARGUMENTS
    for name in draft.given.keys() - set(known):
        fix = f"keep a column of your own in extras={{{name!r}: ...}}"
        yield fault(name, f"is no column of a dataset{did_you_mean(name, known)}", fix)


def rows_by_episode(draft: Draft) -> Iterator[Finding]:
    """Finds rewards in one list or row an episode, in place of one number a row."""
    seen, rewards = (draft.given.get(name) for name in ("observations", "rewards"))
    if not isinstance(seen, list | np.ndarray) or not isinstance(rewards, list | np.ndarray):
        return
    if (
        not len(seen) == len(rewards) > 0
        or any(
            np.ndim(each) != 1
            or not isinstance(rows, list | np.ndarray)
            or len(each) != len(rows)  # [N, 1] beside images, say.
            or np.shape(rows[:1])[1:] == ()
            for each, rows in zip(rewards, seen, strict=True)
        )
    ):
        return
    if all(len(each) == 1 for each in rewards):
        return
    fix = (
        "put their rows below one another, np.concatenate(x) for every column, and say where episodes end by "
        "episode_terminals=np.concatenate([np.arange(len(x)) == len(x) - 1 for x in rewards])"
    )
    yield fault("rewards", f"must be one number a row, got {len(rewards)} episodes of their own", fix)


def unreadable(draft: Draft) -> Iterator[Finding]:
    """Finds columns that are missing, ragged, of objects, or of another kind, shape or dtype than theirs."""
    for name in schema.REQUIRED:
        if draft.given.get(name) is None:
            yield fault(name, "is missing", "give the column, or name its key by an option of the reader")
    yield from draft.unread


def wrong_lengths(draft: Draft) -> Iterator[Finding]:
    """Finds no rows at all, and columns that have not one entry for each row."""
    if draft.n_rows == 0:
        yield fault(
            "rewards", "is empty: the dataset is empty, expected at least one row", "check how it was read"
        )
    elif draft.n_rows is not None:
        yield from _misfits(draft, "row", draft.n_rows)


def contradicting_ends(draft: Draft) -> Iterator[Finding]:
    """Finds terminals and timeouts inside episodes that `episode_terminals` says."""
    yield from denied_ends({name: draft.columns[name] for name in schema.FLAGS if name in draft.columns})


def wrong_numbers_of_episodes(draft: Draft) -> Iterator[Finding]:
    """Finds columns that have not one entry for each episode."""
    if draft.ends is not None:
        yield from _misfits(draft, "episode", len(draft.ends))


def _misfits(draft: Draft, per: str, expected: int) -> Iterator[Finding]:
    for name in schema.names(per=per, is_argument=True):
        if name in draft.columns:
            yield from validation.misfits(draft.columns[name], name, expected, f"{per}s")


def final_twice_or_not_at_all(draft: Draft) -> Iterator[Finding]:
    """Finds final observations that are given twice, or said to be known and not given."""
    following, final = (draft.given.get(name) is not None for name in LIKE_OBSERVATIONS)
    if following and final:
        message = "and next_observations say the same"
        yield fault("final_observations", message, "give one of them")
    if not following and not final and draft.columns.get("final_known", np.zeros(1)).any():
        message = "is set, but neither final_observations nor next_observations are given"
        yield fault("final_known", message, "give them, or leave final_known out")


def unlike_observations(draft: Draft) -> Iterator[Finding]:
    """Finds next and final observations of another structure, shape or dtype than the observations."""
    observations = draft.columns.get("observations")
    for name in LIKE_OBSERVATIONS:
        if observations is None or name not in draft.columns:
            continue
        if legal_of(observations) is not None and legal_of(draft.columns[name]) is None:
            fix = f"give {name}={{'{OBSERVATIONS}': ..., '{LEGAL_ACTIONS}': [N, A]}}, or leave them out"
            yield fault(name, "must have legal actions, as the observations have", fix)
        else:
            yield from validation.unlike(draft.columns[name], observations, name, "observations")


def wrong_observation_space(draft: Draft) -> Iterator[Finding]:
    """Finds observations that have not the structure, shape or kind of a declared space."""
    observations = draft.columns.get("observations")
    if draft.given.get("observation_space") is not None and observations is not None:
        try:
            yield from unfit(observations, draft.observation_space)
        except DatasetError as error:
            yield from findings_of(error)


def wrong_facts(draft: Draft) -> Iterator[Finding]:
    """Finds metadata that JSON cannot hold, reference scores that are equal or no numbers, and masks of no member."""
    try:
        yield from _wrong_scores(draft.metadata)
    except DatasetError as error:
        yield from findings_of(error)
    size = draft.given.get("mask_size", 1)
    if draft.given.get("create_mask") and not (isinstance(size, int | np.integer) and size >= 1):
        yield fault("mask_size", f"must be at least 1, got {size!r}", "give the number of ensemble members")


def _wrong_scores(metadata: Mapping[str, Any]) -> Iterator[Finding]:
    scores = [metadata.get(f"reference_{end}_score") for end in ("min", "max")]
    if None in scores:
        return
    if not all(isinstance(score, int | float) and np.isfinite(score) for score in scores):
        message = f"must have finite numbers as reference scores, got {scores[0]!r} and {scores[1]!r}"
        yield fault("metadata", message, "leave them out if they are unknown")
    elif scores[0] == scores[1]:
        message = f"must have two different reference scores, got {scores[0]} twice"
        yield fault("metadata", message, "leave them out if they are unknown")


def not_finite(draft: Draft) -> Iterator[Finding]:
    """Finds NaN, infinities, and numbers too large for float32."""
    for name in (*schema.names(kind="tree", per="row"), "actions", *schema.names(kind="number")):
        tree = draft.next_observations if name == "next_observations" else draft.columns.get(name)
        if tree is not None:
            yield from validation.not_finite(tree, name)
    if draft.ends is not None and draft.final_observations is not None:
        yield from validation.not_finite(draft.final_observations, "final_observations")


def outside_action_space(draft: Draft) -> Iterator[Finding]:
    """Finds actions outside their space."""
    if "actions" in draft.columns and draft.action_space is not None:
        yield from outside(draft.columns["actions"], draft.action_space)


def _taken_illegally(legal: Array, actions: Array, space: spaces.Discrete) -> Array:
    taken = np.take_along_axis(legal, output_numbers(actions, space), 1)
    return np.asarray((taken == 0).any(1))


def illegal_actions(draft: Draft) -> Iterator[Finding]:
    """Finds legal actions of continuous ones or of another number of actions, rows without one, and illegal actions."""
    legal, space = legal_of(draft.columns.get("observations")), draft.action_space
    if legal is None or space is None:
        return
    field, actions = "legal_actions", draft.columns.get("actions")
    if not isinstance(space, spaces.Discrete):
        yield fault(
            field, f"are of discrete actions, got {space}", "leave them out, or name the key otherwise"
        )
    elif legal.shape[1] != (n_entries := sum(part_sizes(space))):
        message = f"must have an entry for each of {n_entries} actions, got {legal.shape[1]}"
        yield fault(field, message, f"declare action_space=Discrete({legal.shape[1]})")
    elif len(none := np.flatnonzero(without_choice(legal, space))):
        yield fault(field, "has no legal action", "leave rows without a choice out", none)
    elif actions is not None and len(wrong := np.flatnonzero(_taken_illegally(legal, actions, space))):
        message = f"says that the action taken, {actions[wrong[0]]}, is not legal"
        yield fault(field, message, "mark what was done as legal, or leave these episodes out", wrong)


def positive_log_probs(draft: Draft) -> Iterator[Finding]:
    """Finds log-probabilities of discrete actions above 0."""
    column = draft.columns.get("behavior_log_probs")
    if column is not None and draft.action_space is not None:
        yield from no_log_probs(column, draft.action_space)


def no_log_probs(
    column: Array, space: spaces.Space[Any], field: str = "behavior_log_probs"
) -> Iterator[Finding]:
    """Yields a fault if a log-probability [N] is above 0 though the actions are discrete."""
    above = np.flatnonzero(column > MOST_LOG_PROB)
    if len(above) and isinstance(space, spaces.Discrete):
        message = f"must be at most 0, got {column[above[0]]:.4g}"
        fix = "give logarithms of the probabilities of these discrete actions, e.g. np.log(p)"
        yield fault(field, message, fix, above)


STRUCTURE: tuple[Rule, ...] = (
    unknown_names,
    rows_by_episode,
    unreadable,
    wrong_lengths,
    contradicting_ends,
    wrong_numbers_of_episodes,
    final_twice_or_not_at_all,
    unlike_observations,
    wrong_observation_space,
    wrong_facts,
)
OF_ACTIONS: tuple[Rule, ...] = (outside_action_space, illegal_actions, positive_log_probs)
VALUES: tuple[Rule, ...] = (
    not_finite,
    *OF_ACTIONS,
    no_tokens,
    broken_text,
)
