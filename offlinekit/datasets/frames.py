"""Images kept once as uint8 and gathered on the device; stacks of frames are made at sampling time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces, wrappers
from torch import Tensor

from offlinekit.errors import DatasetError
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

PADS = ("zero", "repeat")


class Frames:
    """One uint8 leaf of the observations: the frames of rows and of their next ones in one gather.

    With a stack of n an observation is the last n frames [C, H, W] as one of [n * C, H, W], the newest last,
    none from before the start of the episode. The next stack shares them: where transitions take one step,
    n + 1 frames are gathered for both. On the CPU the frames stay in the dataset's own memory.

    Args:
        rows: uint8 [N, ...].
        final: uint8 [E, ...], after each episode's last row.
        starts: int64 [N], the first row of each row's episode.
        next_rows: int64 [N]; N + e stands for `final[e]`.
        steps: int64 [N], rows from each row to its next one, or None where that is always one.
        stack: n, 1 for plain rows.
        pad: What stands before an episode's first frame: "zero", or "repeat" for that frame again.
        device: Where the frames live.
    """

    def __init__(
        self,
        rows: Array,
        final: Array,
        *,
        starts: Array,
        next_rows: Array,
        steps: Array | None,
        stack: int,
        pad: str,
        device: torch.device,
    ) -> None:
        self.stack, self.n_rows = stack, len(rows)
        self.next_rows = torch.from_numpy(next_rows).to(device)
        self.starts = torch.from_numpy(starts).to(device) if stack > 1 else None
        self.steps = None if steps is None else torch.from_numpy(steps).to(device)
        self.back = torch.arange(1 - stack, 1, device=device)
        self.blank = self.n_rows + len(final) if pad == "zero" else None
        n_frames, first = 1 + stack if steps is None else 2 * stack, rows.shape[1]
        self.row_shape, self.height = (n_frames * first, *rows.shape[2:]), stack * first
        self.rows, self.extras = rows.reshape(len(rows), -1), final.reshape(len(final), -1)
        if stack > 1 and pad == "zero":
            self.extras = np.concatenate([self.extras, np.zeros_like(self.rows[:1])])
        self.table: Tensor | None = None
        if device.type != "cpu":
            self.table = torch.from_numpy(np.concatenate([self.rows, self.extras])).to(device)

    def locate(self, rows: Tensor) -> list[tuple[Tensor, bool]]:
        """Returns for K minibatches of rows [K, B] which frames they take, and whether some lie apart."""
        flat = rows.reshape(-1)
        following = self.next_rows.index_select(0, flat).unsqueeze(1)
        index = [self._back_from(flat, flat), following]
        if self.steps is not None:
            arrived = flat + self.steps.index_select(0, flat)
            index.insert(1, self._back_from(arrived, flat)[:, :-1])
        found = torch.cat(index, 1).view(len(rows), -1)
        apart = [False] * len(rows) if self.table is not None else (found >= self.n_rows).any(1).tolist()
        return list(zip(found.unbind(), apart, strict=True))

    def gather(self, located: tuple[Tensor, bool]) -> tuple[Tensor, Tensor]:
        """Returns the observations and next observations of a located minibatch, uint8 [B, n * C, H, W]."""
        if self.table is not None:
            found = self.table.index_select(0, located[0])
        else:
            found = torch.from_numpy(self._take(located[0].numpy(), located[1]))
        frames = found.view(-1, *self.row_shape)
        return frames.narrow(1, 0, self.height), frames.narrow(1, -self.height, self.height)

    def _take(self, index: Array, apart: bool) -> Array:
        """Returns frames [M, ...]. One thread of numpy copies as fast as torch, and never waits for others."""
        if self.rows.flags.c_contiguous:
            found: Array = self.rows.take(index, 0, mode="clip")
        else:  # `take` would copy all rows first.
            found = self.rows[np.minimum(index, self.n_rows - 1)]
        if apart:
            where = np.flatnonzero(index >= self.n_rows)
            found[where] = self.extras[index[where] - self.n_rows]
        return found

    def _back_from(self, last: Tensor, rows: Tensor) -> Tensor:
        """Returns the numbers [B, n] of the frames of stacks that end at `last`, in the episodes of `rows`."""
        index = last.unsqueeze(1) + self.back
        if self.starts is None:
            return index
        first = self.starts.index_select(0, rows).unsqueeze(1)
        if self.blank is None:
            return index.maximum(first)
        return index.masked_fill(index < first, self.blank)


def is_image(dtype: Any, shape: tuple[int, ...]) -> bool:
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


def fit_stack(env: Any, policy: Any) -> Any:
    """Returns an environment that shows stacks where it shows the single images that a policy stacks.

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


def stacked_observations(dataset: MDPDataset, rows: Array, stack: int, pad: str = "zero") -> Any:
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

    return map_tree(seen, dataset.observations)


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
