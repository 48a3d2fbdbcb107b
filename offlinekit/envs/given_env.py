"""An environment as a user gives it to any function: itself, a function that makes it, or its name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import gymnasium
from gymnasium.wrappers.utils import RunningMeanStd

from offlinekit.envs.env_facts import run_facts
from offlinekit.envs.environments import as_gymnasium, make_env
from offlinekit.envs.made_env import MadeEnv, innermost
from offlinekit.errors import MissingExtraError, UnsupportedError

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvLike, EnvSource

Env = gymnasium.Env[Any, Any]
AT_ONCE = 10
"""Environments side by side, unless the call says how many."""


class GivenEnv:
    """What the user gave: it is used itself, never a look-alike made from its name.

    Args:
        env: A gymnasium environment or one of the legacy gym API; a function or class that makes one without
            arguments; a name that gymnasium knows; or a GivenEnv.

    Attributes:
        env: The object, or None.
        factory: What makes environments if there is no object.
        in_use: Those that it made and that are still open, also for whom another GivenEnv was made of this one.

    Raises:
        UnsupportedError: For anything else.
    """

    env: Env | None = None
    factory: Callable[[], EnvLike | None] | None = None

    def __init__(self, env: EnvSource | GivenEnv | None) -> None:
        self.in_use: list[EnvLike | None] = []
        if isinstance(env, GivenEnv):
            self.env, self.factory, self.in_use = env.env, env.factory, env.in_use
        elif isinstance(env, str):
            self.factory = partial(make_named, env)
        elif callable(env) and (isinstance(env, type) or not hasattr(env, "step")):
            _check_maker(env)
            self.factory = env
        else:
            self.env = as_gymnasium(cast("EnvLike | None", env))

    @contextmanager
    def opened(self, n_envs: int | None = 1, at_most: int = AT_ONCE) -> Iterator[list[Env]]:
        """Yields environments to use side by side; closes those that were made here.

        An object is used alone, but for one that `make_env` or `get_dataset` made and nobody has touched since.

        Args:
            n_envs: How many; None for as many as there can be.
            at_most: How many are of use.

        Raises:
            ValueError: If a function returns the same environment twice.
        """
        wanted = min(n_envs or AT_ONCE, at_most)
        with ExitStack() as stack:
            envs = [] if self.env is None else [self.env]
            if self.factory is not None:
                envs = [self._made(stack) for _ in range(wanted)]
            else:
                source = islice(self._equals(), wanted - len(envs))
                envs += [stack.enter_context(closing(env)) for env in source]
            if n_envs is not None and len(envs) < wanted:
                _warn_of_one(envs[0], n_envs)
            yield envs

    @property
    def facts(self) -> dict[str, Any]:
        """What `run_facts` says of it."""
        with self.opened() as (env,):
            return run_facts(env)

    def _made(self, opened: ExitStack) -> Env:
        """Returns an environment that the user's function makes, which is closed with what was opened.

        Raises:
            ValueError: For one that is in use already, be it in another wrapper: its episodes would be mixed up.
        """
        assert self.factory is not None  # As the caller has seen.
        env = self.factory()
        if any(innermost(env) is innermost(other) for other in self.in_use):
            raise ValueError(f"the function returned {env} twice; let it make a new environment at each call")
        made = opened.enter_context(closing(as_gymnasium(env)))
        self.in_use.append(env)
        opened.callback(_remove, self.in_use, env)
        return made

    def _equals(self) -> Iterator[Env]:
        """Yields environments that are equal to the object."""
        env = self.env
        while isinstance(env, MadeEnv) and env.render_mode is None:  # Others would open windows.
            other = env.again()
            if other is None:
                return
            yield other


def _remove(envs: list[EnvLike | None], env: EnvLike | None) -> None:
    """Removes an environment from a list by identity: some compare as equal, or cannot be compared."""
    envs[:] = [other for other in envs if other is not env]


def make_named(name: str, **kwargs: object) -> Env:
    """Makes the environment of a name.

    Raises:
        ValueError: For a name that gymnasium does not know.
        MissingExtraError: If the package that it needs is not installed.
    """
    env = make_env(name, **kwargs)
    if env is None:
        raise MissingExtraError(
            f"there is no environment {name!r}: its package is not installed (see the warning)"
        )
    return env


def _check_maker(function: Callable[..., object]) -> None:
    """Checks that a function can be called without arguments.

    Raises:
        UnsupportedError: For one that needs some, such as an environment of text.
    """
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # Of C, which says nothing of its parameters.
        return
    own = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed := [p.name for p in own if p.default is p.empty]:
        raise UnsupportedError(
            f"a function in place of an environment must make one without arguments, but {function} needs "
            f"{', '.join(needed)}; an environment of text is given as TextEnv(function, algo.tokenizer), for another "
            "function write lambda: function(...)"
        )


def _warn_of_one(env: Env, n_envs: int) -> None:
    warnings.warn(
        f"n_envs={n_envs}, but there is one environment, {env}, and a copy could differ from it: episodes run one "
        "after another; for several at once give a function, such as lambda: gymnasium.make('CartPole-v1')",
        stacklevel=6,
    )


@contextmanager
def statistics_kept(env: gymnasium.Env[Any, Any]) -> Iterator[None]:
    """Stops wrappers from learning, and gives their statistics back as they were."""
    layers = list(_wrappers(env))
    learning = [
        (layer, layer.update_running_mean) for layer in layers if hasattr(layer, "update_running_mean")
    ]
    kept = [(layer, copy.deepcopy(_statistics(layer))) for layer in layers]
    for layer, _ in learning:
        layer.update_running_mean = False
    try:
        yield
    finally:
        for layer, was in learning:
            layer.update_running_mean = was
        for layer, statistics in kept:
            vars(layer).update(statistics)


def learns(env: gymnasium.Env[Any, Any]) -> bool:
    """Returns whether wrappers show observations by statistics that change."""
    return any(hasattr(layer, "update_running_mean") for layer in _wrappers(env))


def _statistics(layer: gymnasium.Wrapper[Any, Any, Any, Any]) -> dict[str, Any]:
    """Returns the running means of a wrapper, and the running return that one of rewards has."""
    return {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, RunningMeanStd) or name == "discounted_reward"
    }


def _wrappers(env: Env) -> Iterator[gymnasium.Wrapper[Any, Any, Any, Any]]:
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
