"""What networks are made, trained and act under, whatever the process has set: generator, dtype, device, grad mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from offlinekit.nn.dispatch import Dispatch

Torch: TypeAlias = Callable[..., object]

FRESH: frozenset[Torch] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.normal, torch.eye, torch.linspace}
)
"""Functions that make tensors of the default dtype, unless the call names another."""

INFERRED: frozenset[Torch] = frozenset(
    {torch.tensor, torch.as_tensor, torch.full, torch.arange, torch.scalar_tensor}
)
"""Functions that make tensors of the default dtype if they are given Python's floats."""


class OwnDraws(Dispatch):
    """Draws from a generator of its own what would be drawn from the process's; other threads do not matter.

    Args:
        seed: Of the generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Runs an operation, with the generator if it draws and names none."""
        given = kwargs or {}
        drawing = _drawing(func)
        if drawing is None or given.get("generator") is not None:
            return func(*args, **given)
        return drawing(*args, **{**given, "generator": self.generator})


class OwnDtype(TorchFunctionMode):
    """Makes float32 tensors, where those of the default dtype would be made."""

    def __torch_function__(
        self, func: Torch, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        """Calls a function of torch with its dtype."""
        given = kwargs or {}
        if func not in FRESH and func not in INFERRED:
            return func(*args, **given)
        if given.get("dtype") is not None or any(hasattr(value, "dtype") for value in args):
            return func(*args, **given)
        if func in FRESH:
            return func(*args, **{**given, "dtype": torch.float32})
        result = func(*args, **given)
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            return result.float()
        return result


@functools.cache
def _drawing(operator: OpOverload) -> Callable[..., object] | None:
    """Returns the form of a random operator that takes a generator; None for others."""
    if torch.Tag.nondeterministic_seeded not in operator.tags:
        return None
    if any(argument.name == "generator" for argument in operator._schema.arguments):
        return operator
    overload = {"default": "generator", "low": "low_generator"}.get(operator._overloadname, "")
    return getattr(operator.overloadpacket, overload, None)


@contextmanager
def trainable() -> Iterator[None]:
    """Records gradients, whatever the caller's grad mode."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def initialised(seed: int) -> Iterator[None]:
    """Makes networks from a seed alone, of float32 and on the CPU."""
    # The context of a device sees each call, which takes a third of the time; most threads need none.
    on_cpu = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with trainable(), on_cpu, OwnDtype(), OwnDraws(seed):
        yield


_MARKS = ContextVar("marks", default=False)


@contextmanager
def acting() -> Iterator[None]:
    """Makes `chosen_by` mark what was chosen by values that are not finite, so that it can be refused."""
    before = _MARKS.set(True)
    try:
        yield
    finally:
        _MARKS.reset(before)


def chosen_by(values: Tensor, chosen: Tensor, dim: int = -1) -> Tensor:
    """Returns what was chosen for its values; while `acting`, NaN or -1 in rows whose highest one is not finite.

    `argmax` takes NaN for the highest number, and the first of several that are all minus infinity. What a loss
    chooses is left as it is: its engine reports what is not finite.

    Args:
        values: Of all that could be chosen, along one of their axes.
        chosen: The actions [..., A] of the rows, or their numbers [...] from 0.
        dim: That axis.
    """
    if not _MARKS.get():
        return chosen
    is_sound = values.amax(dim).isfinite()
    is_sound = is_sound.unsqueeze(-1) if chosen.ndim > is_sound.ndim else is_sound
    return torch.where(is_sound, chosen, torch.nan if chosen.is_floating_point() else -1)
