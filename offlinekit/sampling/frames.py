"""Images kept once as uint8 and gathered on the device; stacks of frames are made at sampling time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from offlinekit.types import Array


def random_shift(
    images: Tensor, most: int, generator: torch.Generator, *, channels_last: bool = False
) -> Tensor:
    """Shifts each image by up to `most` pixels down or up and right or left; the border repeats where it moves in.

    All channels, and all images of a history, move together.
    Source: Kostrikov et al. 2021 (DrQ), arXiv:2004.13649, section 4.1: padding by repeated borders, then a random crop.

    Args:
        images: [B, ..., C, H, W] or [B, ..., H, W, C].
        most: Pixels.
        generator: Of the shifts, on the device of the images.
        channels_last: Which of the two.
    """
    if channels_last:
        return random_shift(images.movedim(-1, -3), most, generator).movedim(-3, -1)
    n, (height, width) = len(images), images.shape[-2:]
    moves = torch.randint(-most, most + 1, (2, n, 1), generator=generator, device=images.device)
    down = (torch.arange(height, device=images.device) + moves[0]).clamp(0, height - 1)
    right = (torch.arange(width, device=images.device) + moves[1]).clamp(0, width - 1)
    channels = images.reshape(n, -1, height, width)
    firsts = torch.arange(0, channels.shape[:2].numel() * height, height, device=images.device)
    lines = firsts.view(n, -1, 1) + down[:, None]
    moved = channels.reshape(-1, width).index_select(0, lines.view(-1)).view(channels.shape)
    return moved.gather(3, right[:, None, None].expand(channels.shape)).view(images.shape)


def take_rows(rows: Array, extras: Array, index: Array, apart: bool = True) -> Array:
    """Returns rows [M, ...] of an array, those from N on out of one behind it, without a copy of either.

    One thread of numpy copies as fast as torch, and never waits for others.

    Args:
        rows: [N, ...].
        extras: [E, ...].
        index: int64 [M], in [0, N + E).
        apart: Whether some may be from N on.
    """
    if rows.flags.c_contiguous:
        taken: Array = rows.take(index, 0, mode="clip")
    else:  # `take` would copy all rows first.
        taken = rows[np.minimum(index, len(rows) - 1)]
    if apart:
        behind = np.flatnonzero(index >= len(rows))
        taken[behind] = extras[index[behind] - len(rows)]
    return taken


class PaddedRows:
    """One uint8 leaf of the observations with a row of zeros behind; on the CPU in the dataset's own memory.

    Args:
        rows: uint8 [N, ...].
        device: Where rows are taken to.

    Attributes:
        n_rows: N, which is the number of the row of zeros.
        shape: Of a row.
    """

    def __init__(self, rows: Array, device: torch.device) -> None:
        self.n_rows, self.shape = len(rows), rows.shape[1:]
        self._rows, self._zeros = rows, np.zeros((1, *self.shape), rows.dtype)
        self._table: Tensor | None = None
        if device.type != "cpu":
            self._table = torch.from_numpy(np.concatenate([rows, self._zeros])).to(device)

    def take(self, index: Tensor) -> Tensor:
        """Returns rows [M, ...]."""
        if self._table is not None:
            return self._table.index_select(0, index)
        return torch.from_numpy(take_rows(self._rows, self._zeros, index.numpy()))


class Frames:
    """One uint8 leaf of the observations: the frames of rows and of their next ones in one gather.

    With a stack of n an observation is the last n frames [C, H, W] as one of [n * C, H, W], the newest last,
    none from before the start of the episode. The next stack shares them: if transitions take one step,
    n + 1 frames are gathered for both. On the CPU the frames stay in the dataset's own memory.

    Args:
        rows: uint8 [N, ...].
        final: uint8 [E, ...], after each episode's last row.
        starts: int64 [N], the first row of each row's episode.
        next_rows: int64 [N]; N + e stands for `final[e]`.
        steps: int64 [N], rows from each row to its next one, or None if that is always one.
        stack: n, 1 for plain rows.
        pad: What stands before an episode's first frame: "zero", or "repeat" for that frame again.
        device: Where the frames live.
        apart: Whether the frames of a stack have an axis of their own, [B, n, C, H, W].
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
        apart: bool = False,
    ) -> None:
        self.apart = apart
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
        places = torch.cat(index, 1).view(len(rows), -1)
        apart = [False] * len(rows) if self.table is not None else (places >= self.n_rows).any(1).tolist()
        return list(zip(places.unbind(), apart, strict=True))

    def gather(self, located: tuple[Tensor, bool]) -> tuple[Tensor, Tensor]:
        """Returns the observations and next observations of a located minibatch, uint8 [B, n * C, H, W].

        With `apart` they are [B, n, C, H, W].
        """
        if self.table is not None:
            rows = self.table.index_select(0, located[0])
        else:
            rows = torch.from_numpy(take_rows(self.rows, self.extras, located[0].numpy(), located[1]))
        frames = rows.view(-1, *self.row_shape)
        now, after = frames.narrow(1, 0, self.height), frames.narrow(1, -self.height, self.height)
        if self.apart:
            shape = (len(frames), self.stack, -1, *frames.shape[2:])
            return now.reshape(shape), after.reshape(shape)
        return now, after

    def _back_from(self, last: Tensor, rows: Tensor) -> Tensor:
        """Returns the numbers [B, n] of the frames of stacks that end at `last`, in the episodes of `rows`."""
        index = last.unsqueeze(1) + self.back
        if self.starts is None:
            return index
        first = self.starts.index_select(0, rows).unsqueeze(1)
        if self.blank is None:
            return index.maximum(first)
        return index.masked_fill(index < first, self.blank)
