"""What a policy sees of the past: stacks of images along the channels, and histories of the last rows.

A history of K rows gives each leaf [...] of the observations an axis of time, [K, ...], the newest row last. Before an
episode's first row stands that row again: nothing is seen of the episode before. Legal actions are those of the newest
row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers

from offlinekit.envs.callable_policies import Act
from offlinekit.envs.legal_actions import LEGAL_ACTIONS, space_of_rest
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.interfaces import PolicyLike
from offlinekit.types import Array, ArrayTree, map_tree, stack_trees
from offlinekit.types import rows as rows_of

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

PADS = ("zero", "repeat")


class Sight(NamedTuple):
    """How far back a policy sees."""

    frame_stack: int  # Images in one observation, along the channels.
    frame_pad: str  # What stands before an episode's first image: "zero" or "repeat".
    history: int  # Rows in one observation, along an axis of time.


def sight_of(policy: object) -> Sight:
    """Returns how far back a policy sees; of one that does not say, single rows."""
    stack, pad = getattr(policy, "frame_stack", 1), getattr(policy, "frame_pad", "zero")
    return Sight(stack, pad, getattr(policy, "history_length", 1))


def is_image(dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> bool:
    """Returns whether an observation of a dtype and shape is an image: uint8 with three axes."""
    return bool(dtype == np.uint8) and len(shape) == 3


class Window(spaces.Box):
    """A leaf of observations with a history, [K, ...]: K rows of an episode, the newest last."""

    @property
    def row(self) -> spaces.Box:
        """The space of one row."""
        return spaces.Box(self.low[0], self.high[0], dtype=self.dtype.type)


def over_rest(function: Callable[..., Any], *trees: Any) -> Any:
    """Applies a function to each leaf of observations but for the legal actions, which are those of the last tree."""
    if not (isinstance(trees[0], dict) and LEGAL_ACTIONS in trees[0]):
        return map_tree(function, *trees)
    rest = [{key: branch for key, branch in tree.items() if key != LEGAL_ACTIONS} for tree in trees]
    mapped = {**map_tree(function, *rest), LEGAL_ACTIONS: trees[-1][LEGAL_ACTIONS]}
    return {key: mapped[key] for key in trees[0]}


def over_spaces(
    function: Callable[[spaces.Space[Any]], spaces.Space[Any]], space: spaces.Space[Any]
) -> spaces.Space[Any]:
    """Returns a space of observations whose leaves but for the legal actions are those that a function returns."""
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
        return spaces.Dict(
            {key: part if key == LEGAL_ACTIONS else over_spaces(function, part) for key, part in parts}
        )
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([over_spaces(function, part) for part in space.spaces])
    return function(space)


def history_space(space: spaces.Space[Any], n_rows: int) -> spaces.Space[Any]:
    """Returns the observation space of histories of so many rows; of one row the space itself.

    Raises:
        UnsupportedError: For observations that are no arrays of numbers.
    """

    def window(leaf: spaces.Space[Any]) -> spaces.Space[Any]:
        if isinstance(leaf, Window):
            raise UnsupportedError(
                f"history_length={n_rows} makes histories of rows, and these observations are histories already: {leaf}"
            )
        if type(leaf) is not spaces.Box:
            raise UnsupportedError(
                f"history_length={n_rows} needs observations that are arrays of numbers, got {leaf}; use 1"
            )
        low, high = (np.stack([bound] * n_rows) for bound in (leaf.low, leaf.high))
        return Window(low, high, dtype=leaf.dtype.type)

    return space if n_rows == 1 else over_spaces(window, space)


def as_windows(space: spaces.Space[Any], n_rows: int) -> spaces.Space[Any]:
    """Returns the observation space of histories as a file has it, with leaves [K, ...] as windows.

    Raises:
        ValueError: For leaves of another length.
    """

    def window(leaf: spaces.Space[Any]) -> spaces.Space[Any]:
        if not isinstance(leaf, spaces.Box) or leaf.shape[:1] != (n_rows,):
            raise ValueError(f"observations of {leaf} are no histories of {n_rows} rows")
        return Window(leaf.low, leaf.high, dtype=leaf.dtype.type)

    return space if n_rows == 1 else over_spaces(window, space)


def row_space(space: spaces.Space[Any]) -> spaces.Space[Any] | None:
    """Returns the space of one row of histories, without legal actions; None for observations without a history."""
    space = space_of_rest(space)
    if isinstance(space, spaces.Dict):
        parts = {key: row_space(part) for key, part in space.spaces.items()}
        return None if None in parts.values() else spaces.Dict(parts)  # type: ignore[arg-type]  # None is not among them.
    if isinstance(space, spaces.Tuple):
        each = [row_space(part) for part in space.spaces]
        return None if None in each else spaces.Tuple(each)  # type: ignore[arg-type]  # None is not among them.
    return space.row if isinstance(space, Window) else None


def stacked_space(space: spaces.Space[Any], stack: int, history: int = 1) -> spaces.Space[Any]:
    """Returns the space of what a policy sees: images [C, H, W] as stacks [stack * C, H, W], or histories.

    Raises:
        UnsupportedError: For stacks and histories at once.
    """
    if history > 1:
        if stack > 1:
            raise UnsupportedError(
                f"history_length={history} holds images too; give it alone, without frame_stack={stack}"
            )
        return history_space(space, history)
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: stacked_space(part, stack) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([stacked_space(part, stack) for part in space.spaces])
    if not isinstance(space, spaces.Box) or not is_image(space.dtype, space.shape):
        return space
    low, high = (np.concatenate([bound] * stack) for bound in (space.low, space.high))
    return spaces.Box(low, high, dtype=np.uint8)


def stack_images(env: gymnasium.Env[Any, Any], stack: int, pad: str = "zero") -> gymnasium.Env[Any, Any]:
    """Returns an environment of images [C, H, W] that shows stacks [stack * C, H, W], as samplers make them.

    Args:
        env: Shows one image.
        stack: How many of them make one observation; 1 returns the environment as it is.
        pad: What stands before an episode's first image, "zero" or "repeat".

    Raises:
        ValueError: For an unknown pad rule.
    """
    _check_pad(pad)
    shape = env.observation_space.shape
    if stack == 1 or shape is None:
        return env
    padding = "zero" if pad == "zero" else "reset"
    stacked = wrappers.FrameStackObservation(env, stack, padding_type=padding)
    return wrappers.ReshapeObservation(stacked, (stack * shape[0], *shape[1:]))


def fit_stack(env: gymnasium.Env[Any, Any], policy: Any) -> gymnasium.Env[Any, Any]:
    """Returns an environment that shows what a policy sees if it shows single images, or rows without their history.

    Args:
        env: Shows single images or rows, stacks or histories, or something else, which stays as it is.
        policy: An algorithm with networks, or anything else, for which nothing is stacked.
    """
    stack, shows = getattr(policy, "frame_stack", 1), getattr(env, "observation_space", None)
    n_rows = getattr(policy, "history_length", 1)
    if n_rows > 1 and shows is not None and _shapes(policy.impl.observation_space) != _shapes(shows):
        return HistoryObservation(env, n_rows)
    if stack == 1 or not isinstance(shows, spaces.Box) or not is_image(shows.dtype, shows.shape):
        return env
    if stacked_space(shows, stack).shape != policy.impl.observation_space.shape:
        return env
    return stack_images(env, stack, policy.frame_pad)


class HistoryObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the last rows of an episode, [K, ...] of each leaf, as samplers make them.

    Args:
        env: Shows one row.
        n_rows: K.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], n_rows: int) -> None:
        super().__init__(env)
        self._n_rows = n_rows
        self._seen: tuple[ArrayTree, ...] = ()
        self.observation_space = history_space(env.observation_space, n_rows)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ArrayTree, dict[str, Any]]:
        """Returns the first observation with its history, itself again, and the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._seen = ()
        return self._with_history(observation), info

    def step(self, action: object) -> tuple[ArrayTree, SupportsFloat, bool, bool, dict[str, Any]]:
        """Returns what the step of the environment does, the observation with its history."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_history(observation), reward, terminated, truncated, info

    def _with_history(self, observation: ArrayTree) -> ArrayTree:
        self._seen = (*self._seen, map_tree(np.array, observation))[-self._n_rows :]
        return history_of(self._seen, self._n_rows)


def history_of(seen: Sequence[ArrayTree], n_rows: int) -> ArrayTree:
    """Returns the history [K, ...] that the newest observations of an episode make, at most K and at least one."""
    history: ArrayTree = over_rest(lambda *rows: np.stack(rows), *[seen[0]] * (n_rows - len(seen)), *seen)
    return history


class FrameMemory(StatefulPolicy):
    """Acts in environments that show single images or rows, by a policy of stacks or histories, as samplers make them.

    Args:
        policy: Stacked observations [B, ...], or histories [B, K, ...], to actions.
        stack: Images in one observation.
        pad: What stands before an episode's first image, "zero" or "repeat".
        history: K; 1 for stacks of images.
    """

    def __init__(self, policy: Act, stack: int, pad: str, history: int = 1) -> None:
        super().__init__()
        self.policy, self.stack, self.pad, self.history = policy, stack, pad, history

    def begin(self) -> tuple[ArrayTree, ...]:
        """Returns no images."""
        return ()

    def choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, list[tuple[ArrayTree, ...]]]:
        """Returns the actions [B, ...] and the newest observations of each episode."""
        n = max(self.stack, self.history)
        seen = [(*memory, rows_of(observations, i))[-n:] for i, memory in enumerate(memories)]
        stacked = stack_trees([self._seen(newest) for newest in seen])
        return np.asarray(self.policy(stacked)), seen

    def _seen(self, newest: tuple[ArrayTree, ...]) -> ArrayTree:
        return map_tree(self._stacked, *newest) if self.history == 1 else history_of(newest, self.history)

    def _stacked(self, *newest: Array) -> Array:
        """Returns the images of one leaf along the channels; of what is no image the newest."""
        if not is_image(newest[-1].dtype, newest[-1].shape):
            return newest[-1]
        before = newest[0] if self.pad == "repeat" else np.zeros_like(newest[0])
        return np.concatenate([*[before] * (self.stack - len(newest)), *newest])


def stacked_observations(
    dataset: MDPDataset, rows: Array, stack: int, pad: str = "zero", history: int = 1
) -> ArrayTree:
    """Returns the observations of rows [B] as numpy arrays, images as stacks or all with histories, for a few rows.

    Args:
        dataset: With single images [C, H, W], or with rows in temporal order.
        rows: int64 [B].
        stack: Images of an episode that make one observation.
        pad: What stands before an episode's first image, "zero" or "repeat".
        history: Rows of an episode that make one observation.

    Raises:
        DatasetError: For histories of unordered transitions.
    """
    index = rows[:, None] + np.arange(1 - max(stack, history), 1)
    first = dataset.episode_starts[np.searchsorted(dataset.episode_ends, rows, side="right")][:, None]
    if history > 1:
        check_history(history, dataset.next_observations is None)
        windows = over_rest(lambda leaf: leaf[np.maximum(index, first)], dataset.observations)
        return _with_newest_legal(windows, dataset.observations, rows)

    def seen(leaf: Array) -> Array:
        if stack == 1 or not is_image(leaf.dtype, leaf.shape[1:]):
            return leaf[rows]
        images = leaf[np.maximum(index, first)]
        if pad == "zero":
            images[index < first] = 0
        return images.reshape(len(rows), -1, *leaf.shape[2:])

    observations: ArrayTree = map_tree(seen, dataset.observations)
    return observations


def _with_newest_legal(windows: ArrayTree, observations: ArrayTree, rows: Array) -> ArrayTree:
    """Returns histories whose legal actions are those of rows [B]."""
    if isinstance(windows, dict) and isinstance(observations, dict) and LEGAL_ACTIONS in windows:
        return {**windows, LEGAL_ACTIONS: rows_of(observations[LEGAL_ACTIONS], rows)}
    return windows


def next_observations_of(
    dataset: MDPDataset, rows: Array, stack: int, pad: str = "zero", history: int = 1
) -> ArrayTree:
    """Returns what a policy sees after rows [B], with stacks or histories as of rows; zeros where not recorded.

    Args:
        dataset: In temporal order, if anything is stacked.
        rows: int64 [B].
        stack: As for `stacked_observations`.
        pad: Likewise.
        history: Likewise.
    """
    following = dataset.next_observations_at(rows)
    if stack == history == 1:
        return following
    before = stacked_observations(dataset, rows, stack, pad, history)
    if history > 1:
        shifted: ArrayTree = over_rest(_shifted, before, following)
        return shifted

    def joined(seen: Array, after: Array) -> Array:
        if not is_image(after.dtype, after.shape[1:]):
            return after
        return np.concatenate([seen[:, after.shape[1] :], after], 1)

    return map_tree(joined, before, following)


def _shifted(history: Array, newest: Array) -> Array:
    return np.concatenate([history[:, 1:], newest[:, None]], 1)


def check_history(history: int, ordered: bool) -> None:
    """Checks that rows have histories.

    Raises:
        DatasetError: For data in no order of time.
    """
    if history > 1 and not ordered:
        raise DatasetError(
            f"history_length={history} needs rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); give episodes, or history_length=1"
        )


def _shapes(space: spaces.Space[Any]) -> object:
    if isinstance(space, spaces.Dict):
        return {key: _shapes(part) for key, part in space.spaces.items()}
    return [_shapes(part) for part in space.spaces] if isinstance(space, spaces.Tuple) else space.shape


def check_stack(images: list[Array], stack: int, pad: str, ordered: bool) -> None:
    """Checks that frames can be stacked.

    Raises:
        ValueError: For an unknown pad rule.
        DatasetError: For data without images, with channels last, or in no order of time.
    """
    _check_pad(pad)
    if stack == 1:
        return
    if not images:
        raise DatasetError(
            f"frame_stack={stack} needs uint8 images [C, H, W] among the observations, and there are none; "
            "frames [N, H, W] need an axis of channels, e.g. x[:, None]"
        )
    if not ordered:
        raise DatasetError(
            f"frame_stack={stack} needs rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); stack before building it"
        )
    for leaf in images:
        if leaf.shape[-1] < leaf.shape[1]:
            raise DatasetError(
                f"frame_stack={stack} needs images [C, H, W], got {list(leaf.shape[1:])}; "
                "move the channels first, e.g. np.moveaxis(x, -1, 1)"
            )


def _check_pad(pad: str) -> None:
    if pad not in PADS:
        raise ValueError(f"frame_pad must be one of {list(PADS)}, got {pad!r}")


def observations_at(policy: PolicyLike, dataset: MDPDataset, index: Array) -> ArrayTree:
    """Returns the observations of rows [B] as the policy sees them, images stacked or with histories."""
    sight = sight_of(policy)
    if sight.frame_stack == sight.history == 1:
        return rows_of(dataset.observations, index)
    return stacked_observations(dataset, index, *sight)


def seen_space(policy: object, space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Returns the space of what a policy sees of an environment or dataset that has a space."""
    sight = sight_of(policy)
    return stacked_space(space, sight.frame_stack, sight.history)
