"""The options of commands that train: one for each setting of a run that can be typed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from offlinekit.fields import Interval, meaning_of
from offlinekit.training.setup.settings import PLAIN, SETTINGS, RunSettings, plain_kind

Function = TypeVar("Function", bound=Callable[..., Any])


def setting_options(*left_out: str, **defaults: str) -> Callable[[Function], Function]:
    """Makes an option for each setting of a run that can be typed: a number, a flag or a choice.

    Args:
        left_out: Settings that the command itself decides.
        defaults: What help says in place of a setting's own default.
    """

    def add(function: Function) -> Function:
        for name in reversed([name for name in PLAIN if name not in left_out]):
            function = _setting_option(name, defaults.get(name, SETTINGS[name].default))(function)
        return function

    return add


def _setting_option(name: str, default: object) -> Callable[[Function], Function]:
    hint, option = RunSettings.__annotations__[name], f"--{name.replace('_', '-')}"
    kind, interval = plain_kind(hint) or (str, None)
    if kind is bool:
        return click.option(option, is_flag=True, show_default=False, help=meaning_of(hint))
    shown = "" if default is None else f"  [default: {default}]"
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
