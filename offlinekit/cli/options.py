"""Options shared by the commands: help settings, `--debug`, and options of the form key=value."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import click

from offlinekit.errors import OfflineKitError
from offlinekit.fields import parse_pairs

Function = TypeVar("Function", bound=Callable[..., Any])
Entries: TypeAlias = "Mapping[str, tuple[Callable[[object], bool], str]]"
Flags: TypeAlias = "Callable[[Mapping[str, Any]], dict[str, Any]]"
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
DEBUG = "offlinekit.debug"
IMPORTS = "offlinekit.imports"


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


def _import(ctx: click.Context, parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    ctx.meta[IMPORTS] = modules
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise click.BadParameter(f"cannot import {name!r} ({error})", param=parameter) from error


def imported() -> tuple[str, ...]:
    """Returns the modules that the command under way was told to import; what goes on with it needs them too."""
    ctx = click.get_current_context(silent=True)
    modules: tuple[str, ...] = () if ctx is None else ctx.meta.get(IMPORTS, ())
    return modules


def command_line(*words: object) -> str:
    """Returns a command of offlinekit as a shell takes it, with the modules that this one was told to import."""
    first = [word for module in imported() for word in ("--import", module)]
    return shlex.join(["offlinekit", *first, *map(str, words)])


class RunOrPolicy(click.Path):
    """A run folder or a policy file, or the name of a policy that comes with the package."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Returns the folder of a policy that is named, and another path as it is."""
        from offlinekit.core.sharing import zoo

        try:
            place = zoo.placed(Path(value))
        except FileNotFoundError as error:
            self.fail(str(error), param, ctx)
        super().convert(place, param, ctx)
        return place


policy_argument = click.argument("run", metavar="RUN_OR_POLICY", type=RunOrPolicy())
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
    try:
        return parse_pairs(values)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def key_value_option(*names: str, help: str) -> Callable[[Function], Function]:
    """Makes a repeatable option KEY=VALUE that arrives as a dict."""
    return click.option(
        *names, metavar="KEY=VALUE", multiple=True, callback=key_values, help=f"{help}, repeatable."
    )


def preview_options(function: Function) -> Function:
    """Adds `--print-config` and `--dry-run`, which end a command once all that it would do is checked."""
    shown = click.option(
        "--print-config", is_flag=True, show_default=False, help="Print settings as JSON, and stop."
    )
    dry = click.option(
        "--dry-run", is_flag=True, show_default=False, help="Check and say what it would do, and stop."
    )
    return shown(dry(function))


def complete_algos(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Returns the names of algorithms that begin so, without importing them: each has an implementation's file."""
    folder = Path(__file__).parents[1] / "algos" / "torch"
    names = sorted(path.stem.removesuffix("_impl") for path in folder.glob("*_impl.py"))
    judges = ("fqe", "dynamics", "any_step_dynamics")  # Not of the catalogue.
    return [name for name in names if name not in judges and name.startswith(incomplete.lower())]


def complete_datasets(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Returns the names of datasets that begin so."""
    from offlinekit.datasets import known_datasets  # Here: --help needs none of it.

    return [name for name in known_datasets() if name.startswith(incomplete)]


algo_option = click.option(
    "--algo", help="Algorithm; `offlinekit algos` lists them.", shell_complete=complete_algos
)
dataset_option = click.option(
    "--dataset",
    help="Name or path; `offlinekit datasets list` lists names.",
    shell_complete=complete_datasets,
)


def options_of_file(path: Path, entries: Entries | None = None) -> dict[str, Any]:
    """Returns the options that a YAML file gives.

    Args:
        path: Of the file.
        entries: What some of its options must be.

    Raises:
        FileFormatError: For a file that is none, an option of another kind, or an environment that only a module would
            register.
    """
    from offlinekit.io import read_yaml
    from offlinekit.training.run_config import REGISTERED, checked

    remedy = "name it by --eval-env, or its module by offlinekit --import MODULE"
    options = checked(read_yaml(path), {"eval_env": REGISTERED}, f"{path}:", remedy)
    return checked(options, entries or {}, f"{path}:", "mend the file")


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that the user gave, 0 among them: neither None nor a flag that is not set, nor empty."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value not in ((), {})
    }


def over_file(
    path: Path | None, given: Mapping[str, Any], flags: Flags = dict, entries: Entries | None = None
) -> dict[str, Any]:
    """Returns the options of a YAML file with those of the command line above them.

    Options of names and values, such as `--set`, are merged name by name.

    Args:
        path: Of the file, or None.
        given: What the command line gave.
        flags: Turns the options of one of the two into fields, before either wins.
        entries: What some options of the file must be.

    Raises:
        FileFormatError: For a file that is none.
    """
    fields, own = flags(options_of_file(path, entries) if path else {}), flags(given)
    both = [n for n in own if isinstance(own[n], Mapping) and isinstance(fields.get(n), Mapping)]
    return {**fields, **own, **{name: {**fields[name], **own[name]} for name in both}}


SCHEMA = "offlinekit.schema"


def _keep_schema(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[SCHEMA] = str(value.resolve())


def _with_schema(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    schema = {"schema": ctx.meta[SCHEMA]} if SCHEMA in ctx.meta else {}
    return {**schema, **key_values(ctx, parameter, values)}


def reader_options(name: str = "options") -> Callable[[Function], Function]:
    """Makes `--schema` and `--dataset-option`, which arrive together as options of the dataset's reader.

    Args:
        name: Of the argument of the command.
    """
    schema = click.option(
        "--schema",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        expose_value=False,
        is_eager=True,
        callback=_keep_schema,
        help="What the columns of a table mean: a file of `datasets init`, or a policy's file for its own schema.",
    )
    others = click.option(
        "--dataset-option",
        name,
        metavar="KEY=VALUE",
        multiple=True,
        callback=_with_schema,
        help="Option of the dataset's reader, repeatable.",
    )
    return lambda function: schema(others(function))


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
