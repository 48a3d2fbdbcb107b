"""How far back a policy sees, and the spaces of what it sees: stacks of images, and histories of the last rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from offlinekit.envs.legal_actions import LEGAL_ACTIONS, space_of_rest
from offlinekit.errors import UnsupportedError
from offlinekit.types import Array


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


class Image(spaces.Box):
    """A uint8 image, or a stack of them, whose layout is known.

    Args:
        low: Its bounds, and so is `high`.
        high: Likewise.
        channels_last: Whether it is [H, W, C], not [C, H, W].
        stack: Images in one observation.
    """

    def __init__(self, low: Array, high: Array, channels_last: bool, stack: int = 1) -> None:
        super().__init__(low, high, dtype=np.uint8)
        self.channels_last, self.stack = channels_last, stack


class Window(spaces.Box):
    """A leaf of observations with a history, [K, ...]: K rows of an episode, the newest last.

    Attributes:
        channels_last: Of the images that its rows are, if a file says so.
    """

    channels_last: bool | None = None

    @property
    def row(self) -> spaces.Box:
        """The space of one row."""
        if self.channels_last is not None:
            return Image(self.low[0], self.high[0], self.channels_last)
        return spaces.Box(self.low[0], self.high[0], dtype=self.dtype.type)


def space_leaves(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """Returns the leaves of a nested space, in the space's own order."""
    if isinstance(space, spaces.Dict):
        return [leaf for part in space.spaces.values() for leaf in space_leaves(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in space_leaves(part)]
    return [space]


def image_shapes(space: spaces.Space[Any]) -> list[tuple[int, ...]]:
    """Returns the shapes of the images among the leaves of a space."""
    boxes = [leaf for leaf in space_leaves(space) if isinstance(leaf, spaces.Box)]
    return [box.shape for box in boxes if is_image(box.dtype, box.shape)]


def shapes_of(space: spaces.Space[Any]) -> object:
    """Returns the shapes of the leaves, in a tree that compares equal to another whatever order a dict has."""
    if isinstance(space, spaces.Dict):
        return {str(key): shapes_of(part) for key, part in space.spaces.items()}
    return [shapes_of(part) for part in space.spaces] if isinstance(space, spaces.Tuple) else space.shape


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
        return leaf if isinstance(leaf, Window) else Window(leaf.low, leaf.high, dtype=leaf.dtype.type)

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


def shown_space(space: spaces.Space[Any], stack: int) -> spaces.Space[Any]:
    """Returns the space of single rows, or images [C, H, W], of one that has histories, or stacks [stack * C, H, W]."""

    def single(leaf: spaces.Space[Any]) -> spaces.Space[Any]:
        if isinstance(leaf, Window):
            return leaf.row
        if stack > 1 and isinstance(leaf, spaces.Box) and is_image(leaf.dtype, leaf.shape):
            n_channels = leaf.shape[0] // stack
            return spaces.Box(leaf.low[-n_channels:], leaf.high[-n_channels:], dtype=np.uint8)
        return leaf

    return over_spaces(single, space)


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


def seen_space(policy: object, space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Returns the space of what a policy sees of an environment or dataset that has a space."""
    sight = sight_of(policy)
    return stacked_space(space, sight.frame_stack, sight.history)
