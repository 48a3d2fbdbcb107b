"""The columns of a dataset: taken in, cut into episodes and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import episodes, schema, spaces, validation
from offlinekit.datasets.draft import Draft, blank, empty_finals
from offlinekit.datasets.editing.dropping import Nonfinite, without_nonfinite
from offlinekit.datasets.findings import refuse_first, refused
from offlinekit.datasets.inspection.doubts import doubts_of
from offlinekit.datasets.inspection.rules import faults_of
from offlinekit.errors import DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.ground.hints import naming_arguments
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.types import ArrayTreeLike


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

    @naming_arguments("MDPDataset")
    def __init__(
        self,
        observations: ArrayTreeLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        terminals: ArrayLike,
        episode_terminals: ArrayLike | None = None,
        *,
        timeouts: ArrayLike | None = None,
        next_observations: ArrayTreeLike | None = None,
        action_space: spaces.Space | None = None,
        create_mask: bool = False,
        mask_size: int = 1,
        observation_space: spaces.Space | None = None,
        seed: int = 0,
        final_observations: ArrayTreeLike | None = None,
        final_known: ArrayLike | None = None,
        legal_actions: ArrayLike | None = None,
        behavior_log_probs: ArrayLike | None = None,
        extras: dict[str, Any] | None = None,
        episode_extras: dict[str, Any] | None = None,
        name: str = "custom",
        metadata: dict[str, Any] | None = None,
        nonfinite: Nonfinite = "refuse",
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "nonfinite")}
        draft = without_nonfinite(Draft(given), nonfinite)
        refuse_first(faults_of(draft))
        for finding in doubts_of(draft):
            warn_caller(finding.text, DatasetWarning)
        assert draft.episodes is not None  # As there is no fault.
        assert draft.action_space is not None
        self.name, self.metadata = name, draft.metadata
        self.terminals, self.timeouts, self.episode_starts, self.episode_ends = draft.episodes
        for column in ("observations", "actions", "rewards"):
            setattr(self, column, draft.columns[column])
        self.behavior_log_probs = draft.columns.get("behavior_log_probs")
        self.next_observations, self.final_known = draft.next_observations, draft.final_known
        self.final_observations = draft.final_observations
        if self.final_observations is None:
            self.final_observations = empty_finals(self.observations, self.n_episodes)
        self.extras = draft.columns.get("extras", {})
        self.episode_extras = draft.columns.get("episode_extras", {})
        self.action_space = draft.action_space
        self.observation_space = draft.observation_space
        self.masks = draw_masks(len(self), mask_size, seed) if create_mask else None

    def _adopt(self, columns: schema.Columns, masks: Array | None) -> None:
        """Adopts columns of a file that were checked before it was written, without reading any of them through."""
        flags = {name: columns[name] for name in ("terminals", "timeouts")}
        self.terminals, self.timeouts, self.episode_starts, self.episode_ends = episodes.cut_into_episodes(
            flags
        )
        for name in (*schema.names(is_kept=True), *schema.FACTS):
            if name not in flags and name in columns:
                setattr(self, name, columns[name])
        for name in schema.names(kind="named"):
            setattr(self, name, validation.as_extras(columns[name], name))
        self.next_observations, self.masks = columns.get("next_observations"), masks
        self.behavior_log_probs = columns.get("behavior_log_probs")
        if self.next_observations is not None:
            final = rows(self.next_observations, self.episode_ends - 1)
            self.final_observations = blank(final, self.final_known)
        for per, expected in (("row", len(self)), ("episode", self.n_episodes)):
            for name in schema.names(per=per, is_kept=True):
                if getattr(self, name) is not None:
                    validation.check_length(getattr(self, name), name, expected, f"{per}s")
        spaces.check_observations(self.observations, self.observation_space)

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
        raise refused(
            "mask_size", f"must be at least 1, got {n_members}", "give the number of ensemble members"
        )
    return np.random.default_rng(seed).integers(0, 2, size=(n_rows, n_members), dtype=np.uint8)
