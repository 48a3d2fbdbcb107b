"""What members hold beside hyperparameters, parameters and buffers; a stack has it once, so that they must agree."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from collections.abc import Set as AnySet
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.core.impl import Impl
from offlinekit.nn.random import Random

if TYPE_CHECKING:
    from offlinekit.training.objectives import Objective

OF_A_RUN = frozenset(
    {
        *("seed_was_drawn", "history", "run_dir", "experience", "dataset_name", "scaling", "in_run"),
        *("_impl", "sampler", "sampler_state", "_is_complete"),
    }
)
"""Attributes of a front that are no hyperparameters and that losses do not read."""
OF_AN_IMPL = frozenset(
    {
        *("config", "random", "grad_step", "horizon", "schedule_start", "targets", "objectives"),
        *("observation_space", "action_space", "built_from"),
    }
)
"""Attributes of an impl that a stack takes from all members, or that follow from what they have in common."""
OF_A_MODULE = frozenset(vars(nn.Module()))
HOOKS = ("update", "begin_update", "apply_update")
"""Methods that a stack calls with all members at once, outside of the losses."""
AS_THEY_ARE = (
    str,
    bytes,
    int,
    complex,
    type(None),
    type,
    torch.dtype,
    torch.device,
    types.BuiltinFunctionType,
    types.ModuleType,
    spaces.Space,
)


def own_attributes(algo: Any) -> dict[str, Any]:
    """Returns the attributes of a front that its user has set, which are no hyperparameters."""
    fields = {field.name for field in dataclasses.fields(algo)}
    return {name: value for name, value in vars(algo).items() if name not in fields | OF_A_RUN}


def held(algo: Any) -> dict[str, Any]:
    """Returns what an algorithm holds for losses to read, in a form that compares; what has none differs from all else.

    One that is in no stack in any case holds nothing.
    """
    impl: Impl = algo.impl
    if refused_hooks(type(impl)) or not impl.stackable:
        return {}
    walk = _Walk(algo)
    found: dict[str, Any] = {}
    if any(_is_foreign(kind) for kind in (type(impl), type(algo))):  # No other reads what its user has set.
        found = {f"config.{name}": walk.plain(value) for name, value in own_attributes(algo).items()}
    for place, module in impl.named_modules():
        apart = OF_A_MODULE | OF_AN_IMPL if module is impl else OF_A_MODULE
        for name, value in vars(module).items():
            if name not in apart:
                found[f"{place}.{name}"] = walk.plain(value)
    found["objectives"] = [walk.timing(objective) for objective in impl.objectives]
    found["losses"] = [walk.loss(objective) for objective in impl.objectives]
    found["targets"] = [(target.every, target.first) for target in impl.targets]
    if own_hooks(type(impl)):
        found["numbers"] = walk.numbers
    return found


def own_hooks(impl_class: type[Impl]) -> list[str]:
    """Returns the methods around the losses that a class outside of offlinekit has written, which no program holds."""
    return [name for name in HOOKS if _is_foreign(getattr(impl_class, name))]


def refused_hooks(impl_class: type[Impl]) -> list[str]:
    """Returns those of `own_hooks` that no class says to be stackable, the one that wrote them or one below it."""
    hooks = own_hooks(impl_class)
    for kind in impl_class.__mro__:
        if "stackable" in vars(kind):
            return []
        if any(name in vars(kind) for name in hooks):
            return hooks
    return []


def _is_foreign(written: Any) -> bool:
    """Returns whether a class or function is written outside of offlinekit."""
    return not written.__module__.startswith("offlinekit.")


class _Walk:
    """Turns values into what compares by ==, each object once.

    Args:
        algo: Whose values they are.
    """

    def __init__(self, algo: Any) -> None:
        self.front, self.impl = algo, algo.impl
        own = [algo, algo.impl.config, *algo.impl.modules(), *algo.impl.parameters(), *algo.impl.buffers()]
        self.own = {id(value) for value in own}
        self.seen: dict[int, Any] = {}  # Held, as another object may get the number of one that is gone.
        self.in_functions: Any = id(
            algo
        )  # For what a function keeps of the member, as no copy has it replaced.

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """Numbers of the front, for what is the same only where all of them are."""
        fields = {field.name: getattr(self.front, field.name) for field in dataclasses.fields(self.front)}
        return [(name, repr(value)) for name, value in fields.items() if isinstance(value, float)]

    def timing(self, objective: Objective) -> Any:
        """Returns when an objective is due, and by which schedule."""
        own = (objective.name, objective.optimizer.name, objective.every, objective.first, objective.last)
        before, self.in_functions = self.in_functions, self.numbers  # It reads nothing else of a member.
        try:
            return *own, objective.warmup_steps, self.plain(objective.schedule)
        finally:
            self.in_functions = before

    def loss(self, objective: Objective) -> Any:
        """Returns what a loss has captured; a stack declares its own, in which the member is the stack."""
        before, self.in_functions = self.in_functions, "known"
        try:
            return self.plain(objective.loss)
        finally:
            self.in_functions = before

    def plain(self, value: Any) -> Any:
        """Returns a value as what compares: numbers, names, digests, and lists of these."""
        if isinstance(value, AS_THEY_ARE):
            return value
        if isinstance(value, float):
            return repr(value)  # NaN is like itself.
        if id(value) in self.own or id(value) in self.seen or isinstance(value, Random):
            return "known"
        if isinstance(value, Tensor):
            if value.is_meta or value.layout is not torch.strided:
                return value.shape, value.dtype, value.is_meta or id(value)
            content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return value.shape, value.dtype, sha256(content.tobytes()).hexdigest()
        if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            return value.shape, value.dtype, sha256(value.tobytes()).hexdigest()
        self.seen[id(value)] = value
        return type(value), self._parts(value)

    def _parts(self, value: Any) -> Any:
        """Returns what an object is made of; the object's own number if that cannot be said."""
        if isinstance(value, (list, tuple)):
            return [self.plain(part) for part in value]
        if isinstance(value, Mapping):
            return [(self.plain(key), self.plain(part)) for key, part in value.items()]
        if isinstance(value, AnySet):
            return sorted(repr(self.plain(part)) for part in value)
        if isinstance(value, types.FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            given = [value.__defaults__, value.__kwdefaults__]
            return value.__code__, [self._kept(cell) for cell in cells], self.plain(given)
        if isinstance(value, types.MethodType):
            return self.plain(value.__func__), self._kept(value.__self__)
        if isinstance(value, functools.partial):
            return [self._kept(part) for part in (value.func, *value.args, *value.keywords.values())]
        if hasattr(value, "__dict__"):
            return [(name, self.plain(part)) for name, part in vars(value).items() if name != "training"]
        return id(value)

    def _kept(self, value: Any) -> Any:
        """Returns what a function keeps."""
        return self.in_functions if id(value) in self.own else self.plain(value)
