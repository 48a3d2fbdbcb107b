"""What a policy sees of the past: stacks of images along the channels, and histories of the last rows.

A history of K rows gives each leaf [...] of the observations an axis of time, [K, ...], the newest row last. Before an
episode's first row stands that row again: nothing is seen of the episode before. Legal actions are those of the newest
row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.envs.callable_policies import Act, as_policy
from offlinekit.envs.env_spaces import check_environment
from offlinekit.envs.legal_actions import LEGAL_ACTIONS
from offlinekit.envs.past.layouts import image_remedy, looks_channels_last
from offlinekit.envs.past.seen_past import Past, over_rest
from offlinekit.envs.past.sight import (
    Sight,
    image_shapes,
    is_image,
    shapes_of,
    sight_of,
    space_leaves,
    stacked_space,
)
from offlinekit.envs.stateful_policies import Actor, StatefulPolicy, as_actor
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.fields import Count, checked
from offlinekit.interfaces import PolicyLike
from offlinekit.types import Array, ArrayTree, leaves, map_tree
from offlinekit.types import rows as rows_of

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

PADS = ("zero", "repeat")
NO_IMAGES = "leave frame_stack at 1; rows of numbers are remembered by history_length"


def stack_images(env: gymnasium.Env[Any, Any], stack: int, pad: str = "zero") -> gymnasium.Env[Any, Any]:
    """Returns an environment of images [C, H, W] that shows stacks [stack * C, H, W], as samplers make them.

    Args:
        env: Shows one image, alone or among the leaves of a dict or tuple, whose other leaves stay as they are.
        stack: How many of them make one observation; 1 returns the environment as it is.
        pad: What stands before an episode's first image, "zero" or "repeat".

    Raises:
        ValueError: For a number below 1 or an unknown pad rule.
        TypeError: For what is no whole number.
        UnsupportedError: For an environment without images, or with channels last.
    """
    check_sight(stack, pad)
    if stack == 1:
        return env
    _check_images(env, stack)
    return PastObservation(env, Sight(stack, pad, 1))


def _check_images(env: gymnasium.Env[Any, Any], stack: int) -> None:
    images = image_shapes(env.observation_space)
    wrapper = "gymnasium.wrappers.TransformObservation(env, function, space)"
    if not images:
        remedy = f"frames [H, W] get an axis of channels by {wrapper}"
        if any(len(leaf.shape or ()) > 3 for leaf in space_leaves(env.observation_space)):
            remedy = "leave out FrameStackObservation, if there is one: single images are stacked here"
        raise UnsupportedError(
            f"{stack} uint8 images [C, H, W] make a stack, and {env} shows none: its observations have the shapes "
            f"{shapes_of(env.observation_space)}; {remedy}"
        )
    for shape in filter(looks_channels_last, images):
        raise UnsupportedError(
            f"{stack} images [C, H, W] make a stack, and {env} shows {list(shape)}; move the channels first by "
            f"{wrapper}"
        )


def lacks_past(policy: object, shows: object) -> bool:
    """Returns whether a policy sees stacks or histories where single images, or rows, are shown.

    Args:
        policy: An algorithm with networks, or anything else, which sees what is shown.
        shows: Space of the observations shown.
    """
    sight = sight_of(policy)
    if max(sight.frame_stack, sight.history) == 1 or not isinstance(shows, spaces.Space):
        return False
    stacked = None if sight.history > 1 else shapes_of(stacked_space(shows, sight.frame_stack))
    if stacked == shapes_of(shows):
        return False  # There are no images.
    sees = shapes_of(policy.impl.observation_space)  # type: ignore[attr-defined]  # Of an algorithm, as it has a sight.
    return bool(sees != shapes_of(shows) if stacked is None else sees == stacked)


def fit_stack(env: gymnasium.Env[Any, Any], policy: object) -> gymnasium.Env[Any, Any]:
    """Returns an environment that shows what a policy sees if it shows single images, or rows without their history.

    Args:
        env: Shows single images or rows, stacks or histories, or something else, which stays as it is.
        policy: As for `lacks_past`.
    """
    if not lacks_past(policy, getattr(env, "observation_space", None)):
        return env
    stack, pad, n_rows = sight_of(policy)
    return HistoryObservation(env, n_rows) if n_rows > 1 else stack_images(env, stack, pad)


def fit_env(
    env: gymnasium.Env[Any, Any], policy: object, option: str = "env=", whose: str = "the policy"
) -> gymnasium.Env[Any, Any]:
    """Returns an environment that shows what a policy sees, as `fit_stack`, once its spaces are those of the policy.

    Args:
        env: To act in.
        policy: An algorithm with networks, or what acts for one; anything else knows no spaces and passes.
        option: By which the environment was given, for the message.
        whose: The spaces are, for the message.

    Raises:
        DatasetError: For an environment of other observations or actions.
        UnsupportedError: For one without the images that the policy stacks, or text of another tokenizer.
    """
    shown, impl = fit_stack(env, policy), getattr(policy, "impl", None)
    sees, acts = (getattr(impl, f"{kind}_space", None) for kind in ("observation", "action"))
    if not isinstance(sees, spaces.Space) or not isinstance(acts, spaces.Space):
        return shown
    if isinstance(policy, StatefulPolicy):
        sees = env.observation_space  # It takes single rows and stacks, and checks them itself.
    stack = sight_of(policy).frame_stack
    if stack > 1 and shapes_of(sees) != shapes_of(shown.observation_space):
        _check_images(env, stack)
    check_environment(sees, acts, shown, whose=whose, option=option)
    return shown


class PastObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows what a policy sees of an episode, as samplers make it.

    Args:
        env: Shows single images or rows.
        sight: Of the policy.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], sight: Sight) -> None:
        check_sight(*sight)
        super().__init__(env)
        self._past = Past(sight)
        self.observation_space = stacked_space(env.observation_space, sight.frame_stack, sight.history)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ArrayTree, dict[str, Any]]:
        """Returns what is seen at the start of an episode, and the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._past.forget(None)
        return self._past.after(observation), info

    def step(self, action: object) -> tuple[ArrayTree, SupportsFloat, bool, bool, dict[str, Any]]:
        """Returns what the step of the environment does, the observation as it is seen."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._past.after(observation), reward, terminated, truncated, info


class HistoryObservation(PastObservation):
    """Shows the last rows of an episode, [K, ...] of each leaf, as samplers make them.

    Args:
        env: Shows one row.
        n_rows: K.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], n_rows: int) -> None:
        super().__init__(env, Sight(1, "repeat", n_rows))


class FrameMemory:
    """Acts in environments that show single images or rows, by a policy of stacks or histories, as samplers make them.

    Args:
        policy: Stacked observations [B, ...], or histories [B, K, ...], to actions.
        stack: Images in one observation.
        pad: What stands before an episode's first image, "zero" or "repeat".
        history: K; 1 for stacks of images.
    """

    def __init__(self, policy: Act, stack: int, pad: str, history: int = 1) -> None:
        self.policy, self._past = policy, Past(Sight(stack, pad, history))

    def act(self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int]) -> Array:
        """Returns the actions [B, ...] in B episodes."""
        return np.asarray(self.policy(self._past.seen(observations, episodes)))

    def forget(self, episode: int | None) -> None:
        """Begins an episode anew, or lets go of one that is over."""
        self._past.forget(episode)


def actor_in(policy: PolicyLike, shows: spaces.Space[Any]) -> Actor:
    """Returns what acts in episodes side by side for a policy, with a memory of the past if it sees more than is shown.

    Args:
        policy: As `as_actor` takes it.
        shows: Space of the observations shown.
    """
    actor = as_actor(policy)
    if isinstance(actor, StatefulPolicy) or not lacks_past(policy, shows):
        return actor  # Of an algorithm, it remembers by itself.
    return FrameMemory(as_policy(policy), *sight_of(policy))


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
        ValueError: For a number below 1 or an unknown pad rule.
        DatasetError: For histories of unordered transitions.
    """
    check_sight(stack, pad, history)
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


def check_stack(images: list[Array], stack: int, pad: str, ordered: bool, observations: ArrayTree) -> None:
    """Checks that frames can be stacked.

    Args:
        images: [N, C, H, W] each, unscaled.
        stack: Images in one observation.
        pad: What stands before an episode's first image.
        ordered: Whether rows are in temporal order.
        observations: Of the dataset, [N, ...], for the message.

    Raises:
        ValueError: For a number below 1 or an unknown pad rule.
        DatasetError: For data without images, with channels last, or in no order of time.
    """
    check_sight(stack, pad)
    if stack == 1:
        return
    if not images:
        observed = [(leaf.dtype, leaf.shape[1:]) for leaf in leaves(observations)]
        remedy = image_remedy(observed, NO_IMAGES)
        if any(is_image(*each) for each in observed):
            remedy = "a scaler makes floats of them: use observation_scaler=None"
        given = ", ".join(f"{dtype} {list(shape)}" for dtype, shape in observed)
        raise DatasetError(
            f"frame_stack={stack} needs uint8 images [C, H, W] among the observations, which are {given}; {remedy}"
        )
    if not ordered:
        raise DatasetError(
            f"frame_stack={stack} needs rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); use frame_stack=1 if they are stacked already, as "
            "those of RL Unplugged, or stack before building it"
        )
    for leaf in images:
        if looks_channels_last(leaf.shape[1:]):
            raise DatasetError(
                f"frame_stack={stack} needs images [C, H, W], got {list(leaf.shape[1:])}; "
                "move the channels first, e.g. np.moveaxis(x, -1, 1)"
            )


def check_sight(stack: int, pad: str, history: int = 1) -> None:
    """Raises ValueError, or TypeError, for numbers that are no counts, and for an unknown pad rule."""
    checked("frame_stack", stack, Count)
    checked("history_length", history, Count)
    if pad not in PADS:
        raise ValueError(f"frame_pad must be one of {list(PADS)}, got {pad!r}")


def observations_at(policy: PolicyLike, dataset: MDPDataset, index: Array) -> ArrayTree:
    """Returns the observations of rows [B] as the policy sees them, images stacked or with histories."""
    sight = sight_of(policy)
    if sight.frame_stack == sight.history == 1:
        return rows_of(dataset.observations, index)
    return stacked_observations(dataset, index, *sight)
