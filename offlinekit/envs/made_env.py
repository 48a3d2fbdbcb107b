"""An environment that was made here and can be made again, until somebody reaches inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

Env = gymnasium.Env[Any, Any]


class MadeEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that was made by name; whoever uses only `reset`, `step` and spaces leaves it as it was made.

    Reading `env`, `unwrapped` or an attribute of an inner layer, and setting any attribute, counts as touching it:
    from then on it may differ from what its name makes, and has no equals.

    Args:
        make: Makes the environment; keywords, such as `render_mode`, are those of `gymnasium.make`.
        facts: `env_id` and `env_kwargs`, by which `make_env` makes it; empty if it has none.
        kwargs: Passed to `make`.

    Attributes:
        is_touched: Whether somebody has reached inside.
    """

    def __init__(self, make: Callable[..., Env], facts: Mapping[str, Any], **kwargs: object) -> None:
        env = make(**kwargs)
        super().__init__(env)
        self._make, self.facts = make, facts
        self.step, self.reset = env.step, env.reset  # type: ignore[method-assign]  # One call less at each step.
        self.render, self.close = env.render, env.close  # type: ignore[method-assign]
        self._action_space, self._observation_space = env.action_space, env.observation_space
        self._metadata, self._cached_spec = env.metadata, env.spec
        self.is_touched = False

    def again(self, **kwargs: object) -> MadeEnv | None:
        """Makes an equal environment; None if this one may have changed since it was made.

        Args:
            kwargs: Passed to `gymnasium.make`, such as `render_mode`.
        """
        if self.is_touched:
            return None
        other = MadeEnv(self._make, self.facts, **kwargs)
        same = (other.action_space, other.observation_space) == (self.action_space, self.observation_space)
        return other if same else None

    @property
    def env(self) -> Env:  # type: ignore[override]  # An attribute of the base class.
        """The layer below."""
        self.__dict__["is_touched"] = True
        return self.__dict__["_made"]  # type: ignore[no-any-return]

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]  # Likewise.
        """How it renders."""
        return self.__dict__["_made"].render_mode  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> object:
        """Returns an attribute of the layer below, as if that were the outermost."""
        if name.startswith("__") or "_made" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.env, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Sets an attribute, where the layer below has it there."""
        if name == "env":
            self.__dict__["_made"] = value
        elif "is_touched" not in self.__dict__:
            super().__setattr__(name, value)
        elif name in self.__dict__ or hasattr(type(self), name) or not hasattr(self.env, name):
            self.__dict__["is_touched"] = True
            super().__setattr__(name, value)
        else:
            setattr(self.env, name, value)

    def __str__(self) -> str:
        return str(self.__dict__["_made"])


def innermost(env: object) -> object:
    """Returns the environment within wrappers, without touching one that was made by name."""
    while isinstance(env, gymnasium.Wrapper):
        env = env.__dict__["_made"] if isinstance(env, MadeEnv) else env.env
    return env
