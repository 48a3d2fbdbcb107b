"""Environments by name, and the bridge from the legacy gym API to gymnasium's."""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium

from offlinekit.envs import atari
from offlinekit.envs.legacy_gym import LegacyEnv
from offlinekit.envs.made_env import MadeEnv
from offlinekit.envs.mazes import maze2d
from offlinekit.envs.text.named_games import GAMES
from offlinekit.errors import UnsupportedError

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvLike


class MissingExtraWarning(UserWarning):
    """An environment that cannot be made because an optional package is not installed."""


class Package(NamedTuple):
    """Requirements of a family of environments beyond gymnasium itself."""

    prefixes: tuple[str, ...]
    module: str
    requirement: str


PACKAGES = (
    Package(
        (
            "Ant-",
            "HalfCheetah-",
            "Hopper-",
            "Humanoid-",
            "HumanoidStandup-",
            "InvertedDoublePendulum-",
            "InvertedPendulum-",
            "Pusher-",
            "Reacher-",
            "Swimmer-",
            "Walker2d-",
            maze2d.PREFIX,
        ),
        "mujoco",
        "offlinekit[mujoco]",
    ),
    Package(("BipedalWalker", "CarRacing", "LunarLander"), "Box2D", "offlinekit[box2d]"),
    Package(("ALE/",), "ale_py", "offlinekit[atari]"),
    Package(
        ("AdroitHand", "AntMaze_", "Fetch", "FrankaKitchen", "HandManipulate", "HandReach", "PointMaze_"),
        "gymnasium_robotics",
        "gymnasium-robotics",
    ),
)
"""Which environments need which package: the first row whose prefix fits counts."""


def make_env(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any] | None:
    """Makes a gymnasium environment, or explains which extra it lacks.

    Args:
        env_id: Name in gymnasium's registry, such as "Hopper-v4", or of a game of text: "random-walks", "wordle-20".
        **kwargs: Passed to `gymnasium.make`. If `render_mode` is given and there is no display,
            renderers that need none are chosen (`render_without_display`). Games of ALE take those of
            `atari.prepare` too: with `frame_stack` they show what recorded data show.

    Returns:
        The environment; None, with a MissingExtraWarning, if its package is not installed.

    Raises:
        ValueError: If gymnasium has no such name or refuses the arguments.
    """
    package = next((row for row in PACKAGES if env_id.startswith(row.prefixes)), None)
    if package is not None and not _register(package):
        warnings.warn(
            f"environment {env_id!r} needs the module {package.module!r}, which is not installed; there is no"
            f" environment to evaluate in; install it with: pip install '{package.requirement}'",
            MissingExtraWarning,
            stacklevel=2,
        )
        return None
    atari.check_options(env_id, kwargs)
    if env_id.startswith(maze2d.PREFIX):
        maze2d.register_mazes()
    if kwargs.get("render_mode") is not None:
        render_without_display()
    prepared = env_id.startswith("ALE/") and "frame_stack" in kwargs
    facts = {"env_id": env_id, "env_kwargs": {k: v for k, v in kwargs.items() if k != "render_mode"}}
    return MadeEnv(partial(_prepare if prepared else _make, env_id, **kwargs), facts)


def as_gymnasium(env: EnvLike | None) -> gymnasium.Env[Any, Any]:
    """Returns an environment of gymnasium's API.

    Args:
        env: A gymnasium environment (returned as it is), or any object of the legacy gym API: `reset` that
            returns an observation or (observation, info), `step` that returns 4 or 5 values, seeds by
            `seed()` or `reset(seed=)`. The gym package itself is never imported.

    Raises:
        UnsupportedError: For a vector environment, or an object that is no environment.
    """
    if isinstance(env, gymnasium.Env):
        _check_reset(env)
        return env
    if isinstance(env, gymnasium.vector.VectorEnv) or hasattr(env, "single_action_space"):
        raise UnsupportedError(
            f"expected a single environment, got the vector environment {env!r}; pass one environment, or for "
            "several side by side a function that makes one, such as lambda: gymnasium.make('CartPole-v1')"
        )
    missing = [
        name for name in ("reset", "step", "observation_space", "action_space") if not hasattr(env, name)
    ]
    if missing:
        raise UnsupportedError(
            f"expected an environment of the gymnasium or gym API, got {type(env).__name__}, which lacks "
            f"{', '.join(missing)}; make one with make_env('CartPole-v1') or gymnasium.make"
        )
    return LegacyEnv(env)


def _check_reset(env: gymnasium.Env[Any, Any]) -> None:
    """Refuses an environment of which a class has a `reset` without a seed."""
    while not isinstance(env, MadeEnv):  # Those were made, and looked at, by gymnasium.
        known = inspect.signature(env.reset).parameters
        if "seed" not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise UnsupportedError(
                f"reset of {type(env).__name__} takes no seed, so that no episode could be repeated; define it as "
                "def reset(self, *, seed=None, options=None), and begin it with super().reset(seed=seed)"
            )
        if not isinstance(env, gymnasium.Wrapper):
            return
        env = env.env


def render_without_display() -> None:
    """Chooses renderers that need no display, if there is none and the user has not chosen.

    MUJOCO_GL becomes "egl" (MuJoCo fails without it), SDL_VIDEODRIVER "dummy" (pygame complains without it).
    """
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _register(package: Package) -> bool:
    """Imports a package and registers its environments; returns whether it could be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of the packages themselves, such as SWIG's.
        try:
            gymnasium.register_envs(importlib.import_module(package.module))
        except ImportError:
            return False
    return True


def _prepare(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Makes a game of ALE that shows what recorded data show."""
    return atari.prepare(partial(_make, env_id), **kwargs)


WALKERS = ("Ant-", "HalfCheetah-", "Hopper-", "Humanoid-", "Swimmer-", "Walker2d-")
"""Robots of MuJoCo that walk out of a fixed picture; their models have a camera "track", which goes with them."""


def _make(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Makes an environment without the notice that a newer version exists: data decides the version."""
    if kwargs.get("render_mode") and env_id.startswith(WALKERS) and "camera_id" not in kwargs:
        kwargs = {"camera_name": "track", **kwargs}
    if env_id in GAMES and not kwargs:
        return GAMES[env_id].env()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*has no __module__", category=DeprecationWarning)
        try:
            return gymnasium.make(env_id, **kwargs)
        except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
            given = "".join(f", {key}={value!r}" for key, value in kwargs.items())
            raise ValueError(f"gymnasium cannot make {env_id!r}{given}: {error}") from error
