"""Hints at what is meant by a name that there is not: a guess that the table answers, or the nearest name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache, lru_cache, wraps
from importlib.util import find_spec
from types import FrameType
from typing import NoReturn, TypeVar

from typing_extensions import ParamSpec

from offlinekit.errors import did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


def hint(door: str, name: str, known: Iterable[str] = ()) -> str:
    """Returns "; ..." with what is meant by a name that there is not; empty if nothing is like it.

    Args:
        door: Of the table in guesses.py; one that it does not have has the nearest names alone.
        name: What was given.
        known: The names that there are.
    """
    known = list(known)
    return answer(door, name, known) or did_you_mean(name, known)


def answer(door: str, name: str, known: Iterable[str] = ()) -> str:
    """Returns as `hint` does what the table says of a guess; empty for any other name."""
    said, patterns = _entry(door, name)
    for pattern in patterns:
        if names := [each for each in known if fnmatchcase(each, pattern)]:
            return f"; did you mean {_alternatives(names)}?"
    return said


@lru_cache(maxsize=1_000)  # Implementations ask for attributes that only some algorithms have, each time.
def _entry(door: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Returns what the table says of a guess, or the patterns of names that it gives instead."""
    from offlinekit.ground.guesses import TABLE, Answer  # Here: only a wrong name needs it.

    entries = TABLE.get(door, {}).items()
    meant = next((meant for names, meant in entries if any(fnmatchcase(name, n) for n in names.split())), ())
    return (f"; {meant.words}: {meant.remedy}", ()) if isinstance(meant, Answer) else ("", meant)


def _alternatives(names: list[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last


def no_attribute(module: str, known: Iterable[str], name: str) -> NoReturn:
    """Raises AttributeError for a name that a package does not have, with what is meant by it.

    `from package import name` discards such an error, and its own says nothing of what is meant. So a name with a hint
    is an ImportError there, unless it is a submodule, which is imported next.
    """
    meant = "" if name.startswith("_") else hint(module, name, known)
    if meant and _is_imported_from(sys._getframe(1)) and find_spec(f"{module}.{name}") is None:
        raise ImportError(f"cannot import name {name!r} from {module!r}{meant}", name=module)
    raise AttributeError(f"module {module!r} has no attribute {name!r}{meant}")


def _is_imported_from(frame: FrameType | None) -> bool:
    """Returns whether a module's `__getattr__`, that of a frame or one that it called, serves `from module import`."""
    while frame is not None and frame.f_code.co_name == "__getattr__":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_handle_fromlist"


def answers_guesses(method: Callable[P, T]) -> Callable[P, T]:
    """Makes a function without further keywords say what is meant by one that others have."""
    *_, owner, own = f".{method.__qualname__}".split(".")

    @cache
    def known() -> list[str]:
        return [name for name in inspect.signature(method).parameters if name != "self"]

    @wraps(method)
    def answering(*args: P.args, **given: P.kwargs) -> T:
        if given:
            _check_arguments(owner if own == "__init__" else own, given, known(), "argument")
        return method(*args, **given)

    return answering


def naming_arguments(called: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Makes a method say which of its arguments are wrong in the words of the call that people write.

    Args:
        called: What they call, such as "MDPDataset".
    """

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(method)
        _, *known = signature.parameters

        @wraps(method)
        def named(*args: P.args, **given: P.kwargs) -> T:
            _check_arguments(called, given, known)
            try:
                signature.bind(*args, **given)
            except TypeError as error:
                if len(args) == 2 and isinstance(args[1], dict) and set(args[1]) & set(known):
                    raise TypeError(
                        f"{called} takes its columns as arguments, got one dict: {called}(**columns)"
                    ) from None
                raise TypeError(f"{called}: {error}; its arguments are {', '.join(known)}") from None
            return method(*args, **given)

        return named

    return decorate


def _check_arguments(called: str, given: Iterable[str], known: Sequence[str], door: str = "") -> None:
    for name in given:
        if name not in known:
            meant = hint(door, name, known) or f"; it has: {', '.join(known)}"
            raise TypeError(f"{called} has no argument {name!r}{meant}")


def answers_keywords(cls: type[T]) -> type[T]:
    """Makes the constructor of a class say what is meant by a keyword that it does not have."""
    setattr(cls, "__init__", answers_guesses(cls.__init__))  # noqa: B010  # mypy takes no assignment to it.
    return cls
