"""Atari games: their names, their actions, and environments prepared as recorded frames were."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers

from offlinekit.envs.frame_stacking import stack_images
from offlinekit.errors import did_you_mean
from offlinekit.types import Array

Env = gymnasium.Env[Any, Any]
SIDE = 84
STICKINESS = 0.25
MOST_FRAMES = 108_000
"""Emulator frames after which an episode is cut off: 30 minutes of play."""


@functools.cache
def games() -> dict[str, int]:
    """Returns games by the name their data go by, such as "MsPacman", with how many actions each has.

    These are the actions that have an effect in the game, in the order of ALE's minimal action set.
    """
    text = (Path(__file__).resolve().parent / "atari.json").read_text()
    return dict(json.loads(text))


def dashed(game: str) -> str:
    """Returns "ms-pacman" for "MsPacman"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", game).lower()


def check_game(game: str) -> str:
    """Returns the name of a game.

    Raises:
        ValueError: For a game that is not there; suggests the nearest.
    """
    if game not in games():
        raise ValueError(f"unknown Atari game {game!r}{did_you_mean(game, games())}")
    return game


def game_of(path: Path) -> str | None:
    """Returns the game named by a file or one of its folders, the nearest one first, or None."""
    words = (word for part in reversed(path.parts) for word in re.split(r"[^A-Za-z]+", part))
    return next((word for word in words if word in games()), None)


def described(game: str | None, frame_stack: int) -> dict[str, Any]:
    """Returns arguments of MDPDataset for data of a game: its action space, and its environment as metadata.

    Args:
        game: Name, or None if it is unknown.
        frame_stack: Frames in one observation of the data.
    """
    if game is None:
        return {}
    environment = {"env_id": f"ALE/{check_game(game)}-v5", "env_kwargs": {"frame_stack": frame_stack}}
    return {"action_space": spaces.Discrete(games()[game]), "metadata": {"game": game, **environment}}


def prepare(
    make: Callable[..., Env],
    *,
    frame_stack: int,
    frame_pad: str = "zero",
    clip_rewards: bool = False,
    sticky_actions: bool = True,
    noop_max: int = 0,
    **kwargs: Any,
) -> Env:
    """Returns a game that shows what the recorded data show.

    A step is four emulator frames; the last two are joined by their maximum, in gray, at 84 x 84. Losing a
    life ends nothing.

    Args:
        make: Makes the game from arguments of `gymnasium.make`.
        frame_stack: Frames in an observation [frame_stack, 84, 84], the newest last.
        frame_pad: What stands before an episode's first frame: "zero", or "repeat" for that frame again.
        clip_rewards: Whether rewards are clipped into [-1, 1]; returns are then no scores.
        sticky_actions: Whether the last action is repeated with probability 0.25 in place of the new one.
        noop_max: An episode begins with up to so many emulator frames without an action, drawn by its seed; 0 for none.
        **kwargs: Passed to `make`, such as `render_mode`.

    Raises:
        ValueError: For an unknown pad rule.
    """
    settings: dict[str, Any] = {"frameskip": 1, "max_num_frames_per_episode": MOST_FRAMES}
    settings["repeat_action_probability"] = STICKINESS if sticky_actions else 0.0
    env: Env = wrappers.AtariPreprocessing(make(**{**settings, **kwargs}), noop_max=noop_max)
    if clip_rewards:
        env = wrappers.ClipReward(env, -1.0, 1.0)
    return stack_images(wrappers.ReshapeObservation(env, (1, SIDE, SIDE)), frame_stack, frame_pad)


def clipped(rewards: Array, clip_rewards: bool) -> Array:
    """Returns rewards, clipped into [-1, 1] if `clip_rewards`."""
    return np.clip(rewards, -1.0, 1.0) if clip_rewards else rewards
