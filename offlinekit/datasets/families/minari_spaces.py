"""Minari's spaces: their JSON, and how values of theirs become columns of an MDPDataset and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.formats.json_files import parse
from offlinekit.datasets.spaces import SPACE_BYTES, Space
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offlinekit.types import T, Tree

MOST_ONE_HOT = 1 << 14
"""Features that one Discrete observation may become."""


def space_from_minari(text: str | bytes) -> Space:
    """Returns the space that Minari wrote as JSON text.

    Raises:
        FileFormatError: For text that is no space.
    """
    try:
        return _parse(parse(text))
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, AssertionError) as error:
        raise FileFormatError(
            f"expected a space of Minari as JSON, got {str(text)[:200]} ({error})"
        ) from error


def _parse(data: Any) -> Space:
    kind = data["type"]
    if kind == "Dict":
        return spaces.Dict({key: _parse(part) for key, part in data["subspaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([_parse(part) for part in data["subspaces"]])
    if kind == "Discrete":
        return spaces.Discrete(int(data["n"]), start=int(data.get("start", 0)))
    if kind == "MultiDiscrete":
        start = None if "start" not in data else np.asarray(data["start"])
        return spaces.MultiDiscrete(np.asarray(data["nvec"]), start=start)
    if kind == "MultiBinary":
        budget_of().take(SPACE_BYTES * math.prod(np.atleast_1d(data["n"]).tolist()), "a MultiBinary")
        return spaces.MultiBinary(data["n"])
    if kind == "Text":
        return spaces.Text(data["max_length"], min_length=data["min_length"], charset=data["charset"])
    if kind == "Box":
        budget_of().take(SPACE_BYTES * math.prod(data["shape"]), f"a Box of shape {data['shape']!r:.100}")
        dtype = np.dtype(data["dtype"])
        low, high = (np.asarray(data[end], dtype) for end in ("low", "high"))
        return spaces.Box(low, high, tuple(data["shape"]), dtype.type)
    raise ValueError(f"unknown type {kind!r}")


def space_to_minari(space: Space) -> str:
    """Returns a space of Box, Discrete, Dict and Tuple as Minari writes it."""
    return json.dumps(_plain(space))


def _plain(space: Space) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "subspaces": {key: _plain(part) for key, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "subspaces": [_plain(part) for part in space.spaces]}
    if isinstance(space, JointDiscrete):
        parts = {"nvec": list(space.sizes), "start": list(space.starts)}
        return {"type": "MultiDiscrete", "dtype": "int64", **parts}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "dtype": "int64", "start": int(space.start), "n": int(space.n)}
    if isinstance(space, spaces.Box):
        bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
        return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds}
    raise UnsupportedError(f"a space must be made of Box, Discrete, Dict and Tuple, got {space}")


def without_text(space: Space) -> Space | None:
    """Returns a space without its texts, which no column holds; None if nothing is left."""
    if isinstance(space, spaces.Dict):
        parts = {key: kept for key, part in space.spaces.items() if (kept := without_text(part)) is not None}
        return spaces.Dict(parts) if parts else None
    if isinstance(space, spaces.Tuple):
        branches = [without_text(part) for part in space.spaces]
        if any(branch is None for branch in branches):
            raise UnsupportedError(f"texts in a Tuple of observations cannot be left out, got {space}")
        return spaces.Tuple([branch for branch in branches if branch is not None])
    return None if isinstance(space, spaces.Text) else space


def leaf_spaces(space: Space, name: str) -> list[tuple[str, Space]]:
    """Returns (name, space) of each leaf, named like "observations/camera"; dict keys are sorted."""
    if isinstance(space, spaces.Dict):
        return [pair for key in sorted(space.spaces) for pair in leaf_spaces(space[key], f"{name}/{key}")]
    if isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
        return [pair for i, part in parts for pair in leaf_spaces(part, f"{name}/_index_{i}")]
    return [(name, space)]


def tree_of(space: Space, flat: Mapping[str, T], name: str) -> Tree[T]:
    """Returns the leaves named by `leaf_spaces` as a tree of dicts and tuples."""
    if isinstance(space, spaces.Dict):
        return {key: tree_of(space[key], flat, f"{name}/{key}") for key in sorted(space.spaces)}
    if isinstance(space, spaces.Tuple):
        return tuple(tree_of(part, flat, f"{name}/_index_{i}") for i, part in enumerate(space.spaces))
    return flat[name]


def as_features(values: Array, space: Space) -> Array:
    """Returns values [N, ...] of a leaf as features: those of a Discrete one-hot, a single one as [N, 1].

    Raises:
        FileFormatError: For a value outside a Discrete.
    """
    if not isinstance(space, spaces.Discrete):
        return values[:, None] if values.ndim == 1 else values
    if space.n > MOST_ONE_HOT:
        raise FileFormatError(
            f"observations of {space} would be one-hot of {space.n:,}, at most {MOST_ONE_HOT:,}"
        )
    numbers = values.reshape(-1).astype(np.int64) - int(space.start)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < space.n:
        raise FileFormatError(f"observations of {space} hold {values.min()} to {values.max()}")
    budget_of().take(4 * len(numbers) * int(space.n), f"one-hot observations of {space}")
    features = np.zeros((len(numbers), int(space.n)), np.float32)
    features[np.arange(len(numbers)), numbers] = 1.0
    return features


def from_features(features: Array, space: Space) -> Array:
    """Returns the values [N, ...] whose features these are, of the shape of a leaf's space."""
    if isinstance(space, spaces.Discrete):
        return np.asarray(features.argmax(axis=1) + int(space.start))
    return features.reshape(len(features), *(space.shape or ()))


def feature_space(space: Space) -> Space:
    """Returns the space of the features of a leaf."""
    if isinstance(space, spaces.Box) and space.shape:
        return space
    size = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or (1,)))
    shape = (size,) if isinstance(space, spaces.Discrete) or not space.shape else tuple(space.shape)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def held_observations(space: Space) -> Space:
    """Returns the space in which a dataset holds observations of a space of Minari without texts."""
    features = {name: feature_space(leaf) for name, leaf in leaf_spaces(space, "observations")}
    return _as_space(tree_of(space, features, "observations"))


def _as_space(tree: Tree[Space]) -> Space:
    if isinstance(tree, dict):
        return spaces.Dict({key: _as_space(part) for key, part in tree.items()})
    return spaces.Tuple([_as_space(part) for part in tree]) if isinstance(tree, tuple) else tree
