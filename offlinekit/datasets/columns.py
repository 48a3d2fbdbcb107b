"""The columns of a dataset: taken in, cut into episodes and checked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from offlinekit.datasets import episodes, spaces, validation
from offlinekit.datasets.editing.dropping import Nonfinite, is_dropping, without_nonfinite
from offlinekit.datasets.intake import note_arguments
from offlinekit.errors import DatasetError
from offlinekit.types import Array, map_tree, rows

ROW_COLUMNS = (
    "observations",
    "actions",
    "rewards",
    "terminals",
    "timeouts",
    "next_observations",
    "extras",
    "behavior_log_probs",
    "masks",
)
"""Names of the columns with one entry a row; the last two and `next_observations` may be None."""


class EpisodeColumns:
    """Checked columns of N rows in E episodes; `MDPDataset` documents arguments and attributes."""

    observations: Any
    actions: Array
    rewards: Array
    terminals: Array
    timeouts: Array
    episode_starts: Array
    episode_ends: Array
    final_observations: Any
    final_known: Array
    next_observations: Any
    observation_space: spaces.Space
    action_space: spaces.Space
    behavior_log_probs: Array | None
    masks: Array | None
    extras: dict[str, Array]
    episode_extras: dict[str, Array]
    name: str
    metadata: dict[str, Any]

    def __init__(
        self,
        observations: Any,
        actions: Any,
        rewards: Any,
        terminals: Any,
        episode_terminals: Any | None = None,
        *,
        timeouts: Any | None = None,
        next_observations: Any | None = None,
        action_space: spaces.Space | None = None,
        create_mask: bool = False,
        mask_size: int = 1,
        observation_space: spaces.Space | None = None,
        seed: int = 0,
        final_observations: Any | None = None,
        final_known: Any | None = None,
        behavior_log_probs: Any | None = None,
        extras: dict[str, Any] | None = None,
        episode_extras: dict[str, Any] | None = None,
        name: str = "custom",
        metadata: dict[str, Any] | None = None,
        nonfinite: Nonfinite | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "nonfinite")}
        note_arguments(given)
        if is_dropping(nonfinite):
            kept = without_nonfinite(given)
            if kept is not given:
                EpisodeColumns.__init__(self, **kept, nonfinite="refuse")
                return
        self.name = name
        self.metadata = plain(metadata)
        self.rewards = validation.as_float32(validation.as_vector(rewards, "rewards"))
        if len(self.rewards) == 0:
            raise DatasetError("the dataset is empty, expected at least one row; check how it was read")
        self._set_columns(observations, actions, observation_space, action_space)
        found = episodes.find_episodes(terminals, timeouts, episode_terminals, len(self))
        self.terminals, self.timeouts, self.episode_starts, self.episode_ends = found
        self._set_next(next_observations, final_observations, final_known)
        extras = dict(extras or {})
        kept = extras.pop("behavior_log_probs", None)  # How readers pass it on, beside what else they keep.
        self._set_log_probs(kept if behavior_log_probs is None else behavior_log_probs)
        self._check_values()
        self.extras = validation.as_extras(extras, "extras", len(self), "rows")
        self.episode_extras = validation.as_extras(
            episode_extras, "episode_extras", self.n_episodes, "episodes"
        )
        self.masks = draw_masks(len(self), mask_size, seed) if create_mask else None

    def _set_columns(
        self,
        observations: Any,
        actions: Any,
        observation_space: spaces.Space | None,
        action_space: spaces.Space | None,
    ) -> None:
        self.observations = validation.as_observations(observations)
        validation.check_length(self.observations, "observations", len(self))
        validation.check_length(validation.as_array(actions, "actions"), "actions", len(self))
        self.actions, self.action_space = spaces.as_actions(actions, action_space)
        self.observation_space = observation_space or spaces.infer_observation_space(self.observations)
        spaces.check_observations(self.observations, self.observation_space)

    def _set_next(self, column: Any | None, final: Any | None, known: Any | None) -> None:
        self.next_observations = None
        if column is not None:
            if final is not None:
                raise DatasetError("next_observations and final_observations say the same; give one of them")
            column = validation.as_observations(column, "next_observations")
            validation.check_length(column, "next_observations", len(self))
            validation.check_like(column, self.observations, "next_observations", "observations")
            final = rows(column, self.episode_ends - 1)
            if not episodes.is_shift(self.observations, column, self.episode_ends):
                validation.check_finite(column, "next_observations", self._place)
                self.next_observations = column
        self._set_final(final, known)

    def _set_final(self, final: Any | None, known: Any | None) -> None:
        given = np.full(self.n_episodes, final is not None) if known is None else known
        flags = validation.as_flags(given, "final_known")
        validation.check_length(flags, "final_known", self.n_episodes, "entries")
        self.final_known = flags
        if final is None:
            if flags.any():
                raise DatasetError("final_known is set, but neither final_ nor next_observations are given")
            self.final_observations = empty_finals(self.observations, self.n_episodes)
            return
        final = validation.as_observations(final, "final_observations")
        validation.check_length(final, "final_observations", self.n_episodes, "episodes")
        validation.check_like(final, self.observations, "final_observations", "observations")
        self.final_observations = map_tree(lambda leaf: _blank_unknown(leaf, flags), final)

    def _set_log_probs(self, given: Any | None) -> None:
        self.behavior_log_probs = None
        if given is None:
            return
        column = validation.as_float32(validation.as_vector(given, "behavior_log_probs"))
        validation.check_length(column, "behavior_log_probs", len(self))
        validation.check_finite(column, "behavior_log_probs", self._place)
        spaces.check_log_probs(column, self.action_space, self._place)
        self.behavior_log_probs = column

    def _adopt(self, columns: dict[str, Any], masks: Array | None) -> None:
        """Takes up columns of a file that were checked before it was written, and reads none of them through."""
        found = episodes.find_episodes(
            columns["terminals"], columns["timeouts"], columns["episode_terminals"], len(columns["rewards"])
        )
        self.terminals, self.timeouts, self.episode_starts, self.episode_ends = found
        for name in ("name", "metadata", "rewards", "observations", "actions", "final_known"):
            setattr(self, name, columns[name])
        self.extras = validation.as_extras(columns["extras"], "extras", len(self), "rows")
        self.episode_extras = validation.as_extras(
            columns["episode_extras"], "episode_extras", self.n_episodes, "episodes"
        )
        self.observation_space, self.action_space = columns["observation_space"], columns["action_space"]
        self.next_observations, self.masks = columns.get("next_observations"), masks
        self.behavior_log_probs = columns.get("behavior_log_probs")
        self.final_observations = columns.get("final_observations")
        if self.next_observations is not None:
            final = rows(self.next_observations, self.episode_ends - 1)
            self.final_observations = map_tree(lambda leaf: _blank_unknown(leaf, self.final_known), final)
        for name in ("observations", "actions", "next_observations", "behavior_log_probs", "masks"):
            if getattr(self, name) is not None:
                validation.check_length(getattr(self, name), name, len(self))
        spaces.check_observations(self.observations, self.observation_space)
        for name in ("final_observations", "final_known"):
            validation.check_length(getattr(self, name), name, self.n_episodes, "episodes")

    def _check_values(self) -> None:
        validation.check_finite(self.observations, "observations", self._place)
        validation.check_finite(self.actions, "actions", self._place)
        validation.check_finite(self.rewards, "rewards", self._place)
        validation.check_finite(self.final_observations, "final_observations", "the end of episode {}".format)
        spaces.check_actions(self.actions, self.action_space, self._place)

    def _place(self, row: int) -> str:
        return f"row {row}, in episode {int(np.searchsorted(self.episode_ends, row, side='right'))}"

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.rewards)

    @property
    def n_episodes(self) -> int:
        """The number of episodes."""
        return len(self.episode_ends)


def draw_masks(n_rows: int, n_members: int, seed: int) -> Array:
    """Returns uint8 [n_rows, n_members] of fair coin flips from an own generator.

    Raises:
        DatasetError: For fewer than one member.
    """
    if n_members < 1:
        raise DatasetError(f"mask_size must be at least 1, got {n_members}")
    return np.random.default_rng(seed).integers(0, 2, size=(n_rows, n_members), dtype=np.uint8)


def empty_finals(observations: Any, n_episodes: int) -> Any:
    """Returns zeros of [n_episodes, ...] in the shape of a tree of observations."""
    return map_tree(lambda leaf: np.zeros((n_episodes, *leaf.shape[1:]), leaf.dtype), observations)


def plain(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Returns a copy of metadata as JSON would give it back.

    Raises:
        DatasetError: Where JSON cannot hold it.
    """
    try:
        copied: dict[str, Any] = json.loads(json.dumps(metadata or {}))
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"metadata must be plain data that JSON can hold, got {metadata!r} ({error})"
        ) from error
    return copied


def _blank_unknown(leaf: Array, known: Array) -> Array:
    blanked: Array = leaf.copy()
    blanked[~known] = 0
    return blanked
