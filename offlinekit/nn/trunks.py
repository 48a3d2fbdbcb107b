"""The part of a network that sees the observation alone: flattening, convolutions, a user's module."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import torch
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.envs.legal_actions import rest_of
from offlinekit.envs.past.layouts import has_channels_last
from offlinekit.envs.past.sight import space_leaves
from offlinekit.ground.category_space import CategorySpace
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import map_tree


def observation_leaves(space: spaces.Space[Any], tree: Any) -> list[Any]:
    """Returns the leaves of an observation in its space's own order, whatever order a dict has."""
    if isinstance(space, spaces.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in observation_leaves(part, tree[key])]
    if isinstance(space, spaces.Tuple):
        parts = zip(space.spaces, tree, strict=True)
        return [leaf for part, branch in parts for leaf in observation_leaves(part, branch)]
    return [tree]


def is_image(space: spaces.Space[Any]) -> bool:
    """Returns whether a space is one of images: uint8 with three axes."""
    return isinstance(space, spaces.Box) and space.dtype == "uint8" and len(space.shape) == 3


class Trunk(nn.Module):
    """Observations -> [B, size]: convolutions for images if filters are given, categories embedded, the rest flattened.

    Args:
        space: The observation space, nested or not.
        convolution: {"filters": ...} to look at images with convolutions, {"channels": ..., "n_blocks": ...} with
            residual ones, {} to flatten them.
    """

    def __init__(self, space: spaces.Space[Any], convolution: Mapping[str, Any]) -> None:
        super().__init__()
        self.space = space
        kind = ResidualConvolutions if "channels" in convolution else Convolutions
        self.parts = nn.ModuleList(
            kind(leaf, **convolution)
            if convolution and is_image(leaf)
            else Embeddings(leaf)
            if isinstance(leaf, CategorySpace)
            else Flat()
            for leaf in space_leaves(space)
        )
        sizes = [
            part.size if isinstance(part, kind | Embeddings) else math.prod(leaf.shape or (1,))
            for part, leaf in zip(self.parts, space_leaves(space), strict=True)
        ]
        self.size = sum(sizes)

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the features [B, size]; uint8 observations are scaled to [0, 1]."""
        observed = observation_leaves(self.space, observations)
        features = [part(_as_float(leaf)) for part, leaf in zip(self.parts, observed, strict=True)]
        return features[0] if len(features) == 1 else torch.cat(features, -1)


class WithoutLegalActions(nn.Module):
    """A trunk that sees observations without their legal actions."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.size = trunk, trunk_size(trunk)

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the features [B, size]."""
        assert isinstance(observations, dict)
        features: Tensor = self.trunk(rest_of(observations))
        return features


class HistoryTrunk(nn.Module):
    """Histories -> [B, K * size]: what a trunk of single rows makes of each, side by side, the newest last.

    Args:
        trunk: Of rows.
        space: Of histories, of K rows.
    """

    def __init__(self, trunk: nn.Module, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.trunk, self.n_rows = trunk, (space_leaves(space)[0].shape or (1,))[0]
        self.size = self.n_rows * trunk_size(trunk)

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the features [B, K * size]."""
        return _by_row(self.trunk, observations, self.n_rows).flatten(1)


class RecurrentTrunk(nn.Module):
    """Histories -> [B, size]: the state of a gated recurrent unit after the newest row.

    The arithmetic (`gated_step`) and the first numbers of torch.nn.GRU, step by step, which vmap, recorders and
    exporters can follow.

    Args:
        trunk: Of single rows.
        n_rows: K.
        size: Numbers of the state, which begins at zeros.
        burn_in: First rows through which no gradient passes.
    """

    def __init__(self, trunk: nn.Module, n_rows: int, size: int, burn_in: int) -> None:
        super().__init__()
        self.trunk, self.n_rows, self.size, self.burn_in = trunk, n_rows, size, burn_in
        self.inputs, self.states = nn.Linear(trunk_size(trunk), 3 * size), nn.Linear(size, 3 * size)
        bound = 1.0 / math.sqrt(size)
        for parameter in (*self.inputs.parameters(), *self.states.parameters()):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the state [B, size]."""
        inputs = self.inputs(_by_row(self.trunk, observations, self.n_rows))
        state = torch.zeros_like(inputs[:, 0, : self.size])
        for i in range(self.n_rows):
            if 0 < i == self.burn_in:
                state = state.detach()
            state = gated_step(inputs[:, i], self.states(state), state)
        return state


def gated_step(seen: Tensor, past: Tensor, state: Tensor) -> Tensor:
    """Returns what a gated recurrent unit makes of its state, [..., H].

    r = sigmoid(W_r x + b_r + U_r h + c_r), z alike, n = tanh(W_n x + b_n + r (U_n h + c_n)), h' = n + z (h - n).

    Args:
        seen: W x + b of reset, update and new state side by side, [..., 3 H].
        past: U h + c, likewise.
        state: h.
    """
    size = state.shape[-1]
    gates = torch.sigmoid(seen[..., : 2 * size] + past[..., : 2 * size])
    reset, kept = gates[..., :size], gates[..., size:]
    new = torch.tanh(seen[..., 2 * size :] + reset * past[..., 2 * size :])
    return new + kept * (state - new)


def _by_row(trunk: nn.Module, histories: TensorTree, n_rows: int) -> Tensor:
    """Returns the features [B, K, F] that a trunk of single rows makes of histories [B, K, ...]."""
    features: Tensor = trunk(map_tree(lambda leaf: leaf.flatten(0, 1), histories))
    return features.reshape(-1, n_rows, features.shape[-1])


class Flat(nn.Module):
    """Observations [B, ...] -> [B, size]."""

    def forward(self, observations: Tensor) -> Tensor:
        """Flattens all axes but the first; [B] becomes [B, 1]."""
        return observations.unsqueeze(1).flatten(1)


class Embeddings(nn.Module):
    """Vectors [B, D] of a table -> [B, size]: each block that is one-hot becomes the row of its class, the rest stays.

    Rows begin standard normal, but that of the last class, of unknown labels, at zero, the mean of the others.

    Args:
        space: Says which columns are blocks.
    """

    def __init__(self, space: CategorySpace) -> None:
        super().__init__()
        self.blocks = space.blocks
        tables = [torch.randn(width, n) for _, n, width in self.blocks]
        for table in tables:
            table[:, -1] = 0.0
        self.tables = nn.ParameterList(
            map(nn.Parameter, tables)
        )  # [width, classes], as `linear` has weights.
        self.n_columns = space.shape[0]
        self.size = self.n_columns + sum(width - n for _, n, width in self.blocks)

    def forward(self, observations: Tensor) -> Tensor:
        """Returns the features [B, size], in the order of the columns."""
        parts, end = [], 0
        for (first, n, _), table in zip(self.blocks, self.tables, strict=True):
            if first > end:
                parts.append(observations[:, end:first])
            parts.append(nn.functional.linear(observations[:, first : first + n], table))
            end = first + n
        if end < self.n_columns:
            parts.append(observations[:, end:])
        return torch.cat(parts, -1)


UNCOPIED: WeakSet[nn.Module] = WeakSet()
"""Modules of users that cannot be copied, each of which one network has as it is."""


class UserTrunk(nn.Module):
    """A copy of a user's module with the size of its features, found by one forward pass of zeros.

    A factory may return one and the same module, or parts of it, each time: each network then begins with its numbers,
    in memory of its own.
    """

    def __init__(self, module: nn.Module, space: spaces.Space[Any]) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise TypeError(f"an encoder factory must return a torch.nn.Module, got {type(module).__name__}")
        self.module = module = _own(module)
        with torch.no_grad():
            features = module.eval()(_zeros(space))
        module.train()
        if not isinstance(features, Tensor) or features.ndim != 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"an encoder must return features of shape [batch, size], got {shape}")
        self.size = int(features.shape[1])

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the features [B, size]."""
        features: Tensor = self.module(observations)
        return features


def _own(module: nn.Module) -> nn.Module:
    """Returns a deep copy of a module; the module itself, once, if it cannot be copied.

    Raises:
        ValueError: For a module that cannot be copied and that another network has already.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:  # Whatever its attributes refuse.
        if module in UNCOPIED:
            raise ValueError(
                f"the encoder factory returned the same {type(module).__name__} again, which cannot be copied "
                f"({error}); let it make the module anew for each network"
            ) from error
        UNCOPIED.add(module)
        return module


class Convolutions(nn.Module):
    """Images [B, C, H, W] or [B, H, W, C] -> features [B, size], a ReLU after each convolution."""

    def __init__(self, space: spaces.Space[Any], filters: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        first, height, last = space.shape or (0, 0, 0)
        self.channels_last = has_channels_last(space)
        channels, image = (last, (first, height)) if self.channels_last else (first, (height, last))
        layers: list[nn.Module] = []
        for n_filters, kernel, stride in filters:
            image = ((image[0] - kernel) // stride + 1, (image[1] - kernel) // stride + 1)
            if min(image) < 1:
                raise ValueError(
                    f"images of shape {space.shape} are too small for the filters {filters}; give others, such as "
                    "encoder=CNNEncoder(filters=((32, 3, 1),)), or encoder='mlp'"
                )
            layers += [nn.Conv2d(channels, n_filters, kernel, stride), nn.ReLU()]
            channels = n_filters
        self.layers = nn.Sequential(*layers)
        self.size = channels * image[0] * image[1]

    def forward(self, images: Tensor) -> Tensor:
        """Returns the features [B, size]."""
        if self.channels_last:
            images = images.movedim(-1, -3)
        features: Tensor = self.layers(images)
        return features.flatten(1)


class ResidualConvolutions(nn.Module):
    """Images [B, C, H, W] or [B, H, W, C] -> features [B, size]: sections of a convolution, a pool and residual blocks.

    A section: 3 x 3 convolution, maximum over 3 x 3 at every second pixel, then blocks x + conv(relu(conv(relu(x)))).
    Convolutions keep the sides by zeros around them, the pool halves them, rounded up. A ReLU ends the last section.
    Source: Espeholt et al. 2018, arXiv:1802.01561, figure 3, the deep network.

    Args:
        space: Of images.
        channels: Of each section.
        n_blocks: In each section.
    """

    def __init__(self, space: spaces.Space[Any], channels: tuple[int, ...], n_blocks: int) -> None:
        super().__init__()
        first, height, last = space.shape or (0, 0, 0)
        self.channels_last = has_channels_last(space)
        before, sides = (last, (first, height)) if self.channels_last else (first, (height, last))
        layers: list[nn.Module] = []
        for n_channels in channels:
            layers += [nn.Conv2d(before, n_channels, 3, padding=1), nn.MaxPool2d(3, 2, padding=1)]
            layers += [ResidualConvolution(n_channels) for _ in range(n_blocks)]
            before, sides = n_channels, ((sides[0] + 1) // 2, (sides[1] + 1) // 2)
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.size = before * sides[0] * sides[1]

    def forward(self, images: Tensor) -> Tensor:
        """Returns the features [B, size]."""
        features: Tensor = self.layers(images.movedim(-1, -3) if self.channels_last else images)
        return features.flatten(1)


class ResidualConvolution(nn.Module):
    """x -> x + conv(relu(conv(relu(x)))), of 3 x 3 convolutions that keep size and channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner, self.outer = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the block's outputs, added to its inputs."""
        added: Tensor = self.outer(self.inner(images.relu()).relu())
        return images + added


def trunk_size(trunk: nn.Module) -> int:
    """Returns the number of features of a trunk."""
    return int(trunk.size)  # type: ignore[arg-type]  # Every trunk has one; nn.Module cannot say so.


def _as_float(leaf: Tensor) -> Tensor:
    return leaf.float() / 255.0 if leaf.dtype == torch.uint8 else leaf.float()


def _zeros(space: spaces.Space[Any]) -> TensorTree:
    if isinstance(space, spaces.Dict):
        return {key: _zeros(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_zeros(part) for part in space.spaces)
    dtype = torch.uint8 if space.dtype == "uint8" else torch.float32
    return torch.zeros((1, *(space.shape or ())), dtype=dtype)
