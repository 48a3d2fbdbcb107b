"""Facts of an environment for files: the name and arguments that make an equal one, or why no name does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.envs.made_env import MadeEnv

Env = gymnasium.Env[Any, Any]
TRIED_STEPS = 50
"""Steps in a fresh environment at most, to see which of its attributes are state."""
ENV_FACTS = ("env_id", "env_kwargs", "env_note", "env_spaces")
"""Entries of `run_facts`."""
UNNAMED, ARGUMENTS, CHANGED = (
    ", which has no name",
    " with arguments that are no plain data: ",
    " with changed attributes: ",
)
"""Parts of notes; others name an environment and its wrappers."""


def name_of(env: Env) -> str:
    """Returns what to call an environment."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def run_facts(env: Env) -> dict[str, Any]:
    """Returns what a run's config keeps of an environment: `env_facts`, and its spaces as text."""
    return {**env_facts(env), "env_spaces": [str(env.observation_space), str(env.action_space)]}


def env_facts(env: Env) -> dict[str, Any]:
    """Returns `env_id` and `env_kwargs` that make an equal environment; without any, `env_note` says what is known.

    One of `gymnasium.make` may have been changed since: it is compared with a fresh one of its name.
    """
    if isinstance(env, MadeEnv) and env.facts and not env.is_touched:
        return dict(env.facts)
    if env.spec is None:
        return {"env_id": None, "env_note": f"{type(env).__name__}{UNNAMED}"}
    facts, spec = _facts_of_name(env), env.spec
    if spec.additional_wrappers:
        note = f"{spec.id} with {', '.join(wrapper.name for wrapper in spec.additional_wrappers)}"
    elif not _is_plain(facts["env_kwargs"]):
        note = f"{spec.id}{ARGUMENTS}{', '.join(facts['env_kwargs'])}"
    elif changed := _changed_attributes(env, facts):
        note = f"{spec.id}{CHANGED}{', '.join(changed)}"
    else:
        return facts
    return {"env_id": None, "env_note": note}


def differ_in_wrappers(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Returns whether two entries of configs are of one environment, with the same spaces, in other wrappers."""
    names = [_inner_name(facts) for facts in (first, second)]
    are_wrapped = first.get("env_note") is not None or second.get("env_note") is not None
    is_one = names[0] is not None and names[0] == names[1]
    return bool(are_wrapped and is_one and first.get("env_spaces") == second.get("env_spaces"))


def _inner_name(facts: Mapping[str, Any]) -> str | None:
    """Returns the name of the environment within wrappers; None if it is changed itself, or nothing names it."""
    note = facts.get("env_note")
    if note is None:
        return facts.get("env_id")
    if ARGUMENTS in note or CHANGED in note:
        return None
    return facts.get("online") if note.endswith(UNNAMED) else note.partition(" with ")[0]


def _facts_of_name(env: Env) -> dict[str, Any]:
    """Returns the name and arguments that an environment was made by; a limit of time is one of them."""
    spec = env.spec
    assert spec is not None  # As the caller has seen.
    if isinstance(env, MadeEnv) and env.facts:
        return dict(env.facts)
    kwargs = {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
    known = gymnasium.registry.get(spec.id)
    if known is not None and known.max_episode_steps != spec.max_episode_steps:
        kwargs["max_episode_steps"] = -1 if spec.max_episode_steps is None else spec.max_episode_steps
    return {"env_id": spec.id, "env_kwargs": kwargs}


def _is_plain(kwargs: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(json.dumps(kwargs)) == kwargs)
    except (TypeError, ValueError):
        return False


def _changed_attributes(env: Env, facts: dict[str, Any]) -> list[str]:
    """Returns the attributes that are neither as in a fresh environment of the name nor state of an episode."""
    from offlinekit.envs.environments import make_env

    try:
        fresh = make_env(facts["env_id"], **facts["env_kwargs"])
    except ValueError:
        return ["all, as the name makes no environment"]
    assert fresh is not None  # The package is there, or there were no `env`.
    with closing(fresh):
        made = _attributes(fresh)
        _try_out(fresh)
        constant = {name: value for name, value in _attributes(fresh).items() if made.get(name) == value}
    given = _attributes(env)
    return sorted(
        {name.rpartition(".")[2] for name, value in constant.items() if given.get(name) != value}
        | {name for layer in _env_layers(env) for name in _replaced_methods(layer)}
    )


def _try_out(env: Env) -> None:
    """Takes random steps to the end of an episode, by generators of the environment alone."""
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(TRIED_STEPS):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return


def _attributes(env: Env) -> dict[str, object]:
    """Returns the attributes of all layers that can be compared, by layer and name."""
    return {
        f"{type(layer).__name__}.{name}": plain
        for layer in _env_layers(env)
        for name, value in vars(layer).items()
        if (plain := _compared(value)) is not None
    }


def _env_layers(env: Env) -> Iterator[Env]:
    """Yields the wrappers that are there, but for the one of `make_env`, and the environment within them."""
    while isinstance(env, gymnasium.Wrapper):
        if not isinstance(env, MadeEnv):
            yield env
        env = env.env
    yield env


def _replaced_methods(layer: Env) -> Iterator[str]:
    return (name for name, value in vars(layer).items() if callable(value) and hasattr(type(layer), name))


def _compared(value: object) -> object:
    """Returns what stands for the value of an attribute in a comparison; None for flags and objects."""
    if isinstance(value, (bool, np.bool_)):  # Of the state, mostly.
        return None
    if isinstance(value, (int, float, str, np.number)):
        return repr(value)
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, (tuple, list)):
        parts = tuple(map(_compared, value))
        return None if None in parts else parts
    return value if isinstance(value, spaces.Space) else _mujoco_model(value)


def _mujoco_model(value: object) -> object:
    """Returns the bytes of a model of MuJoCo, None for anything else."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is None or not isinstance(value, mujoco.MjModel):
        return None
    buffer = np.empty(mujoco.mj_sizeModel(value), np.uint8)
    mujoco.mj_saveModel(value, None, buffer)
    return buffer.tobytes()
