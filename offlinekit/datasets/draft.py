"""Drafts: columns of a caller or reader on their way to a dataset, to which the rules apply."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.datasets import episodes, schema, spaces, validation
from offlinekit.datasets.findings import Finding, findings_of, refused
from offlinekit.envs.legal_actions import LEGAL_ACTIONS, has_legal_actions, joined, joined_space, legal_of
from offlinekit.errors import DatasetError
from offlinekit.types import Array, leaves, map_tree, rows

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree


class Draft:
    """Arguments of MDPDataset, each column read once.

    Args:
        given: Arguments by name.

    Attributes:
        given: As given; log-probabilities among the extras count as the column of that name.
        columns: What could be read, by name, in the dtypes of a dataset; not given ones are absent.
        unread: Findings of what could not.
        action_space: Declared, or taken from the actions; None if they could not be read.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = _with_lists(_with_log_probs(given))
        self.columns: dict[str, Any] = {}
        self.unread: list[Finding] = []
        self.action_space: spaces.Space | None = None
        for column in schema.COLUMNS:
            value = self.given.get(column.name)
            if column.is_argument and value is not None:
                self._read(column, value)
        if {"observations", LEGAL_ACTIONS} <= self.columns.keys():
            legal = self.columns.pop(LEGAL_ACTIONS)
            self.columns["observations"] = joined(self.columns["observations"], legal)

    def _read(self, column: schema.Column, value: object) -> None:
        try:
            if column.kind == "actions":
                actions_and_space = spaces.as_actions(value, self.given.get("action_space"))
                self.columns[column.name], self.action_space = actions_and_space
            else:
                self.columns[column.name] = READERS[column.kind](value, column.name)
        except DatasetError as error:
            self.unread += findings_of(error)

    def set_aside(self, field: str) -> None:
        """Removes the column of a field, so that no later rule checks it."""
        column = schema.column_of(field)
        if column is not None:
            self.columns.pop(column.name, None)

    @property
    def n_rows(self) -> int | None:
        """The number of rows, which is that of the rewards; None if they could not be read."""
        return len(self.columns["rewards"]) if "rewards" in self.columns else None

    @cached_property
    def episodes(self) -> episodes.Episodes | None:
        """The episodes; None if a flag could not be read, has another length, or contradicts another."""
        flags = {name: self.columns[name] for name in schema.FLAGS if name in self.columns}
        given = {name for name in schema.FLAGS if self.given.get(name) is not None}
        is_sound = flags.keys() == given | {"terminals"} and {len(flag) for flag in flags.values()} == {
            self.n_rows
        }
        if not is_sound or not self.n_rows or any(episodes.denied_ends(flags)):
            return None
        return episodes.cut_into_episodes(flags)

    @property
    def observation_space(self) -> spaces.Space:
        """The space of the observations, legal actions included; declared, or taken from them."""
        declared: spaces.Space | None = self.given.get("observation_space")
        legal = legal_of(self.columns["observations"])
        if declared is None:
            return spaces.infer_observation_space(self.columns["observations"])
        return (
            declared
            if legal is None or has_legal_actions(declared)
            else joined_space(declared, legal.shape[1])
        )

    @property
    def ends(self) -> Array | None:
        """Where episodes end, int64 [E], exclusive; None as `episodes`."""
        return None if self.episodes is None else self.episodes.ends

    @cached_property
    def next_observations(self) -> ArrayTree | None:
        """The observations after all rows, if they are given and differ from the rows below; else None.

        Those that `final_known` says were not recorded are zeros.
        """
        column: ArrayTree | None = self.columns.get("next_observations")
        if column is None or self.episodes is None or "observations" not in self.columns:
            return column
        ends = self.episodes.ends
        if episodes.is_shift(self.columns["observations"], column, ends):
            return None
        if len(self.final_known) != len(ends) or self.final_known.all():
            return column  # Of another length it is left to the rules.
        known = np.ones(int(ends[-1]), np.bool_)
        known[ends - 1] = self.final_known
        return blank(column, known)

    @cached_property
    def final_known(self) -> Array:
        """Which final observations are given, bool [E]."""
        assert self.episodes is not None
        known: Array | None = self.columns.get("final_known")
        has_finals = not {"next_observations", "final_observations"}.isdisjoint(self.columns)
        return np.full(len(self.episodes.ends), has_finals) if known is None else known

    @cached_property
    def final_observations(self) -> ArrayTree | None:
        """A tree of [E, ...] with zeros in place of those that are not known; None if none is given."""
        final = self.columns.get("final_observations")
        if final is None and "next_observations" in self.columns:
            assert self.episodes is not None
            final = rows(self.columns["next_observations"], self.episodes.ends - 1)
        return None if final is None else blank(final, self.final_known)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata as JSON gives it back."""
        return plain(self.given.get("metadata"))


READERS: Mapping[schema.Kind, Callable[[Any, str], Any]] = {
    "tree": validation.as_observations,
    "legal": validation.as_legal_actions,
    "number": lambda values, field: validation.as_float32(validation.as_vector(values, field)),
    "flag": validation.as_flags,
    "named": validation.as_extras,
}


def _with_log_probs(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments whose log-probabilities stand under their own name, not among the extras."""
    arguments, extras = dict(given), given.get("extras")
    if isinstance(extras, dict) and "behavior_log_probs" in extras:
        arguments["extras"] = {name: extras[name] for name in extras if name != "behavior_log_probs"}
        if arguments.get("behavior_log_probs") is None:
            arguments["behavior_log_probs"] = extras["behavior_log_probs"]
    return arguments


def _with_lists(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments in which a tuple of numbers is a list, so that no rule takes it for a tree of columns."""
    arguments = dict(given)
    for column in schema.COLUMNS:
        value = arguments.get(column.name)
        is_tree = column.kind == "tree" or (
            column.kind == "actions" and isinstance(given.get("action_space"), gymnasium.spaces.Tuple)
        )
        if isinstance(value, tuple) and not is_tree:
            arguments[column.name] = list(value)
        elif column.kind == "named" and isinstance(value, dict):
            arguments[column.name] = {
                name: list(each) if isinstance(each, tuple) else each for name, each in value.items()
            }
    return arguments


def blank(finals: ArrayTree, known: Array) -> ArrayTree:
    """Returns a copy of a tree of [E, ...] or [N, ...] with zeros, and all actions legal, where `known` is False."""
    blanked: ArrayTree = map_tree(np.copy, finals)
    for leaf in leaves(blanked):
        leaf[~known] = 0
    legal = legal_of(blanked)
    if legal is not None:
        legal[~known] = 1
    return blanked


def empty_finals(observations: ArrayTree, n_episodes: int) -> ArrayTree:
    """Returns zeros of [n_episodes, ...] in the shape of a tree of observations, all actions legal."""
    finals = map_tree(lambda leaf: np.zeros((n_episodes, *leaf.shape[1:]), leaf.dtype), observations)
    return blank(finals, np.zeros(n_episodes, np.bool_))


def plain(metadata: object) -> dict[str, Any]:
    """Returns a copy of metadata as JSON would give it back.

    Raises:
        DatasetError: For what is no dict, or what JSON cannot hold.
    """
    if not isinstance(metadata, dict | None):
        raise refused("metadata", f"must be a dict, got {type(metadata).__name__}", "name each value")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(metadata or {}))
    except (TypeError, ValueError) as error:
        message = f"must be plain data that JSON can hold, got {metadata!r:.200} ({error})"
        raise refused("metadata", message, "convert arrays by x.tolist(), numbers by float(x)") from error
    return copied
