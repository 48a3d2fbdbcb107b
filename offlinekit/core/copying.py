"""Copies of algorithms: pickled, as process pools send them, and by `copy`; they train on bit by bit.

Networks, optimizers and random numbers share memory among themselves, which a copy attribute by attribute would
tear apart. So a copy makes them anew and takes up their state, as `load` does.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from torch import Tensor

from offlinekit.training.loggers import History

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl

A = TypeVar("A", bound="Algo")


class Built(NamedTuple):
    """The networks of an algorithm as data."""

    spaces: tuple[Any, Any]  # Of observations and actions.
    tensors: dict[str, Tensor]  # On the CPU.
    grad_step: int
    horizon: int


def state_of(algo: Algo) -> dict[str, Any]:
    """Returns an algorithm as data: its attributes, and its networks by their tensors."""
    rows = History(map(dict, algo.history))  # A run adds rows to those of its own algorithm.
    attributes = {**vars(algo), "history": rows, "_impl": None, "sampler": None, "in_run": ""}
    if algo.sampler is not None:
        attributes["sampler_state"] = algo.sampler.state()
    return {"attributes": attributes, "built": None if algo._impl is None else _built(algo._impl)}


def set_state(algo: Algo, state: dict[str, Any]) -> None:
    """Sets what `state_of` returned, and makes the networks anew."""
    vars(algo).update(state["attributes"])
    built: Built | None = state["built"]
    if built is not None:
        algo.make_impl(*built.spaces)
        algo.impl.load_state_tensors(built.tensors)
        algo.impl.grad_step, algo.impl.horizon = built.grad_step, built.horizon


def from_state(cls: type[A], state: dict[str, Any]) -> A:
    """Makes an algorithm of what `state_of` returned."""
    algo = object.__new__(cls)
    set_state(algo, state)
    return algo


def deep_copy(algo: A, memo: dict[int, Any]) -> A:
    """Makes an algorithm that shares nothing with another."""
    memo[id(algo)] = twin = object.__new__(type(algo))
    set_state(twin, copy.deepcopy(state_of(algo), memo))
    return twin


def reduced(algo: Algo) -> tuple[Any, ...]:
    """Returns what pickle writes of an algorithm.

    Raises:
        TypeError: For a hyperparameter that Python cannot pickle, such as a lambda.
    """
    for field in dataclasses.fields(algo):
        _check_importable(type(algo).__name__, field.name, getattr(algo, field.name))
    return from_state, (type(algo), state_of(algo))


def _built(impl: Impl) -> Built:
    tensors = {name: value.detach().cpu().clone() for name, value in impl.state_tensors().items()}
    return Built((impl.observation_space, impl.action_space), tensors, impl.grad_step, impl.horizon)


def _check_importable(owner: str, name: str, value: object) -> None:
    """Raises TypeError for a function or class that another process cannot import by its name."""
    place, named = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if place is None or named is None:
        return
    importable: object = sys.modules.get(place)
    for part in named.split("."):
        importable = getattr(importable, part, None)
    if importable is not value:
        raise TypeError(
            f"{name} of this {owner} is {value!r}, which Python cannot pickle: define it by name at the top of a module"
        )
