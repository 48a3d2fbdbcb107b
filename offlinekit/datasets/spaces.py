"""Action and observation spaces: inferred from dtypes, checked against data, written as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.findings import Finding, fault, refuse_first, refused
from offlinekit.datasets.validation import as_array, as_float32, where_any
from offlinekit.envs.legal_actions import LEGAL_ACTIONS, legal_of, legal_space
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.envs.text.tokenizers import tokenizer_from_json
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete, flat_actions, held_space
from offlinekit.ground.category_space import CategorySpace
from offlinekit.load_budget import budget_of
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree, Json

Space = spaces.Space[Any]
MOST_ACTIONS = 1 << 31
"""Discrete actions beyond this number are none."""
SPACE_BYTES = 32
"""Bytes that a Box takes for each number: two bounds, and whether there are any."""


def as_actions(values: object, space: Space | None) -> tuple[Array, Space]:
    """Returns actions as int64 [N] or float32 [N, A] with their space; integer dtypes are discrete.

    Args:
        values: [N] or [N, A], or a tree of them as the space is one; of a Discrete [N, 1] too. In a space of several
            discrete parts [N] are numbers of joint choices from 0 (one column of [N, 1] may be a part by itself, and is
            refused), in one of a single part the part's own; a `JointDiscrete` takes [N] as a dataset holds them.
        space: The declared space, discrete or continuous as `held_space` takes it, or None to take it from the dtype.

    Raises:
        DatasetError: For a shape or dtype that does not fit.
        UnsupportedError: For a space of another kind, or of too many joint choices.
    """
    if isinstance(values, dict) and space is None:
        message = (
            f"are a dict of the columns {', '.join(map(repr, values))}, and no space says in which order"
        )
        raise refused("actions", message, "declare it: action_space=gymnasium.spaces.Dict(...)")
    if space is not None:
        held, given = held_of(space), space
        values, space = _flat(values, space), held
    actions = as_array(values, "actions")
    if actions.ndim == 0:
        raise refused("actions", "is a single number, expected one entry for each row", "give an array")
    if isinstance(space, JointDiscrete):
        if actions.ndim == 1 == len(space.sizes) and given is not space:
            actions = actions[:, None]  # The user's own numbers, as those of the only part.
        return _as_joint(actions, space), space
    if isinstance(space, spaces.Discrete) or (space is None and actions.dtype.kind in "iub"):
        return _as_discrete(actions, space)
    if actions.ndim == 1:
        actions = actions[:, None]
    if actions.ndim != 2 or actions.shape[1] == 0:
        message = f"must have shape [N, A] if they are continuous, got shape {list(actions.shape)}"
        raise refused("actions", message, "flatten each action into one vector")
    if space is None:
        space = spaces.Box(-np.inf, np.inf, actions.shape[1:], np.float32)
    if space.shape != actions.shape[1:]:
        message = f"must have shape [N, A] with A of {space}, got shape {list(actions.shape)}"
        raise refused("actions", message, "declare the action_space that they have")
    return as_float32(actions), space


def held_of(space: Space) -> Space:
    """Returns the space in which a dataset holds the actions of a user's; raises UnsupportedError if there is none."""
    try:
        return held_space(space)
    except UnsupportedError as error:
        message, _, fix = str(error).removeprefix("action_space ").rpartition("; ")
        raise refused("action_space", message, fix) from error


def _flat(values: object, space: Space) -> object:
    """Returns a tree of actions as one row each; arrays as they are, but for those of several axes."""
    is_tree = isinstance(values, dict) or (isinstance(values, tuple) and isinstance(space, spaces.Tuple))
    given = (
        map_tree(lambda leaf: as_array(leaf, "actions"), values) if is_tree else as_array(values, "actions")
    )
    try:
        return flat_actions(given, space)
    except ValueError as error:
        raise refused(
            "actions", str(error).removeprefix("actions "), "declare the space that they have"
        ) from error


def _as_joint(actions: Array, space: JointDiscrete) -> Array:
    """Returns one number for the parts of each row [N, k]; numbers [N] are such already."""
    if actions.ndim == 1:
        return _as_discrete(actions, space)[0]
    if actions.ndim != 2 or actions.shape[1] != len(space.sizes):
        message = f"must have shape [N, {len(space.sizes)}] in {space}, got {list(actions.shape)}"
        fix = "give a column for each part, or numbers of joint choices as [N], or declare the space that they have"
        raise refused("actions", message, fix)
    whole = actions.astype(np.int64) if actions.dtype.kind in "iub" else _whole(actions)
    wrong = np.flatnonzero(space.outside(whole))
    if len(wrong):
        message = f"must lie in {space}, got {whole[wrong[0]].tolist()}"
        raise refused("actions", message, "declare larger parts, or the start that they have", wrong)
    return space.join(whole)


def _as_discrete(actions: Array, space: spaces.Discrete | None) -> tuple[Array, Space]:
    if actions.ndim == 2 and actions.shape[1] == 1:
        actions = actions[:, 0]
    if actions.ndim != 1:
        message = (
            f"must have shape [N] if they are discrete, got {actions.dtype} of shape {list(actions.shape)}"
        )
        fix = "continuous ones need a float dtype, several discrete ones action_space=MultiDiscrete([...])"
        raise refused("actions", message, fix)
    if actions.dtype == np.uint64:
        _check_count(int(actions.max(initial=0)))
    whole = actions.astype(np.int64) if actions.dtype.kind != "f" else _whole(actions)
    return whole, discrete_of(whole) if space is None else space


def discrete_of(actions: Array) -> spaces.Discrete:
    """Returns the Discrete of integer actions, one more than the highest.

    Raises:
        DatasetError: For numbers that cannot count actions.
    """
    highest = int(actions.max(initial=0))
    _check_count(highest)
    return spaces.Discrete(highest + 1)


def _check_count(highest: int) -> None:
    if highest >= MOST_ACTIONS:
        message = f"must be numbered from 0 if they are discrete, got {highest:,}"
        raise refused("actions", message, "number them anew, or declare a Box if they are amounts")


def _whole(actions: Array) -> Array:
    with np.errstate(invalid="ignore"):
        whole = actions.astype(np.int64)
    wrong = np.flatnonzero((whole != actions).reshape(len(actions), -1).any(1))
    if len(wrong):
        message = f"must be whole numbers in a Discrete space, got {actions[wrong[0]]}"
        raise refused("actions", message, "declare a Box if they are continuous", wrong)
    return whole


def column_of_actions(actions: Array, space: Space) -> Array:
    """Returns held actions as a file without a space has them: of a single discrete part as its own numbers, [N, 1]."""
    return space.split(actions) if isinstance(space, JointDiscrete) and len(space.sizes) == 1 else actions


def clip(actions: object, space: Space | None) -> Array:
    """Returns continuous actions [N, A] moved to the nearest point of a Box.

    Raises:
        ValueError: If no Box is declared.
    """
    held = None if space is None else held_of(space)
    if space is None or not isinstance(held, spaces.Box):
        raise ValueError(
            f"clip_actions=True needs the range: action_space=Box(...) or env_id=..., got {space}"
        )
    array, space = as_float32(as_array(_flat(actions, space), "actions")), held
    return np.clip(array.reshape(len(array), -1), as_float32(space.low), as_float32(space.high))


def outside(actions: Array, space: Space) -> Iterator[Finding]:
    """Yields a fault if an action lies outside its space.

    Args:
        actions: As from `as_actions`.
        space: Their space.
    """
    if isinstance(space, spaces.Discrete):
        first, end = int(space.start), int(space.start + space.n)
        if actions.min() >= first and actions.max() < end:
            return
        rows = where_any(actions, lambda part: (part < first) | (part >= end))
        fix = "declare a larger Discrete, with the start that they have, or number the actions from 0"
    else:
        low, high = as_float32(space.low), as_float32(space.high)  # type: ignore[attr-defined]
        if low.max() <= actions.min() and actions.max() <= high.min():
            return  # Quicker, and enough for most data.
        rows = where_any(actions, lambda part: (part < low) | (part > high))
        fix = "clip them (readers: clip_actions=True), or declare the range they really have"
    if len(rows):
        yield fault("actions", f"must lie in {space}, got {actions[rows[0]].tolist()}", fix, rows)


def infer_observation_space(tree: ArrayTree) -> Space:
    """Returns the space of a tree of [N, ...] leaves: unbounded floats, or uint8 in [0, 255]."""
    if isinstance(tree, dict):
        inferred = {key: infer_observation_space(branch) for key, branch in tree.items()}
        if (legal := legal_of(tree)) is not None:
            inferred[LEGAL_ACTIONS] = legal_space(legal.shape[1])
        return spaces.Dict(inferred)
    if isinstance(tree, tuple):
        return spaces.Tuple([infer_observation_space(branch) for branch in tree])
    if tree.dtype == np.uint8:
        return spaces.Box(0, 255, tree.shape[1:], np.uint8)
    return spaces.Box(-np.inf, np.inf, tree.shape[1:], np.float32)


def as_stored(space: Space) -> Space:
    """Returns a space of Box, Dict and Tuple with the dtypes of a dataset's columns: uint8 kept, else float32."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: as_stored(part) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([as_stored(part) for part in space.spaces])
    if isinstance(space, spaces.Box) and space.dtype not in (np.uint8, np.float32):
        return spaces.Box(as_float32(space.low), as_float32(space.high), space.shape, np.float32)
    return space


def check_observations(tree: ArrayTree, space: Space) -> None:
    """Raises DatasetError if a tree of [N, ...] leaves has not the structure, shape or kind of a space."""
    refuse_first(unfit(tree, space))


def unfit(tree: Any, space: Space, field: str = "observations") -> Iterator[Finding]:
    """Yields a fault for each leaf [N, ...] that has not the structure, shape or kind of its space.

    Raises:
        UnsupportedError: For a space of another kind.
    """
    branches: list[tuple[str, Any, Space]] = []
    if isinstance(space, spaces.Dict):
        fits = isinstance(tree, dict) and set(tree) == set(space.spaces)
        if fits:
            branches = [(f"{field}[{key!r}]", tree[key], part) for key, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        fits = isinstance(tree, tuple) and len(tree) == len(space.spaces)
        if fits:
            branches = [(f"{field}[{i}]", tree[i], part) for i, part in enumerate(space.spaces)]
    elif isinstance(space, spaces.Box):
        fits = not isinstance(tree, dict | tuple) and tree.shape[1:] == space.shape
        fits = fits and (tree.dtype == np.uint8) == (space.dtype == np.uint8)
    else:
        message = f"must be made of Box, Dict and Tuple, got {space}"
        raise refused("observation_space", message, "declare what the arrays are, or leave it out")
    if not fits:
        yield fault(
            field, f"must fit {space}, got {_describe(tree)}", "declare the observation_space that they have"
        )
    for name, branch, part in branches:
        yield from unfit(branch, part, name)


def _describe(tree: ArrayTree) -> str:
    if isinstance(tree, dict):
        return "a dict with the keys " + ", ".join(map(repr, tree))
    if isinstance(tree, tuple):
        return f"a tuple of {len(tree)}"
    return f"{tree.dtype} rows of shape {list(tree.shape[1:])}"


def space_to_json(space: Space) -> dict[str, Any]:
    """Returns a space of Box, Discrete, Dict and Tuple as plain JSON data; infinities as strings."""
    if isinstance(space, TokenSpace):
        return {"kind": "tokens", "tokenizer": space.tokenizer.to_json()}
    if isinstance(space, JointDiscrete):
        starts = {"starts": list(space.starts)} if any(space.starts) else {}
        return {"kind": "discrete", "n": int(space.n), "sizes": list(space.sizes), **starts}
    if isinstance(space, spaces.Discrete):
        start = {"start": int(space.start)} if space.start != 0 else {}
        return {"kind": "discrete", "n": int(space.n), **start}
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "items": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"kind": "tuple", "items": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.Box):
        bounds = {"low": _bound(space.low), "high": _bound(space.high)}
        embedded = {"embedded": list(map(list, space.blocks))} if isinstance(space, CategorySpace) else {}
        return {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds, **embedded}
    raise UnsupportedError(
        f"a space must be made of Box, Discrete, Dict and Tuple to be written, got {space}"
    )


def _bound(array: Array) -> Json:
    same = array.size == 0 or bool((array == array.flat[0]).all())
    values = np.asarray(array.flat[0] if same and array.size else array).tolist()
    plain: Json = values if array.dtype.kind in "iub" else np.asarray(values, np.float64).astype(str).tolist()
    return plain


def space_from_json(data: Any) -> Space:
    """Returns the space that `space_to_json` wrote.

    Raises:
        FileFormatError: For data that describe no space.
    """
    try:
        return _space(data)
    except FileFormatError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        AssertionError,
    ) as error:
        raise FileFormatError(f"expected a space as JSON, got {str(data)[:200]} ({error})") from error


def _space(data: Any) -> Space:
    kind = data["kind"]
    if kind == "discrete" and "sizes" in data:
        joint = JointDiscrete.of(spaces.MultiDiscrete(data["sizes"], start=data.get("starts")))
        if joint is None or joint.n != data["n"]:
            raise ValueError(f"{data['sizes']} are not the parts of {data['n']} actions")
        return joint
    if kind == "discrete":
        return spaces.Discrete(int(data["n"]), start=int(data.get("start", 0)))
    if kind == "dict":
        return spaces.Dict({str(key): _space(part) for key, part in data["items"]})
    if kind == "tuple":
        return spaces.Tuple([_space(part) for part in data["items"]])
    if kind == "box":
        dtype, shape = np.dtype(data["dtype"]), tuple(int(size) for size in data["shape"])
        budget_of().take(SPACE_BYTES * math.prod(shape), f"a Box of shape {list(shape)!r:.100}")
        if "embedded" in data:
            return CategorySpace(shape[0], data["embedded"])
        low, high = (np.broadcast_to(np.asarray(data[key]).astype(dtype), shape) for key in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "tokens":
        return TokenSpace(tokenizer_from_json(data["tokenizer"]))
    raise ValueError(f"unknown kind {kind!r}")
