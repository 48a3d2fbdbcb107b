"""Options shared by the commands: help settings, `--debug`, and options of the form key=value."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from offlinekit.errors import OfflineKitError

Function = TypeVar("Function", bound=Callable[..., Any])
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
DEBUG = "offlinekit.debug"


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG] = ctx.meta.get(DEBUG, False) or value


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_debug,
    show_default=False,
    help="Show the full traceback of an error.",
)


def import_module(name: str) -> ModuleType:
    """Imports a module of the user's, also of the working folder, as `python -m` does."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _import(_: click.Context, parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise click.BadParameter(f"cannot import {name!r} ({error})", param=parameter) from error


import_option = click.option(
    "--import",
    metavar="MODULE",
    multiple=True,
    expose_value=False,
    is_eager=True,
    callback=_import,
    help="Module of yours that registers datasets, algorithms or encoders, imported first, repeatable.",
)


def example(*lines: str) -> str:
    """Returns an epilog with examples that click does not wrap."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def key_values(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parses a repeatable option of the form key=value, as its callback.

    Returns:
        Each value as JSON if it is JSON, else as text; None, True and False as in Python.
    """
    return parse_key_values(values, parameter)


def parse_key_values(values: Iterable[str], parameter: click.Parameter | None = None) -> dict[str, Any]:
    """Returns texts of the form key=value as a dict; `parameter` is what an error names."""
    parsed = {}
    for given in values:
        key, separator, text = given.partition("=")
        if not separator or not key.strip():
            raise click.BadParameter(f"expected KEY=VALUE, such as alpha=2.5, got {given!r}", param=parameter)
        try:
            parsed[key.strip()] = json.loads(text)
        except ValueError:
            parsed[key.strip()] = {"None": None, "True": True, "False": False}.get(text, text)
    return parsed


def key_value_option(*names: str, help: str) -> Callable[[Function], Function]:
    """Makes a repeatable option KEY=VALUE that arrives as a dict."""
    return click.option(
        *names, metavar="KEY=VALUE", multiple=True, callback=key_values, help=f"{help}, repeatable."
    )


def options_of_file(path: Path) -> dict[str, Any]:
    """Returns the options that a YAML file gives.

    Raises:
        FileFormatError: For a file that is none, or an environment that only a module would register.
    """
    from offlinekit.io import read_yaml
    from offlinekit.training.run_config import REGISTERED, checked

    remedy = "name it by --eval-env, or its module by offlinekit --import MODULE"
    return checked(read_yaml(path), {"eval_env": REGISTERED}, f"{path}:", remedy)


@contextmanager
def usage(option: str) -> Iterator[None]:
    """Makes plain errors about what was typed wrong usage (exit code 2) that names the option.

    Errors of offlinekit itself, such as a damaged file, pass: there the job failed (exit code 1).
    """
    try:
        yield
    except OfflineKitError:
        raise
    except (ValueError, TypeError, FileNotFoundError, FileExistsError) as error:
        raise click.BadParameter(str(error), param_hint=repr(option)) from error
