"""Hyperparameters that an implementation reads while it is made, so that those set later act or are refused."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


class NotedConfig:
    """A front while its networks are made; it notes what is read of it, by its properties and methods as well.

    Args:
        front: Whose fields are the hyperparameters.
    """

    def __init__(self, front: Algo) -> None:
        self.__dict__.update(front=front, read=set())

    def __getattr__(self, name: str) -> Any:
        front = self.__dict__["front"]
        self.__dict__["read"].add(name)
        member = next((vars(kind)[name] for kind in type(front).__mro__ if name in vars(kind)), None)
        if isinstance(member, property) and member.fget is not None:  # What it reads counts as well.
            return member.fget(self)
        if isinstance(member, FunctionType) and name not in vars(front):
            return MethodType(member, self)
        return getattr(front, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["front"], name, value)

    @property  # type: ignore[misc]  # `super()` and isinstance in methods of the front take its class from here.
    def __class__(self) -> type[Algo]:  # type: ignore[override]  # Of another class on purpose.
        return type(self.__dict__["front"])

    def __deepcopy__(self, memo: dict[int, Any]) -> NotedConfig:
        return self

    def replace_in(self, impl: nn.Module) -> None:
        """Puts the front itself where modules keep this one to read it later."""
        for module in impl.modules():
            for name in [name for name, value in vars(module).items() if value is self]:
                setattr(module, name, self.__dict__["front"])
