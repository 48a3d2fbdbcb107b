"""The options of commands that train: one for each setting of a run that can be typed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from offlinekit.fields import Interval, meaning_of
from offlinekit.training.setup.settings import RunSettings, plain_kind, plain_names, settings_of

Function = TypeVar("Function", bound=Callable[..., Any])


def setting_options(
    *left_out: str, record: type[Any] = RunSettings, **defaults: str
) -> Callable[[Function], Function]:
    """Makes an option for each setting of a run that can be typed: a number, a flag or a choice.

    Args:
        left_out: Settings that the command itself decides.
        record: Where they are declared.
        defaults: What help says in place of a setting's own default.
    """

    def add(function: Function) -> Function:
        settings, hints = settings_of(record), record.__annotations__
        for name in reversed([name for name in plain_names(record) if name not in left_out]):
            shown = defaults.get(name, settings[name].default)
            function = _setting_option(name, hints[name], shown)(function)
        return function

    return add


def _setting_option(name: str, hint: object, default: object) -> Callable[[Function], Function]:
    option = f"--{name.replace('_', '-')}"
    kind, interval = plain_kind(hint) or (str, None)
    if kind is bool:
        return click.option(option, is_flag=True, show_default=False, help=meaning_of(hint))
    shown = "" if default in (None, "") else f"  [default: {default}]"
    return click.option(option, type=_click_type(kind, interval), help=f"{meaning_of(hint)}{shown}")


def _click_type(kind: Any, interval: Interval | None) -> Any:
    """Returns what converts and checks the text of a number or a choice."""
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if interval is None:
        return kind
    low, high = (None if math.isinf(bound) else kind(bound) for bound in interval.bounds)
    low_open, high_open = interval.is_open
    number = click.IntRange if kind is int else click.FloatRange
    return number(low, high, low is not None and low_open, high is not None and high_open)
