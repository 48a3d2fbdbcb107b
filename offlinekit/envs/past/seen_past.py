"""The newest observations of episodes, and what a policy sees of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from offlinekit.envs.legal_actions import LEGAL_ACTIONS
from offlinekit.envs.past.sight import Sight, is_image
from offlinekit.types import Array, ArrayTree, map_tree, stack_trees
from offlinekit.types import rows as rows_of


def over_rest(function: Callable[..., Any], *trees: Any) -> Any:
    """Applies a function to each leaf of observations but for the legal actions, which are those of the last tree."""
    if not (isinstance(trees[0], dict) and LEGAL_ACTIONS in trees[0]):
        return map_tree(function, *trees)
    rest = [{key: branch for key, branch in tree.items() if key != LEGAL_ACTIONS} for tree in trees]
    mapped = {**map_tree(function, *rest), LEGAL_ACTIONS: trees[-1][LEGAL_ACTIONS]}
    return {key: mapped[key] for key in trees[0]}


class Past:
    """The newest observations of episodes side by side, and what a policy sees of them.

    Args:
        sight: Of the policy.
    """

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        self._newest: dict[int | None, tuple[ArrayTree, ...]] = {}

    def seen(self, observations: ArrayTree, episodes: Sequence[int | None]) -> ArrayTree:
        """Returns the stacks or histories [B, ...] that end with the observations [B, ...] of B episodes."""
        each = [self.after(rows_of(observations, i), episode) for i, episode in enumerate(episodes)]
        batch: ArrayTree = stack_trees(each)
        return batch

    def after(self, observation: ArrayTree, episode: int | None = None) -> ArrayTree:
        """Returns the stack or history that ends with the newest observation of an episode."""
        own = map_tree(np.array, observation)  # An environment may reuse its buffer.
        n = max(self.sight.frame_stack, self.sight.history)
        newest = self._newest[episode] = (*self._newest.get(episode, ()), own)[-n:]
        return seen_of(newest, self.sight)

    def forget(self, episode: int | None) -> None:
        """Begins an episode anew, or lets go of one that is over."""
        self._newest.pop(episode, None)


def seen_of(newest: Sequence[ArrayTree], sight: Sight) -> ArrayTree:
    """Returns what a policy sees after the newest observations of an episode, at least one and no more than it sees."""
    if sight.history > 1:
        return history_of(newest, sight.history)
    stack, pad, _ = sight

    def joined(*images: Array) -> Array:
        if not is_image(images[-1].dtype, images[-1].shape):
            return images[-1]
        before = images[0] if pad == "repeat" else np.zeros_like(images[0])
        return np.concatenate([*[before] * (stack - len(images)), *images])

    seen: ArrayTree = map_tree(joined, *newest)
    return seen


def history_of(seen: Sequence[ArrayTree], n_rows: int) -> ArrayTree:
    """Returns the history [K, ...] that the newest observations of an episode make, at most K and at least one."""
    history: ArrayTree = over_rest(lambda *rows: np.stack(rows), *[seen[0]] * (n_rows - len(seen)), *seen)
    return history
