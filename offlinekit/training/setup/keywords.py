"""Shows the settings of a run as keywords: in signatures and docstrings of functions with `**settings`."""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from offlinekit.fields import meaning_of
from offlinekit.training.setup.settings import RunSettings, settings_of

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_settings(function: Function) -> Function:
    """Shows in the signature and docstring of a function with `**settings` every keyword that it takes."""
    return takes(RunSettings)(function)


def takes(record: type[Any]) -> Callable[[Function], Function]:
    """Returns what does as `takes_settings` with the settings of another record."""
    return lambda function: _shown(function, record)


def _shown(function: Function, record: type[Any]) -> Function:
    signature = inspect.signature(function)
    *own, rest = signature.parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    hints = record.__annotations__
    shown = [
        inspect.Parameter(name, keyword, default=setting.default, annotation=_bare(hints[name]))
        for name, setting in settings_of(record).items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    if function.__doc__:  # Not under python -OO.
        before, line, after = inspect.cleandoc(function.__doc__).partition(f"\n    {rest.name}: ")
        if line:
            function.__doc__ = "\n".join(
                [before, *(_doc_line(one, hints) for one in shown), after.partition("\n")[2]]
            )
    return function


def _bare(hint: object) -> object:
    """Returns a type without ranges and meanings; what was in quotes as its text."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return reduce(or_, map(_bare, get_args(hint)))
    return getattr(hint, "__forward_arg__", hint)


def _doc_line(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> str:
    meaning = meaning_of(hints[parameter.name])
    text = f"{parameter.name}: {meaning} Default: {parameter.default!r}."
    return textwrap.fill(text, 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
