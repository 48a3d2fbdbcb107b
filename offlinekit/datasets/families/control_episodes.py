"""Episodes and transitions of control tasks, as RL Unplugged records them, made into datasets.

A part is what one Example holds: a few steps in order as a tree of columns, and the observation after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.families.done_flags import ends_of
from offlinekit.datasets.families.rl_unplugged_shards import Tree, joined, number, steps
from offlinekit.datasets.formats.protobuf import Feature
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.spaces import Space, clip
from offlinekit.errors import FileFormatError
from offlinekit.types import Array, first_leaf, rows

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

CAMERA_SHAPE = (64, 64, 3)
CONTROL_KEYS = ("action", "reward", "discount")


def part_of(features: dict[str, Feature], separator: str, cameras: bool, actions_lead: bool) -> Tree:
    """Returns the steps of one Example, in the alignment of MDPDataset.

    If the first reward is NaN, the Example is a whole episode and row t holds the reward and discount that
    led to its observation; elsewhere it is a piece of one whose rewards follow their actions.

    Args:
        features: Of the Example.
        separator: Between "observation" and the name of a part of it.
        cameras: Whether images are kept.
        actions_lead: Whether row t of a whole episode holds the action that led to its observation, too.

    Raises:
        FileFormatError: For features that are missing or of differing lengths.
    """
    rewards = number(features, "reward")
    n_steps = len(rewards)
    if n_steps < 2:
        raise FileFormatError(f"an Example has {n_steps} steps, expected at least two")
    discounts, actions = steps(features, "discount", n_steps)[:, 0], steps(features, "action", n_steps)
    whole = actions_lead or bool(np.isnan(rewards[0]))
    earned = slice(1, None) if whole else slice(0, -1)
    observations = observations_of(features, separator, cameras, n_steps)
    ends = np.zeros(n_steps - 1, np.bool_)
    ends[-1] = True
    return {
        "observations": rows(observations, slice(0, -1)),
        "final": rows(observations, slice(-1, None)),
        "actions": actions[1:] if actions_lead else actions[:-1],
        "rewards": rewards[earned],
        "terminals": ends_of(discounts[earned], "discount"),
        "ends": ends,
    }


def observations_of(features: dict[str, Feature], separator: str, cameras: bool, n_steps: int) -> ArrayTree:
    """Returns the numbers as one vector [n_steps, D], by name in order; with images a dict with both."""
    prefix = f"observation{separator}"
    names = sorted(name for name in features if name.startswith(prefix))
    vectors = [steps(features, name, n_steps) for name in names if isinstance(features[name], np.ndarray)]
    images = {name: value for name in names if isinstance(value := features[name], list)}
    if not vectors:
        raise FileFormatError(
            f"expected numbers {prefix}... in each Example, got {', '.join(sorted(features))}"
        )
    vector = np.concatenate(vectors, axis=1)
    if not images or not cameras:
        return vector
    return {"vector": vector, **{_last(name): _images(name, images[name], n_steps) for name in images}}


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _images(name: str, values: list[bytes], n_steps: int) -> Array:
    """Returns raw images [n_steps, H, W, C] as [n_steps, C, H, W]."""
    raw = np.frombuffer(b"".join(values), np.uint8)
    if len(raw) != n_steps * int(np.prod(CAMERA_SHAPE)):
        raise FileFormatError(
            f"{name!r} has {len(raw):,} bytes, expected {n_steps} raw images of 64 x 64 x 3"
        )
    return np.ascontiguousarray(np.moveaxis(raw.reshape(n_steps, *CAMERA_SHAPE), -1, 1))


def build(
    parts: Iterable[Tree], *, clip_actions: bool, action_space: Space | None, **arguments: Any
) -> Columns:
    """Returns the columns of parts, and other arguments of MDPDataset.

    Parts of one transition each come in no order of time: the dataset is then unordered.

    Args:
        parts: As `part_of` gives them.
        clip_actions: Whether to clip actions into their range.
        action_space: Of the actions; [-1, 1] if None.
        **arguments: Of MDPDataset.
    """
    columns = joined(parts)
    ends, actions, final = columns.pop("ends"), columns.pop("actions"), columns.pop("final")
    space = action_space or spaces.Box(-1.0, 1.0, actions.shape[1:], np.float32)
    if len(first_leaf(final)) == len(ends):
        arguments["next_observations"] = final
    else:
        arguments |= {"final_observations": final, "episode_terminals": ends}
    actions = clip(actions, space) if clip_actions else actions
    return {**columns, "actions": actions, "action_space": space, **arguments}
