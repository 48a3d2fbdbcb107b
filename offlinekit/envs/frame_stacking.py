"""Images kept once as uint8 and gathered on the device; stacks of frames are made at sampling time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers

from offlinekit.envs.callable_policies import Act
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.errors import DatasetError
from offlinekit.interfaces import PolicyLike
from offlinekit.types import Array, ArrayTree, map_tree, stack_trees
from offlinekit.types import rows as rows_of

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

PADS = ("zero", "repeat")


def is_image(dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> bool:
    """Returns whether an observation of a dtype and shape is an image: uint8 with three axes."""
    return bool(dtype == np.uint8) and len(shape) == 3


def stacked_space(space: spaces.Space[Any], stack: int) -> spaces.Space[Any]:
    """Returns an observation space whose images [C, H, W] are stacks [stack * C, H, W]; others stay."""
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
    """Returns an environment that shows stacks if it shows the single images that a policy stacks.

    Args:
        env: Shows single images, stacks, or something else, which stays as it is.
        policy: An algorithm with networks, or anything else, for which nothing is stacked.
    """
    stack, shows = getattr(policy, "frame_stack", 1), getattr(env, "observation_space", None)
    if stack == 1 or not isinstance(shows, spaces.Box) or not is_image(shows.dtype, shows.shape):
        return env
    if stacked_space(shows, stack).shape != policy.impl.observation_space.shape:
        return env
    return stack_images(env, stack, policy.frame_pad)


class FrameMemory(StatefulPolicy):
    """Acts in environments that show single images, by a policy of stacks [stack * C, H, W], as samplers make them.

    Args:
        policy: Stacked observations [B, ...] to actions.
        stack: Images in one observation.
        pad: What stands before an episode's first image, "zero" or "repeat".
    """

    def __init__(self, policy: Act, stack: int, pad: str) -> None:
        super().__init__()
        self.policy, self.stack, self.pad = policy, stack, pad

    def begin(self) -> tuple[ArrayTree, ...]:
        """Returns no images."""
        return ()

    def choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, list[tuple[ArrayTree, ...]]]:
        """Returns the actions [B, ...] and the newest observations of each episode."""
        seen = [(*memory, rows_of(observations, i))[-self.stack :] for i, memory in enumerate(memories)]
        stacked = stack_trees([map_tree(self._stacked, *newest) for newest in seen])
        return np.asarray(self.policy(stacked)), seen

    def _stacked(self, *newest: Array) -> Array:
        """Returns the images of one leaf along the channels; of what is no image the newest."""
        if not is_image(newest[-1].dtype, newest[-1].shape):
            return newest[-1]
        before = newest[0] if self.pad == "repeat" else np.zeros_like(newest[0])
        return np.concatenate([*[before] * (self.stack - len(newest)), *newest])


def stacked_observations(dataset: MDPDataset, rows: Array, stack: int, pad: str = "zero") -> ArrayTree:
    """Returns the observations of rows [B] as numpy arrays, images as stacks, for looking at a few.

    Args:
        dataset: With single images [C, H, W].
        rows: int64 [B].
        stack: Images of an episode that make one observation.
        pad: What stands before an episode's first image, "zero" or "repeat".
    """
    index = rows[:, None] + np.arange(1 - stack, 1)
    first = dataset.episode_starts[np.searchsorted(dataset.episode_ends, rows, side="right")][:, None]

    def seen(leaf: Array) -> Array:
        if stack == 1 or not is_image(leaf.dtype, leaf.shape[1:]):
            return leaf[rows]
        images = leaf[np.maximum(index, first)]
        if pad == "zero":
            images[index < first] = 0
        return images.reshape(len(rows), -1, *leaf.shape[2:])

    observations: ArrayTree = map_tree(seen, dataset.observations)
    return observations


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
    """Returns the observations of rows [B] as the policy sees them: images stacked if it stacks them."""
    stack = getattr(policy, "frame_stack", 1)
    if stack == 1:
        return rows_of(dataset.observations, index)
    return stacked_observations(dataset, index, stack, getattr(policy, "frame_pad", "zero"))
