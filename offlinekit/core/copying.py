"""Copies of algorithms: pickled, as process pools send them, and by `copy`; they train on bit by bit.

Networks, optimizers and random numbers share memory among themselves, which a copy attribute by attribute would
tear apart. So a copy makes them anew and takes up their state, as `load` does.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar

from torch import Tensor

from offlinekit.interfaces import Sampler

if TYPE_CHECKING:
    from offlinekit.core.impl import Impl

C = TypeVar("C", bound="Copied")


class Built(NamedTuple):
    """The networks of an algorithm as data."""

    spaces: tuple[Any, Any]  # Of observations and actions.
    tensors: dict[str, Tensor]  # On the CPU.
    grad_step: int
    horizon: int


class Copied:
    """Copies of a front: `pickle`, `copy.copy` and `copy.deepcopy` make one that is independent.

    Raises:
        TypeError: For pickling a front with a hyperparameter that Python cannot pickle, such as a lambda.
    """

    _impl: Impl | None
    sampler: Sampler | None
    make_impl: Callable[..., None]

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_impl": None, "sampler": None, "in_run": ""}
        if self.sampler is not None:
            state["sampler_state"] = self.sampler.state()
        return {"attributes": state, "built": None if self._impl is None else _built(self._impl)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        built: Built | None = state["built"]
        if built is not None:
            self.make_impl(*built.spaces)
            assert self._impl is not None  # For the type checker; it was made.
            self._impl.load_state_tensors(built.tensors)
            self._impl.grad_step, self._impl.horizon = built.grad_step, built.horizon

    def __copy__(self: C) -> C:
        return _made(type(self), self.__getstate__())

    def __deepcopy__(self: C, memo: dict[int, Any]) -> C:
        memo[id(self)] = twin = object.__new__(type(self))
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # Fronts are dataclasses.
            _check_importable(type(self).__name__, field.name, getattr(self, field.name))
        return _made, (type(self), self.__getstate__())


def _built(impl: Impl) -> Built:
    tensors = {name: value.detach().cpu().clone() for name, value in impl.state_tensors().items()}
    return Built((impl.observation_space, impl.action_space), tensors, impl.grad_step, impl.horizon)


def _made(cls: type[C], state: dict[str, Any]) -> C:
    made = object.__new__(cls)
    made.__setstate__(state)
    return made


def _check_importable(owner: str, name: str, value: Any) -> None:
    """Raises TypeError for a function or class that another process cannot import by its name."""
    place, named = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if place is None or named is None:
        return
    found: object = sys.modules.get(place)
    for part in named.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise TypeError(
            f"{name} of this {owner} is {value!r}, which Python cannot pickle: define it by name at the top of a module"
        )
