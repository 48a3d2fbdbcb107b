"""Where an image has its channels: decided once, from the image as it is shown, and kept with the space.

A stack of images lies along the channels of one of them, which then can be more than its rows: its own shape says
nothing of its layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.envs.legal_actions import space_of_rest
from offlinekit.envs.past.sight import Image, Window, as_windows, is_image, over_spaces, space_leaves
from offlinekit.types import Array, ArrayTree, map_tree


def looks_channels_last(shape: tuple[int, ...]) -> bool:
    """Returns whether the shape of an image as it is shown is likely [H, W, C].

    Two equal axes of three are the sides, but for those of one pixel; otherwise the last one is shorter than the first.
    """
    first, middle, last = shape
    if (first == middle) != (middle == last) and middle > 1:
        return first == middle
    return last < first


def has_channels_last(space: spaces.Space[Any]) -> bool:
    """Returns whether an image is [H, W, C]: as its space knows, or else as its shape looks."""
    return space.channels_last if isinstance(space, Image) else looks_channels_last(space.shape or (0, 0, 0))


def image_remedy(observed: Sequence[tuple[object, tuple[int, ...]]], otherwise: str) -> str:
    """Returns what makes images, uint8 of three axes, of observations that are none.

    Args:
        observed: Dtype and shape of each leaf.
        otherwise: What to do if they do not look like images.
    """
    as_bytes = "np.round(x * 255).astype(np.uint8), if pixels are in [0, 1]"
    for dtype, shape in observed:
        if len(shape) == 3:
            return f"make bytes of them: {as_bytes}"
        if len(shape) == 2:
            more = "" if dtype == np.uint8 else f", and to be bytes: {as_bytes}"
            return f"frames [N, H, W] need an axis of channels, e.g. x[:, None]{more}"
        if len(shape) == 4:
            return f"join axes into one of channels, e.g. x.reshape(len(x), -1, {shape[-2]}, {shape[-1]})"
    return otherwise


def layouts_of(observations: ArrayTree, stack: int) -> Any:
    """Returns for each leaf of rows [N, ...] whether images have their channels last; None for what is no image."""

    def layout(leaf: Array) -> bool | None:
        shape = leaf.shape[1:]
        return (stack == 1 and looks_channels_last(shape)) if is_image(leaf.dtype, shape) else None

    return map_tree(layout, observations)


def as_seen(space: spaces.Space[Any], stack: int, history: int) -> spaces.Space[Any]:
    """Returns the space of what a policy sees with the layout of its images, and with its histories as windows.

    Args:
        space: Of what is seen, as a dataset or a file has it; layouts that it knows stay.
        stack: Images in one observation, along the first axis.
        history: Rows in one observation.

    Raises:
        ValueError: For histories of another length.
    """
    if history > 1:
        return as_windows(space, history)

    def known(leaf: spaces.Space[Any]) -> spaces.Space[Any]:
        if not isinstance(leaf, spaces.Box) or not is_image(leaf.dtype, leaf.shape):
            return leaf
        guess = stack == 1 and looks_channels_last(leaf.shape)
        return Image(leaf.low, leaf.high, leaf.channels_last if isinstance(leaf, Image) else guess, stack)

    return over_spaces(known, space)


def as_learned(
    space: spaces.Space[Any], shapes: Mapping[str, tuple[int, ...]], history: int
) -> spaces.Space[Any]:
    """Returns the space that a file has, with the layouts that the weights of its convolutions say.

    Args:
        space: Of what is seen.
        shapes: Of the weights by name.
        history: Rows in one observation.
    """
    leaves = space_leaves(space_of_rest(space))

    def known(leaf: spaces.Space[Any]) -> spaces.Space[Any]:
        shape = leaf.shape or ()
        image = shape[1:] if history > 1 else shape
        if not isinstance(leaf, spaces.Box) or not is_image(leaf.dtype, image) or image[0] == image[-1]:
            return leaf
        place = next(i for i, other in enumerate(leaves) if other is leaf)
        ends = tuple(f"parts{dot}{place}{dot}layers{dot}0{dot}weight" for dot in (".", "__"))
        channels = {size[-3] for name, size in shapes.items() if name.endswith(ends) and len(size) > 3}
        if not channels & {image[0], image[-1]}:
            return leaf  # It is flattened, or seen by a module of the user's own.
        if history == 1:
            return Image(leaf.low, leaf.high, image[-1] in channels)
        window = Window(leaf.low, leaf.high, dtype=leaf.dtype.type)
        window.channels_last = image[-1] in channels
        return window

    return over_spaces(known, space)
