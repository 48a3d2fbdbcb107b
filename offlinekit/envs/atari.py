"""Atari games: their names, their actions, and environments prepared as recorded frames were."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers

from offlinekit.envs.frame_stacking import check_sight, stack_images
from offlinekit.errors import did_you_mean
from offlinekit.types import Array

Env = gymnasium.Env[Any, Any]
SIDE = 84
STICKINESS = 0.25
MOST_FRAMES = 108_000
"""Emulator frames after which an episode is cut off: 30 minutes of play."""
SET = ("frameskip", "obs_type")
"""Arguments of `gymnasium.make` that `prepare` sets."""
OPTIONS = ("frame_stack", "frame_pad", "clip_rewards", "sticky_actions", "noop_max")
"""Arguments of `prepare` beside those of `gymnasium.make`."""
NAME = re.compile(r"ALE/(?P<ale>\w+)-v\d+|(?P<old>[A-Za-z]+)(?:NoFrameskip|Deterministic)-v\d+")
"""Names of games in gymnasium's registry; such as "Pong-v4" are not sure to be of ALE."""


@functools.cache
def games() -> dict[str, int]:
    """Returns games by the name their data go by, such as "MsPacman", with how many actions each has.

    These are the actions that have an effect in the game, in the order of ALE's minimal action set.
    """
    return {game: facts["actions"] for game, facts in _facts().items() if "actions" in facts}


@functools.cache
def _facts() -> dict[str, dict[str, Any]]:
    """Returns what is known of each game: "actions", and "scores" of random play and of a human tester."""
    text = (Path(__file__).resolve().parent / "atari.json").read_text()
    return dict(json.loads(text))


def check_options(env_id: str, options: Collection[str]) -> None:
    """Checks that arguments of `prepare` are given for a game, and with `frame_stack`.

    Raises:
        ValueError: For others, and for a name of a game that ALE had before.
    """
    asked = [name for name in OPTIONS if name in options]
    match = NAME.fullmatch(env_id)
    if not asked or match is None:
        return
    if match["old"] in games():
        raise ValueError(
            f"{env_id!r} is not prepared as recorded data, so {asked[0]} says nothing of it; name the game "
            f"'ALE/{match['old']}-v5', or leave {asked[0]} out"
        )
    if match["ale"] and "frame_stack" not in asked:
        raise ValueError(
            f"{asked[0]} is an argument of games prepared as recorded data; give frame_stack too, such as 4, or 1 for "
            "single frames"
        )


def human_scores(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> tuple[float, float] | None:
    """Returns the scores of random play and of a human tester in a game of ALE, by which scores are normalised.

    They are means of undiscounted returns over episodes that begin with 1 to 30 no-ops and are cut off after 108,000
    emulator frames. Source: Wang et al. 2016, arXiv:1511.06581, as the table of DQN Zoo has them
    (google-deepmind/dqn_zoo, dqn_zoo/atari_data.py), for 57 games.

    Args:
        env_id: Such as "ALE/Pong-v5" or "PongNoFrameskip-v4".
        env_kwargs: Of the environment.

    Returns:
        The pair; None for anything else, a game without one, other modes or difficulties of it, and clipped rewards.
    """
    match = NAME.fullmatch(env_id)
    if (
        match is None
        or set(env_kwargs or {}) & {"mode", "difficulty"}
        or (env_kwargs or {}).get("clip_rewards")
    ):
        return None
    pair = _facts().get(match["ale"] or match["old"], {}).get("scores")
    return None if pair is None else (pair[0], pair[1])


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


def described(game: str | None, frame_stack: int, clipped_rewards: bool = False) -> dict[str, Any]:
    """Returns arguments of MDPDataset for data of a game: its action space, and its environment as metadata.

    Args:
        game: Name, or None if it is unknown.
        frame_stack: Frames in one observation of the data.
        clipped_rewards: Whether the rewards of the data are clipped, so that their returns are no scores.
    """
    clipped = {"clipped_rewards": True} if clipped_rewards else {}
    if game is None:
        return {"metadata": clipped} if clipped else {}
    environment = {"env_id": f"ALE/{check_game(game)}-v5", "env_kwargs": {"frame_stack": frame_stack}}
    return {
        "action_space": spaces.Discrete(games()[game]),
        "metadata": {"game": game, **environment, **clipped},
    }


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
        ValueError: For a number of frames below 1, an unknown pad rule, and arguments that a prepared game sets itself.
        TypeError: For what is no whole number.
    """
    check_sight(frame_stack, frame_pad)
    if own := [name for name in SET if name in kwargs]:
        raise ValueError(
            f"with frame_stack a step is four emulator frames, joined in gray, at 84 x 84; leave {own[0]} out, or "
            "frame_stack for the game as gymnasium makes it"
        )
    settings: dict[str, Any] = {"frameskip": 1, "max_num_frames_per_episode": MOST_FRAMES}
    settings["repeat_action_probability"] = STICKINESS if sticky_actions else 0.0
    env: Env = wrappers.AtariPreprocessing(make(**{**settings, **kwargs}), noop_max=noop_max)
    if clip_rewards:
        env = wrappers.ClipReward(env, -1.0, 1.0)
    return stack_images(wrappers.ReshapeObservation(env, (1, SIDE, SIDE)), frame_stack, frame_pad)


def clipped(rewards: Array, clip_rewards: bool) -> Array:
    """Returns rewards, clipped into [-1, 1] if `clip_rewards`."""
    return np.clip(rewards, -1.0, 1.0) if clip_rewards else rewards
